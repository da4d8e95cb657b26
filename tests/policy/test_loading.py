"""Files from strangers: each is refused in words that say what to do, and nothing in it runs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from racer.errors import InvalidInputError, NotFoundError
from racer.policy.export import to_onnx
from racer.policy.loading import load_policy, open_network
from racer.policy.manifest import parse_manifest
from tests.policy.rig import random_network, write_random_policy
from tests.support import REPOSITORY


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A good manifest, parsed."""
    folder = tmp_path_factory.mktemp("policy")
    write_random_policy(folder)
    manifest: dict[str, Any] = json.loads((folder / "manifest.json").read_text())
    return manifest


def put(path: str, value: Any) -> Callable[[dict[str, Any]], None]:
    """A change to a manifest: `path` as a.b.0, or deletion when the value is ..."""

    def change(manifest: dict[str, Any]) -> None:
        *parents, last = (int(part) if part.isdigit() else part for part in path.split("."))
        at: Any = manifest
        for part in parents:
            at = at[part]
        if value is ...:
            del at[last]
        else:
            at[last] = value

    return change


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (put("format", "other"), "not a policy's manifest"),
        (put("format_version", 2), "Update this installation"),
        (put("format_version", "1"), "'format_version'"),
        (put("action_space", "telepathy"), "'action_space'"),
        (put("control_hz", 0.0), "'control_hz'"),
        (put("control_hz", "25"), "'control_hz'"),
        (put("substeps", 8.5), "'substeps'"),
        (put("observation.3.scale", 0.5), "observation layout.* train the policy again"),
        (put("observation.22", ...), "observation layout"),
        (put("seen_obstacles", 1), "observation layout"),
        (put("seen_obstacles", 9), "'seen_obstacles'"),
        (put("limits.velocity_unit_m_s", 7.0), "action layout"),
        (put("limits.hover_thrust", 1.5), "limits.hover_thrust"),
        (put("limits", ...), "'limits'"),
        (put("created", "yesterday"), "'created'"),
        (put("policy.sha256", "xyz"), "policy.sha256"),
        (put("policy.file", "../policy.onnx"), "policy.file"),
        (put("policy.size_bytes", 10**12), "policy.size_bytes"),
        (put("track.gates.0.size_m", -1), "gates\\[0\\].size_m"),
        (put("track", {}), "Track"),
        (put("airframe.body.mass_kg", "heavy"), "body.mass_kg"),
        (put("airframe.rotors.max_speed_rad_s", 1e308), "rotors.max_speed_rad_s"),
        (put("training.config", []), "training.config"),
    ],
)
def test_a_manifest_with_a_wrong_value_is_refused_by_its_key(
    original: dict[str, Any], change: Callable[[dict[str, Any]], None], words: str
) -> None:
    manifest = json.loads(json.dumps(original))
    change(manifest)
    with pytest.raises(InvalidInputError, match=words):
        parse_manifest(json.dumps(manifest).encode())


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"\xff\xfe", b"[]", b"null", b"[" * 100_000, b'{"format": NaN}', b"1" * 10_000],
)
def test_what_is_no_manifest_is_refused(content: bytes) -> None:
    with pytest.raises(InvalidInputError, match="manifest"):
        parse_manifest(content)


def test_numbers_that_are_none_are_refused(original: dict[str, Any]) -> None:
    text = json.dumps(original).replace('"control_hz": 25.0', '"control_hz": NaN')
    with pytest.raises(InvalidInputError, match="'control_hz'"):
        parse_manifest(text.encode())


def test_keys_of_a_later_release_are_passed_over(original: dict[str, Any]) -> None:
    assert parse_manifest(json.dumps(original | {"colour": "red"}).encode()).name


def test_a_course_with_poles_comes_back_with_what_is_seen_of_them(tmp_path: Path) -> None:
    changes = {"track": "lsy_level2", "altitude_m": None, "action_space": "ctbr"}
    write_random_policy(tmp_path, **changes)
    policy = load_policy(tmp_path)
    assert policy.manifest.seen_obstacles == 2
    assert len(policy.track.obstacles) == 4
    assert [element.name for element in policy.manifest.observation[-4:]] == [
        "pole_2_forward",
        "pole_2_left",
        "pole_2_up",
        "pole_2_clearance",
    ]
    assert policy.act(np.zeros(29 + 2 * 4, np.float32)).shape == (4,)


def test_a_manifest_from_before_poles_were_seen_tells_of_none(original: dict[str, Any]) -> None:
    older = {key: value for key, value in original.items() if key != "seen_obstacles"}
    assert parse_manifest(json.dumps(older).encode()).seen_obstacles == 0


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"no manifest\.json"):
        load_policy(tmp_path)
    write_random_policy(tmp_path)
    (tmp_path / "policy.onnx").unlink()
    with pytest.raises(NotFoundError, match=r"no policy\.onnx"):
        load_policy(tmp_path)
    os.mkfifo(tmp_path / "policy.onnx")  # would block whoever opens it
    with pytest.raises(NotFoundError):
        load_policy(tmp_path)


def test_a_damaged_or_exchanged_network_is_told(tmp_path: Path) -> None:
    write_random_policy(tmp_path)
    path = tmp_path / "policy.onnx"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(InvalidInputError, match=r"checksum.*Export the policy again"):
        load_policy(tmp_path)
    path.write_bytes(bytes(9 << 20))
    with pytest.raises(InvalidInputError, match="larger than"):
        load_policy(tmp_path)


def changed(change: Callable[[onnx.ModelProto], None]) -> bytes:
    model = onnx.load_model_from_string(to_onnx(random_network()))
    change(model)
    content: bytes = model.SerializeToString()
    return content


def _external(model: onnx.ModelProto) -> None:
    tensor = model.graph.initializer[0]
    tensor.data_location = TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", "/etc/passwd"


def _loop(model: onnx.ModelProto) -> None:
    body = helper.make_graph([], "body", [], [])
    model.graph.node.append(helper.make_node("Loop", ["", ""], ["x"], body=body))


def _foreign_domain(model: onnx.ModelProto) -> None:
    model.graph.node[0].domain = "com.example"


def _wide(model: onnx.ModelProto) -> None:
    model.graph.initializer.append(numpy_helper.from_array(np.zeros(2000, np.float32), "wide"))


def _deep(model: onnx.ModelProto) -> None:
    model.graph.initializer.append(numpy_helper.from_array(np.zeros((1, 1, 2), np.float32), "d"))


def _double(model: onnx.ModelProto) -> None:
    model.graph.initializer.append(numpy_helper.from_array(np.zeros(2), "double"))


def _infinite(model: onnx.ModelProto) -> None:
    model.graph.initializer.append(numpy_helper.from_array(np.float32([np.inf]), "inf"))


def _short(model: onnx.ModelProto) -> None:
    model.graph.initializer[2].raw_data = b"\0\0"


def _hidden(model: onnx.ModelProto) -> None:
    """A constant inside an attribute, past the look at the initialisers."""
    value = numpy_helper.from_array(np.zeros((1, 2), np.float32), "value")
    model.graph.node[0].attribute.append(helper.make_attribute("value", value))


def _unnamed(model: onnx.ModelProto) -> None:
    model.graph.input[0].name = "x"
    model.graph.node[0].input[0] = "x"


def _one_row(model: onnx.ModelProto) -> None:
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1


def _unconnected(model: onnx.ModelProto) -> None:
    model.graph.node[1].input[0] = "nowhere"


def _explosive(model: onnx.ModelProto) -> None:
    """Finite weights whose product is not."""
    for tensor in model.graph.initializer:
        if tensor.name.endswith("_weight"):
            weights = numpy_helper.to_array(tensor) * np.float32(1e30)
            tensor.raw_data = weights.tobytes()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (_external, "in another file"),
        (_loop, "'Loop'"),
        (_foreign_domain, "not one of a policy"),
        (_wide, "wider than 1024"),
        (_deep, "wider"),
        (_double, "32-bit"),
        (_infinite, "diverged"),
        (_short, "incomplete"),
        (_hidden, "carries a tensor"),
        (_unnamed, "input and output"),
        (_one_row, "batches of 23"),
        (_unconnected, "cannot be run"),
        (_explosive, "no finite number"),
    ],
)
def test_a_network_that_is_none_of_ours_is_refused(
    change: Callable[[onnx.ModelProto], None], words: str
) -> None:
    with pytest.raises(InvalidInputError, match=words):
        open_network(changed(change), observations=23)


def test_the_wrong_size_or_nonsense_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="batches of 29"):
        open_network(to_onnx(random_network()), observations=29)
    for content in (b"", b"nonsense", os.urandom(1000)):
        with pytest.raises(InvalidInputError, match=r"policy\.onnx"):
            open_network(content, observations=23)


def test_a_self_consistent_stranger_is_probed_all_the_same(tmp_path: Path) -> None:
    """Checksums prove nothing about the sender: the network is looked at in any case."""
    write_random_policy(tmp_path)
    content = changed(_infinite)
    (tmp_path / "policy.onnx").write_bytes(content)
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    manifest["policy"] |= {"size_bytes": len(content), "sha256": sha256(content).hexdigest()}
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(InvalidInputError, match="diverged"):
        load_policy(tmp_path)


def test_bytes_damaged_anywhere_are_refused_or_harmless_and_quiet(
    capfd: pytest.CaptureFixture[str],
) -> None:
    """A few hundred of the 50,000 mutations that were tried."""
    rng = np.random.default_rng(1)
    original = to_onnx(random_network(hidden=8))
    refused = 0
    for _ in range(300):
        content = bytearray(original)
        for place in rng.integers(len(content), size=rng.integers(1, 20)):
            content[place] = rng.integers(256)
        try:
            open_network(bytes(content), observations=23)
        except InvalidInputError:
            refused += 1
    assert refused > 100
    assert capfd.readouterr() == ("", "")


def test_loading_a_policy_needs_no_jax() -> None:
    code = "import sys, racer.policy.loading, racer.policy.export; print('jax' in sys.modules)"
    answer = subprocess.run(
        [sys.executable, "-c", code],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert answer.stdout.strip() == "False"
