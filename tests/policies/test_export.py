"""Other formats mean the same actions."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import numpy_helper
from safetensors.numpy import load

from racer.policy.export import CLIP, VARIANCE_FLOOR, export_run
from racer.policy.loading import load_policy
from racer.settings import Settings
from tests.policies.rig import (
    policy_folder,
    policy_with_weights,
    serving,
    zip_of_folder,
)
from tests.policies.test_keeping import finished_run
from tests.training.conftest import play

OBSERVATIONS = np.random.default_rng(9).normal(size=(64, 23)).astype(np.float32)
OBSERVATIONS[32:] *= 100.0


@pytest.fixture
def on_sqlite(migrated_sqlite_url: str, tmp_path: Path) -> Settings:
    return Settings(_env_file=None, data_dir=tmp_path / "data", database_url=migrated_sqlite_url)


async def exported(
    settings: Settings, made: Path, wanted: str
) -> tuple[int, dict[str, Any], bytes]:
    """Upload a policy and export it."""
    async with serving(settings) as rig:
        await rig.http.post("/users/", json={"username": "ada"})
        policy = (await rig.upload(zip_of_folder(made))).json()["id"]
        answer = await rig.http.get(f"/policies/{policy}/export?format={wanted}")
        assert rig.folders() == [policy]
        if answer.status_code == 200:
            tag = {"If-None-Match": answer.headers["etag"]}
            again = await rig.http.get(f"/policies/{policy}/export?format={wanted}", headers=tag)
            assert again.status_code == 304
        return answer.status_code, dict(answer.headers), answer.content


def actions(folder: Path) -> NDArray[np.float32]:
    return load_policy(folder).act(OBSERVATIONS)


def test_as_onnx(on_sqlite: Settings, tmp_path: Path) -> None:
    made = policy_folder(tmp_path / "made")
    status, headers, content = play(exported(on_sqlite, made, "onnx"))
    assert status == 200
    assert headers["content-disposition"].endswith('filename="toledo-x500-ppo-v1-policy.onnx"')
    assert content == (made / "policy.onnx").read_bytes()
    answer = onnxruntime.InferenceSession(content).run(None, {"observation": OBSERVATIONS})[0]
    np.testing.assert_allclose(answer, actions(made), atol=1e-5)


def forward(tensors: dict[str, NDArray[np.float32]], *, squash: bool) -> NDArray[np.float64]:
    """The network as docs/policies.md has it, in plain NumPy."""
    scale = 1.0 / np.sqrt(tensors["observation_variance"].astype(np.float64) + VARIANCE_FLOOR)
    at = np.clip((OBSERVATIONS - tensors["observation_mean"]) * scale, -CLIP, CLIP)
    for layer in ("1", "2"):
        at = at @ tensors[f"policy_{layer}_weight"] + tensors[f"policy_{layer}_bias"]
        at = at / (1.0 + np.exp(-at))
    at = at @ tensors["policy_out_weight"] + tensors["policy_out_bias"]
    return np.tanh(at) if squash else at


def test_as_weights_of_a_policy_from_elsewhere(on_sqlite: Settings, tmp_path: Path) -> None:
    """They come out of the graph, and export to the same network again."""
    made = policy_folder(tmp_path / "made")
    status, _, content = play(exported(on_sqlite, made, "safetensors"))
    assert status == 200
    tensors = load(content)
    assert sorted(tensors) == sorted(
        ["observation_mean", "observation_variance"]
        + [f"policy_{layer}_{part}" for layer in ("1", "2", "out") for part in ("weight", "bias")]
    )
    np.testing.assert_allclose(forward(tensors, squash=False), actions(made), rtol=1e-5, atol=1e-5)
    again = tmp_path / "again"
    again.mkdir()
    (again / "policy.safetensors").write_bytes(content)
    export_run(again)
    np.testing.assert_allclose(actions(again), actions(made), rtol=1e-5, atol=1e-5)


def test_weights_of_a_run_are_its_own_file(on_sqlite: Settings, tmp_path: Path) -> None:
    """With what else the training keeps in it. Weights of another network are not kept."""
    made, mixed = (policy_with_weights(tmp_path / name) for name in ("made", "mixed"))
    weights = (made / "policy.safetensors").read_bytes()
    other = policy_with_weights(tmp_path / "other", seed=1)
    (other / "policy.safetensors").rename(mixed / "policy.safetensors")

    async def scenario() -> None:
        async with serving(on_sqlite) as rig:
            for folder, same in ((made, True), (mixed, False)):
                run_id = finished_run(rig.app.state.database, rig.data_dir, made=folder)
                policy = (await rig.http.post(f"/runs/{run_id}/policy")).json()["id"]
                answer = await rig.http.get(f"/policies/{policy}/export?format=safetensors")
                assert answer.status_code == 200
                assert (answer.content == weights) == same
                tensors = load(answer.content)
                kept = rig.app.state.policies.folder_of(policy)
                np.testing.assert_allclose(
                    forward(tensors, squash=False), actions(kept), rtol=1e-5, atol=1e-5
                )

    play(scenario())


def test_a_network_of_another_build_has_no_such_weights(
    on_sqlite: Settings, tmp_path: Path
) -> None:
    """What the graph's tensors are called proves nothing: the answers are compared."""
    made = policy_folder(tmp_path / "made")
    network = onnx.load_model(made / "policy.onnx")
    for node in network.graph.node:
        if node.op_type == "Sigmoid":
            node.op_type = "Tanh"
    content = network.SerializeToString()
    _replace_network(made, content)
    status, _, answer = play(exported(on_sqlite, made, "safetensors"))
    assert status == 422
    assert "Export it as onnx" in json.loads(answer)["detail"]


def test_extreme_scales_are_exported_or_refused(on_sqlite: Settings, tmp_path: Path) -> None:
    """A stranger's normalisation may be one that a variance cannot express."""
    made = policy_folder(tmp_path / "made")
    network = onnx.load_model(made / "policy.onnx")
    (scale,) = (t for t in network.graph.initializer if t.name == "observation_scale")
    scale.CopyFrom(numpy_helper.from_array(np.full(23, -1e3, np.float32), scale.name))
    _replace_network(made, network.SerializeToString())
    status, _, answer = play(exported(on_sqlite, made, "safetensors"))
    assert status == 422, answer[:100]


def _replace_network(folder: Path, content: bytes) -> None:
    import hashlib

    table = json.loads((folder / "manifest.json").read_text())
    digest = hashlib.sha256(content).hexdigest()
    table["policy"] |= {"size_bytes": len(content), "sha256": digest}
    (folder / "manifest.json").write_text(json.dumps(table))
    (folder / "policy.onnx").write_bytes(content)


@pytest.mark.parametrize("space", ["velocity", "ctbr"])
def test_as_openvino(on_sqlite: Settings, tmp_path: Path, space: str) -> None:
    import openvino

    made = policy_folder(tmp_path / "made", action_space=space)
    status, headers, content = play(exported(on_sqlite, made, "openvino"))
    assert (status, headers["content-type"]) == (200, "application/zip")
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert sorted(archive.namelist()) == ["manifest.json", "policy.bin", "policy.xml"]
        archive.extractall(tmp_path / "ir")
    # Full precision: some processors would compute in 16 bits otherwise.
    exact = {"INFERENCE_PRECISION_HINT": "f32"}
    model = openvino.Core().compile_model(tmp_path / "ir" / "policy.xml", "CPU", exact)
    policy = load_policy(made)
    rng = np.random.default_rng(2)
    probes = rng.normal(size=(64, len(policy.manifest.observation))).astype(np.float32)
    answer = model({"observation": probes})["action"]
    np.testing.assert_allclose(answer, policy.act(probes), atol=1e-5)


def test_without_openvino_the_answer_says_what_to_install(
    on_sqlite: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "path"
    broken.mkdir()
    (broken / "openvino.py").write_text("raise ImportError('as if it were not there')\n")
    monkeypatch.setenv("PYTHONPATH", str(broken))
    made = policy_folder(tmp_path / "made")
    status, _, answer = play(exported(on_sqlite, made, "openvino"))
    assert status == 501
    assert "pip install openvino" in json.loads(answer)["detail"]


def test_unknown_formats_and_policies(on_sqlite: Settings) -> None:
    async def scenario() -> None:
        async with serving(on_sqlite) as rig:
            for query in ("", "?format=pickle", "?format="):
                answer = await rig.http.get(f"/policies/{'a' * 36}/export{query}")
                assert answer.status_code in (404, 422)
            answer = await rig.http.get(f"/policies/{'a' * 36}/export?format=onnx")
            assert answer.status_code == 404

    play(scenario())
