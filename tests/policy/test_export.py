"""The exported network is the trained one: onnxruntime against JAX."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import onnx
import pytest

from racer.errors import InvalidInputError, NotFoundError
from racer.learning.files import write_tensors
from racer.learning.networks import Normaliser, normalise, policy_mean
from racer.learning.onnx_network import network_of
from racer.policy.export import Network, export_run, to_onnx, write_policy
from racer.policy.loading import load_policy, open_network
from racer.policy.manifest import read_manifest
from racer.policy.revision import git_revision
from racer.sim.interface import OBSERVATION_SIZES, ActionSpace
from tests.policy.rig import CONFIG, origin, random_network, write_random_policy
from tests.support import REPOSITORY


def parameters_of(network: Network) -> tuple[dict[str, jax.Array], Normaliser]:
    parameters = {}
    for name, (weight, bias) in zip(("1", "2", "out"), network.layers, strict=True):
        parameters[f"policy_{name}_weight"] = jnp.asarray(weight)
        parameters[f"policy_{name}_bias"] = jnp.asarray(bias)
    seen = Normaliser(jnp.asarray(network.mean), jnp.asarray(network.variance), jnp.float32(9.0))
    return parameters, seen


def observations(size: int) -> np.ndarray[Any, Any]:
    """1,000 of every size: small, ordinary, at the clip's edge, absurd."""
    rng = np.random.default_rng(5)
    normal = rng.normal(size=(1000, size)) * np.logspace(-3, 6, 1000)[:, None]
    normal[-1], normal[-2], normal[-3] = 3e38, -3e38, 0.0
    return normal.astype(np.float32)


@pytest.mark.parametrize("space", ["velocity", "ctbr"])
@pytest.mark.parametrize("output", ["linear", "tanh"])
def test_onnxruntime_answers_as_jax_does(
    space: ActionSpace, output: Literal["linear", "tanh"]
) -> None:
    size = OBSERVATION_SIZES[space]
    network = random_network(space, output=output)
    parameters, seen = parameters_of(network)
    raw = observations(size)
    trained = np.asarray(policy_mean(parameters, normalise(seen, jnp.asarray(raw)), output))
    session = open_network(to_onnx(network), observations=size)
    exported = session.run(["action"], {"observation": raw})[0]
    assert np.abs(trained).max() > 0.5
    assert np.abs(exported - trained).max() < 1e-5


def test_a_policy_flies_one_observation_or_many(tmp_path: Path) -> None:
    write_random_policy(tmp_path)
    policy = load_policy(tmp_path)
    rows = observations(23)[400:410]
    together = policy.act(rows)
    assert together.shape == (10, 4)
    assert policy.act(rows[3]) == pytest.approx(together[3], abs=1e-6)
    assert (policy.action_space, policy.control_hz) == ("velocity", 25.0)
    assert policy.track.name == "toledo"
    assert policy.airframe.name == "x500"


def test_the_manifest_says_what_was_trained(tmp_path: Path) -> None:
    write_random_policy(tmp_path, altitude_m=5.0, laps=3, wind_speed_m_s=2.0)
    manifest = read_manifest(tmp_path)
    assert manifest.training.config["track"] == "toledo"
    assert (manifest.training.seed, manifest.training.epoch, manifest.training.env_steps) == (
        *(3, 2),
        1024,
    )
    assert manifest.training.evaluation["accuracy"] == 0.5
    track = manifest.load_track()
    assert track.laps == 3
    assert np.mean([gate.position[2] for gate in track.gates]) == pytest.approx(5.0)
    assert manifest.limits.velocity.velocity == 8.0
    assert manifest.limits.velocity.yaw == pytest.approx(np.pi / 2)
    assert manifest.limits.rates.hover == pytest.approx(manifest.load_airframe().hover_thrust)
    assert manifest.created.utcoffset() is not None
    assert [element.scale for element in manifest.action] == pytest.approx([8, 8, 8, np.pi / 2])
    assert manifest.git_revision == git_revision()


def test_the_same_weights_make_the_same_file() -> None:
    assert to_onnx(random_network()) == to_onnx(random_network())
    model = onnx.load_model_from_string(to_onnx(random_network()))
    assert model.opset_import[0].version == 13


def write_weights(folder: Path, network: Network, **told: str) -> None:
    parameters, seen = parameters_of(network)
    tensors = parameters | {f"observation_{k}": v for k, v in seen._asdict().items()}
    metadata = {"config": json.dumps(CONFIG), "epoch": "7", "output": "linear"} | told
    arrays = {name: np.asarray(tensor) for name, tensor in tensors.items()}
    write_tensors(folder / "policy.safetensors", arrays, metadata=metadata)


def test_a_training_folder_is_exported_from_its_weights_alone(tmp_path: Path) -> None:
    network = random_network(output="tanh")
    write_weights(tmp_path, network, output="tanh", report=json.dumps({"env_steps": 5}))
    manifest = export_run(tmp_path)
    assert (manifest.training.epoch, manifest.training.env_steps) == (7, 5)
    assert manifest.normalisation.output == "tanh"
    assert np.abs(load_policy(tmp_path).act(observations(23))).max() < 1.00001


def test_an_export_says_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="no epoch was finished"):
        export_run(tmp_path)
    (tmp_path / "policy.safetensors").write_bytes(b"nonsense")
    with pytest.raises(InvalidInputError, match="does not hold a policy"):
        export_run(tmp_path)
    write_weights(tmp_path, random_network(), config="{}")
    with pytest.raises(InvalidInputError, match="older release"):
        export_run(tmp_path)
    write_weights(tmp_path, random_network(), output="relu6")
    with pytest.raises(InvalidInputError, match="'relu6'"):
        export_run(tmp_path)


def test_weights_that_diverged_are_not_exported(tmp_path: Path) -> None:
    network = random_network()
    network.layers[1][0][3, 4] = np.nan
    with pytest.raises(InvalidInputError, match="diverged"):
        write_policy(tmp_path, network, origin(), config=CONFIG, epoch=1, report={})
    assert list(tmp_path.iterdir()) == []


def test_the_revision_is_this_checkouts_or_unknown(tmp_path: Path) -> None:
    known = (REPOSITORY / ".git").exists()
    assert (git_revision() == "unknown") != known
    assert git_revision(tmp_path) == "unknown"
    (tmp_path / ".git").mkdir()
    assert git_revision(tmp_path) == "unknown"


@pytest.mark.parametrize("output", ["linear", "tanh"])
def test_the_evaluation_flies_the_very_file(output: Literal["linear", "tanh"]) -> None:
    content, raw = to_onnx(random_network("ctbr", output=output)), observations(29)
    weights, act = network_of(content)
    answered = open_network(content, observations=29).run(["action"], {"observation": raw})[0]
    assert np.abs(np.asarray(jax.jit(act)(weights, raw)) - answered).max() < 1e-5


def test_networks_made_elsewhere_may_use_gemm() -> None:
    rng = np.random.default_rng(0)
    weight, bias = rng.normal(size=(4, 23)).astype(np.float32), rng.normal(size=4)
    node = onnx.helper.make_node(
        "Gemm", ["observation", "w", "b"], ["action"], alpha=0.5, beta=2.0, transB=1
    )
    ports = [
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["batch", size])
        for name, size in (("observation", 23), ("action", 4))
    ]
    tensors = [
        onnx.numpy_helper.from_array(np.asarray(values, np.float32), name)
        for name, values in (("w", weight), ("b", bias))
    ]
    graph = onnx.helper.make_graph([node], "g", ports[:1], ports[1:], tensors)
    opset = [onnx.helper.make_opsetid("", 13)]
    content = onnx.helper.make_model(graph, opset_imports=opset, ir_version=8).SerializeToString()
    raw = observations(23)[:500]
    weights, act = network_of(content)
    answered = open_network(content, observations=23).run(["action"], {"observation": raw})[0]
    assert np.asarray(act(weights, jnp.asarray(raw))) == pytest.approx(answered, rel=1e-4, abs=1e-4)
