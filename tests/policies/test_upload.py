"""Policies that were trained elsewhere, and what else somebody may send."""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import signal
import struct
import warnings
import zipfile
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import onnx
import psutil
import pytest
from onnx import TensorProto, helper

from racer.policies import child
from racer.policy.archive import MAX_ARCHIVE_BYTES
from racer.settings import Settings
from tests.policies.rig import FILES, ZIP, Rig, policy_folder, serving, zip_of_folder, zip_with
from tests.support import small_disk
from tests.training.conftest import play


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A policy that was trained elsewhere."""
    return policy_folder(tmp_path_factory.mktemp("elsewhere"))


@pytest.fixture
def on_sqlite(migrated_sqlite_url: str, tmp_path: Path) -> Settings:
    """For what SQL has no part in."""
    return Settings(_env_file=None, data_dir=tmp_path / "data", database_url=migrated_sqlite_url)


async def new_account(rig: Rig, name: str = "ada") -> None:
    (await rig.http.post("/users/", json={"username": name})).raise_for_status()


def members_of(content: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert archive.testzip() is None
        return {name: archive.read(name) for name in archive.namelist()}


def test_what_is_uploaded_is_what_is_downloaded(settings: Settings, made: Path) -> None:
    sent = zip_of_folder(made)

    async def scenario() -> None:
        async with serving(settings) as rig:
            await new_account(rig)
            answer = await rig.upload(sent)
            policy = answer.json()
            assert answer.status_code == 201, policy
            assert (policy["name"], policy["version"]) == ("toledo x500 ppo", 1)
            assert (policy["origin"], policy["metrics"]) == ("uploaded", {})
            assert policy["run_id"] is policy["drone_id"] is policy["parent_id"] is None
            network = (made / "policy.onnx").read_bytes()
            assert policy["sha256"] == hashlib.sha256(network).hexdigest()
            path = f"/policies/{policy['id']}/download"
            got = await rig.http.get(path)
            assert got.headers["content-type"] == "application/zip"
            assert got.headers["etag"] == f'"{policy["sha256"]}"'
            assert got.headers["content-length"] == str(len(got.content))
            assert 'filename="toledo-x500-ppo-v1.zip"' in got.headers["content-disposition"]
            members = members_of(got.content)
            assert list(members) == [*FILES, "README.txt"]
            for name in FILES:
                assert members[name] == (made / name).read_bytes()
            assert b"python -m racer evaluate --policy DIR" in members["README.txt"]
            for tag in (got.headers["etag"], f'"x", W/{got.headers["etag"]}', "*"):
                known = await rig.http.get(path, headers={"If-None-Match": tag})
                assert (known.status_code, known.content) == (304, b"")
            assert (await rig.http.get(path, headers={"If-None-Match": '"x"'})).status_code == 200
            again = await rig.upload(sent)
            assert (again.status_code, again.json()["id"]) == (200, policy["id"])
            assert rig.folders() == [policy["id"]]
            # What was downloaded is an upload; another user's is another version.
            await new_account(rig, "bob")
            theirs = await rig.upload(got.content, "bob")
            assert theirs.status_code == 201
            assert theirs.json()["id"] != policy["id"]
            path = f"/policies/{theirs.json()['id']}/download"
            assert (await rig.http.get(path)).content == got.content

    play(scenario())


def test_a_form_and_a_name(on_sqlite: Settings, made: Path) -> None:
    async def scenario() -> None:
        async with serving(on_sqlite) as rig:
            await new_account(rig)
            files = {"file": ("mine.zip", zip_of_folder(made))}
            answer = await rig.http.post("/users/ada/policies?name=M%00y one%0A", files=files)
            assert (answer.status_code, answer.json()["name"]) == (201, "My one")
            empty = await rig.http.post("/users/ada/policies", files={"other": ("x", b"x")})
            assert empty.status_code == 422
            assert "no `file`" in empty.json()["detail"]
            two = [("file", ("a", b"a")), ("file", ("b", b"b"))]
            assert (await rig.http.post("/users/ada/policies", files=two)).status_code == 400
            text = await rig.http.post("/users/ada/policies", content=b"x")
            assert "application/zip" in text.json()["detail"]

    play(scenario())


def test_only_the_owner_uploads_and_deletes(on_sqlite: Settings, made: Path) -> None:
    sent = zip_of_folder(made)

    async def scenario() -> None:
        async with serving(on_sqlite) as rig:
            ada, eve = await rig.account("ada"), await rig.account("eve")
            assert (await rig.upload(sent)).status_code == 401
            assert (await rig.upload(sent, headers=eve)).status_code == 404
            assert (await rig.upload(sent, "nobody", headers=ada)).status_code == 404
            assert rig.folders() == []
            policy = (await rig.upload(sent, headers=ada)).json()["id"]
            path = f"/policies/{policy}"
            assert (await rig.http.delete(path)).status_code == 401
            assert (await rig.http.delete(path, headers=eve)).status_code == 404
            assert rig.folders() == [policy]
            assert (await rig.http.delete(path, headers=ada)).status_code == 204
            assert (await rig.http.delete(path, headers=ada)).status_code == 404
            assert rig.folders() == []

    play(scenario())


# What is sent instead of a policy, made from the files of a good one, and what is said about it.
Files = dict[str, bytes]
Hostile = Callable[[Files], bytes]


def named(name: str, content: bytes = b"x") -> Hostile:
    return lambda good: zip_with([*good.items(), (name, content)])


def changed(name: str, change: Callable[[bytes], bytes]) -> Hostile:
    return lambda good: zip_with((good | {name: change(good[name])}).items())


def manifest(change: Callable[[dict[str, Any]], Any]) -> Hostile:
    def edit(content: bytes) -> bytes:
        table = json.loads(content)
        change(table)
        return json.dumps(table).encode()

    return changed("manifest.json", edit)


def graph(nodes: list[onnx.NodeProto], **tensors: Any) -> Hostile:
    """Another network, with a manifest that fits its checksum."""

    def build(good: Files) -> bytes:
        ports = [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", size])
            for name, size in (("observation", 23), ("action", 4))
        ]
        inner = helper.make_graph(nodes, "g", ports[:1], ports[1:], list(tensors.values()))
        opsets = [helper.make_opsetid("", 13)]
        network = helper.make_model(inner, opset_imports=opsets, ir_version=8).SerializeToString()
        table = json.loads(good["manifest.json"])
        digest = hashlib.sha256(network).hexdigest()
        table["policy"] |= {"size_bytes": len(network), "sha256": digest}
        return zip_with(
            {"policy.onnx": network, "manifest.json": json.dumps(table).encode()}.items()
        )

    return build


def link(good: Files) -> bytes:
    info = zipfile.ZipInfo("manifest.json")
    info.external_attr = 0o120777 << 16
    return zip_with([("policy.onnx", good["policy.onnx"]), (info, b"/etc/passwd")])


def encrypted(good: Files) -> bytes:
    """The flag in both headers of the first member (APPNOTE 4.4.4)."""
    content = bytearray(zip_with(good.items()))
    content[6] |= 1
    directory = content.index(b"PK\x01\x02")
    content[directory + 8] |= 1
    return bytes(content)


def hidden(good: Files) -> bytes:
    """A name with a NUL, behind which some unpackers do not look."""
    return named("README.txt#.py")(good).replace(b"README.txt#.py", b"README.txt\0.py")


def bomb(good: Files) -> bytes:
    return zip_with([("policy.onnx", good["policy.onnx"]), ("manifest.json", b" " * (64 << 20))])


def lying_bomb(good: Files) -> bytes:
    """Its directory says that it unpacks to a hundred bytes."""
    content = bytearray(bomb(good))
    directory = content.rindex(b"PK\x01\x02")
    content[directory + 24 : directory + 28] = struct.pack("<I", 100)
    return bytes(content)


def twice(good: Files) -> bytes:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return zip_with([*good.items(), ("policy.onnx", b"another")])


def crowd(_: Files) -> bytes:
    return zip_with(((f"{n}", b"") for n in range(20_000)), zipfile.ZIP_STORED)


def deep(levels: int) -> Hostile:
    def nest(table: dict[str, Any]) -> None:
        inner: dict[str, Any] = {}
        table["training"]["config"] = inner
        for _ in range(levels):
            inner["x"] = {}
            inner = inner["x"]

    return manifest(nest)


def reads_a_file(good: Files) -> bytes:
    network = onnx.load_model_from_string(good["policy.onnx"])
    tensor = network.graph.initializer[0]
    tensor.data_location = TensorProto.EXTERNAL
    tensor.ClearField("raw_data")
    tensor.external_data.add(key="location", value="../../toledo_racer.db")
    content = network.SerializeToString()
    table = json.loads(good["manifest.json"])
    digest = hashlib.sha256(content).hexdigest()
    table["policy"] |= {"size_bytes": len(content), "sha256": digest}
    return zip_with({"policy.onnx": content, "manifest.json": json.dumps(table).encode()}.items())


LOOP = helper.make_node("Loop", ["", "", "observation"], ["action"])
HUGE = [
    helper.make_node("Gemm", ["observation", "observation"], ["square"], transB=1),
    helper.make_node("Gemm", ["square", "observation"], ["action"]),
]
HOSTILE: dict[str, tuple[Hostile, str]] = {
    "nothing": (lambda _: b"", "not a zip"),
    "no zip": (lambda _: b"x" * 5000, "not a zip"),
    "a pickle": (lambda _: b"\x80\x04cos\nsystem\n(S'touch /tmp/owned'\ntR.", "not a zip"),
    "half of a zip": (lambda good: zip_with(good.items())[:-400], "not a zip"),
    "an empty zip": (lambda _: zip_with([]), "policy.onnx is missing"),
    "no manifest": (lambda good: zip_with([("policy.onnx", good["policy.onnx"])]), "missing"),
    "path traversal": (named("../policy.onnx"), "none of its files"),
    "an absolute path": (named("/etc/cron.d/x"), "none of its files"),
    "a drive": (named("C:\\policy.onnx"), "none of its files"),
    "an extra file": (named("run.py"), "none of its files"),
    "a name with a line end": (named("a\nb"), "none of its files"),
    "a hidden name": (hidden, "none of its files"),
    "in a folder": (
        lambda good: zip_with((f"p/{name}", content) for name, content in good.items()),
        "without a folder",
    ),
    "a name twice": (twice, "twice"),
    "a link": (link, "link"),
    "encrypted": (encrypted, "encrypted"),
    "a bomb": (bomb, "larger than"),
    "a bomb that lies": (lying_bomb, "zip"),
    "20,000 files": (crowd, "20000 files"),
    "another compression": (
        lambda good: zip_with(good.items(), zipfile.ZIP_BZIP2),
        "another way than deflate",
    ),
    "a damaged network": (changed("policy.onnx", lambda c: c[:-1] + b"x"), "checksum"),
    "another network": (changed("policy.onnx", lambda _: b"MZ"), "checksum"),
    "no JSON": (changed("manifest.json", lambda _: b"{"), "not JSON"),
    "a manifest of something else": (changed("manifest.json", lambda _: b"[]"), "manifest"),
    "brackets": (changed("manifest.json", lambda _: b"[" * 1_000_000), "manifest.json"),
    "a newer format": (manifest(lambda t: t.update(format_version=2)), "Update"),
    "NaN": (manifest(lambda t: t["training"]["config"].update(x=float("nan"))), "config"),
    "tables in tables": (deep(100), "tables in each other"),
    "more tables in tables": (deep(400), "depth"),
    "another drone's observations": (manifest(lambda t: t["observation"].pop()), "observation"),
    "half a surrogate pair": (manifest(lambda t: t.update(name="\ud800")), "Unicode"),
    "weights in another file": (reads_a_file, "another file"),
    "a loop": (graph([LOOP]), "'Loop'"),
    "squares of the batch": (graph(HUGE), "instead of"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_what_is_no_policy_is_refused_in_words_and_leaves_nothing(
    on_sqlite: Settings, made: Path, case: str
) -> None:
    build, says = HOSTILE[case]
    sent = build({name: (made / name).read_bytes() for name in FILES})

    async def scenario() -> None:
        async with serving(on_sqlite) as rig:
            await new_account(rig)
            answer = await rig.upload(sent)
            detail = answer.json()["detail"]
            assert answer.status_code == 422, detail
            assert says in detail
            assert len(detail) < 700
            assert await rig.policies() == []
            assert rig.folders() == []

    play(scenario())


def test_a_check_that_takes_too_long_is_ended(
    on_sqlite: Settings, made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(child, "_PATIENCE_S", 0.05)

    async def scenario() -> None:
        async with serving(on_sqlite) as rig:
            await new_account(rig)
            answer = await rig.upload(zip_of_folder(made))
            assert answer.status_code == 503
            assert "took longer" in answer.json()["detail"]
            assert rig.folders() == []
            checks = [p for p in psutil.Process().children() if "racer.policy.tasks" in p.cmdline()]
            assert checks == []

    play(scenario())


def test_a_check_that_dies_refuses_the_policy(on_sqlite: Settings, made: Path) -> None:
    """As from a fault in native code, or from its limit on processor time."""

    async def killed() -> None:
        while True:
            for process in psutil.Process().children():
                if "racer.policy.tasks" in process.cmdline():
                    process.send_signal(signal.SIGXCPU)
                    return
            await asyncio.sleep(0.001)

    async def scenario() -> None:
        async with serving(on_sqlite) as rig:
            await new_account(rig)
            answer, _ = await asyncio.gather(rig.upload(zip_of_folder(made)), killed())
            assert answer.status_code == 422
            assert "by signal 24" in answer.json()["detail"]
            assert rig.folders() == []

    play(scenario())


def test_odd_texts_in_a_manifest_do_no_harm(settings: Settings, made: Path) -> None:
    good = {name: (made / name).read_bytes() for name in FILES}
    odd = manifest(lambda t: t.update(name="\0\x1b[31mred", more={"x": "\0"}))(good)

    async def scenario() -> None:
        async with serving(settings) as rig:
            await new_account(rig)
            answer = await rig.upload(odd)
            assert (answer.status_code, answer.json()["name"]) == (201, "[31mred")
            detail = (await rig.http.get(f"/policies/{answer.json()['id']}")).json()
            assert detail["manifest"]["name"] == "\0\x1b[31mred"
            assert "more" not in detail["manifest"]

    play(scenario())


@pytest.mark.parametrize("announced", [True, False])
def test_a_body_is_not_read_beyond_its_limit(on_sqlite: Settings, announced: bool) -> None:
    sent = 0

    async def parts() -> AsyncIterator[bytes]:
        nonlocal sent
        for _ in range(1000):
            sent += 1 << 20
            yield bytes(1 << 20)

    async def scenario() -> None:
        async with serving(on_sqlite) as rig:
            await new_account(rig)
            length = {"Content-Length": str(1000 << 20)} if announced else {}
            answer = await rig.http.post(
                "/users/ada/policies", content=parts(), headers=ZIP | length
            )
            assert answer.status_code == 413
            assert "at most" in answer.json()["detail"]
            assert sent <= MAX_ARCHIVE_BYTES + (3 << 20)
            assert rig.folders() == []
            small = await rig.http.post("/users/", content=bytes(3 << 20))
            assert small.status_code == 413  # elsewhere the limit is as it was

    play(scenario())


def test_a_user_keeps_only_so_much(settings: Settings, tmp_path: Path) -> None:
    small = settings.model_copy(update={"policies_mb": 1})
    sent = zip_of_folder(policy_folder(tmp_path / "made"))

    async def scenario() -> None:
        async with serving(small) as rig:
            await new_account(rig)
            first = (await rig.upload(sent)).json()
            await _fill_up(rig, first["id"], 10**6 - 100)
            full = await rig.upload(await _other(sent))
            assert full.status_code == 409
            assert "POLICIES_MB" in full.json()["detail"]
            assert (await rig.upload(sent)).status_code == 200  # it is there
            assert rig.folders() == [first["id"]]
            await new_account(rig, "bob")
            assert (await rig.upload(sent, "bob")).status_code == 201
            await rig.http.delete(f"/policies/{first['id']}")
            assert (await rig.upload(await _other(sent))).status_code == 201

    play(scenario())


async def _fill_up(rig: Rig, policy_id: str, size_bytes: int) -> None:
    from models import Policy

    with rig.app.state.database.session() as session:
        session.get(Policy, policy_id).size_bytes = size_bytes


async def _other(content: bytes) -> bytes:
    """The same policy with one weight changed."""
    files = members_of(content)
    network = onnx.load_model_from_string(files["policy.onnx"])
    network.producer_version = "2"
    files["policy.onnx"] = network.SerializeToString()
    table = json.loads(files["manifest.json"])
    table["policy"] = {
        "file": "policy.onnx",
        "size_bytes": len(files["policy.onnx"]),
        "sha256": hashlib.sha256(files["policy.onnx"]).hexdigest(),
    }
    files["manifest.json"] = json.dumps(table).encode()
    return zip_with(files.items())


def test_a_full_disk_is_told_and_deleting_makes_room(on_sqlite: Settings, made: Path) -> None:
    # Of 4 KiB pages an archive needs 7 and a policy 10: there is room for both, not for two.
    with small_disk(on_sqlite.data_dir / "policies", "96k"):

        async def scenario() -> None:
            async with serving(on_sqlite) as rig:
                await new_account(rig)
                first = await rig.upload(zip_of_folder(made))
                assert first.status_code == 201, first.json()
                other = await _other(zip_of_folder(made))
                full = await rig.upload(other)
                assert full.status_code == 503
                assert "Make room" in full.json()["detail"]
                assert rig.folders() == [first.json()["id"]]
                await rig.http.delete(f"/policies/{first.json()['id']}")
                assert (await rig.upload(other)).status_code == 201

        play(scenario())


def test_files_that_are_gone_or_damaged_are_not_sent(on_sqlite: Settings, made: Path) -> None:
    async def scenario() -> None:
        async with serving(on_sqlite) as rig:
            await new_account(rig)
            policy = (await rig.upload(zip_of_folder(made))).json()["id"]
            folder = rig.app.state.policies.folder_of(policy)
            ways = (f"/policies/{policy}/download", f"/policies/{policy}/export?format=onnx")
            network = (folder / "policy.onnx").read_bytes()
            (folder / "policy.onnx").write_bytes(network[:-1] + b"x")
            for way in ways:
                damaged = await rig.http.get(way)
                assert damaged.status_code == 503
                assert "checksum" in damaged.json()["detail"]
            (folder / "policy.onnx").unlink()
            for way in ways:
                gone = await rig.http.get(way)
                assert gone.status_code == 404
                assert "backup" in gone.json()["detail"]
            for unknown in ("x", "%00", "..", "a" * 99):
                assert (await rig.http.get(f"/policies/{unknown}/download")).status_code == 404
            assert (await rig.http.delete(f"/policies/{policy}")).status_code == 204

    play(scenario())
