"""A policy's ONNX file as other formats: the weights as safetensors, OpenVINO's IR. No JAX.

The weights are read back out of the graph, so that a policy which was trained elsewhere has them
as well. Only the graph that racer.policy.export writes is understood: the result is compared with
the original on random observations, and what differs is refused.
"""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import TypeAlias

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from racer.errors import InvalidInputError, NotInstalledError
from racer.learning.files import write_tensors
from racer.policy.export import VARIANCE_FLOOR, Network, read_weights, to_onnx
from racer.policy.loading import INPUT, OUTPUT, Policy, load_policy, open_network
from racer.policy.manifest import MANIFEST_FILE, POLICY_FILE, WEIGHTS_FILE

FloatArray: TypeAlias = NDArray[np.float32]

OPENVINO_FILES = ("policy.xml", "policy.bin")
TOLERANCE = 1e-5  # of actions, against the original
_LAYERS = ("1", "2", "out")
_PROBES = 256


def write_weights(folder: Path, target: Path) -> None:
    """The policy of `folder` as a safetensors file at `target`, as a training writes it: the
    tensors `observation_mean`, `observation_variance` (O,), `policy_1_weight` (O, H),
    `policy_1_bias` (H,), likewise `policy_2_…`, `policy_out_…`, and texts about its training.

    Raises InvalidInputError for a network that is not built as ours are.
    """
    policy = load_policy(folder)
    network = network_of((folder / POLICY_FILE).read_bytes(), output=policy)
    tensors: dict[str, FloatArray] = {
        "observation_mean": network.mean,
        "observation_variance": network.variance,
    }
    for layer, (weight, bias) in zip(_LAYERS, network.layers, strict=True):
        tensors |= {f"policy_{layer}_weight": weight, f"policy_{layer}_bias": bias}
    training = policy.manifest.training
    metadata = {
        "config": json.dumps(training.config),
        "epoch": str(training.epoch),
        "output": network.output,
        "report": json.dumps(training.evaluation),
    }
    write_tensors(target, tensors, metadata=metadata)
    if not weights_fit(target, policy):
        raise _other_network()


def network_of(content: bytes, *, output: Policy) -> Network:
    """The weights in an ONNX file of ours; `output`: the policy whose file it is."""
    graph = onnx.load_model_from_string(content).graph
    values = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    try:
        layers = tuple(
            (values[f"layer_{index}_weight"], values[f"layer_{index}_bias"])
            for index in range(len(_LAYERS))
        )
        mean, scale = values["observation_mean"], values["observation_scale"]
    except KeyError as error:
        raise _other_network() from error
    with np.errstate(all="ignore"):  # a stranger's numbers; what results is compared
        variance = (1.0 / np.asarray(scale, np.float64) ** 2 - VARIANCE_FLOOR).astype(np.float32)
    return Network(mean, variance, layers, output.manifest.normalisation.output)


def weights_fit(path: Path, policy: Policy) -> bool:
    """Whether a weights file means the same network: its actions differ by 1e-5 at most."""
    size = len(policy.manifest.observation)
    try:
        network, _ = read_weights(path)
        rebuilt = open_network(to_onnx(network), observations=size)
    except (InvalidInputError, ValueError, onnx.checker.ValidationError):
        return False
    probes = np.random.default_rng(1).normal(size=(_PROBES, size)).astype(np.float32)
    probes[_PROBES // 2 :] *= 100.0
    answers = rebuilt.run([OUTPUT], {INPUT: probes})[0]
    return bool(np.allclose(answers, policy.act(probes), rtol=TOLERANCE, atol=TOLERANCE))


def write_openvino(folder: Path, target: Path) -> None:
    """The policy of `folder` as a zip of OpenVINO's IR (`policy.xml`, `policy.bin`, 32-bit
    weights) and the manifest. Raises NotInstalledError without the package `openvino`."""
    try:
        import openvino  # noqa: PLC0415 - an optional package
    except ImportError as error:
        raise NotInstalledError(
            "OpenVINO is not installed on the server. Type `.venv/bin/python -m pip install "
            "openvino` there, or export as onnx, which OpenVINO reads too."
        ) from error
    load_policy(folder)  # what is damaged is refused in our own words
    model = openvino.convert_model(folder / POLICY_FILE)
    graph, weights = (target.with_name(name) for name in OPENVINO_FILES)
    openvino.save_model(model, graph, compress_to_fp16=False)
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in (graph, weights, folder / MANIFEST_FILE):
            archive.write(file, file.name)


def _other_network() -> InvalidInputError:
    return InvalidInputError(
        f"The policy's network is not built as ours are, so that {WEIGHTS_FILE} cannot hold it. "
        "Export it as onnx."
    )
