"""Weights to ONNX, and the manifest beside it. NumPy in, two files out; no JAX.

The graph is what racer.learning.networks computes, with the normalisation of observations in
front and the squashing of actions at the end:

    clip((observation − mean) · scale, ±5) → two layers of SiLU → linear or tanh → action

It is written with plain operators of an old opset, so that onnxruntime, OpenVINO and the tools
of small computers read it alike.
"""

from __future__ import annotations

import datetime
import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeAlias, cast

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from safetensors import SafetensorError, safe_open

from racer.errors import InvalidInputError, NotFoundError
from racer.files import write_atomically
from racer.policy.layout import action_layout, observation_layout
from racer.policy.loading import INPUT, MAX_WIDTH, OUTPUT, open_network
from racer.policy.manifest import (
    FORMAT,
    FORMAT_VERSION,
    MANIFEST_FILE,
    MAX_POLICY_BYTES,
    POLICY_FILE,
    WEIGHTS_FILE,
    Manifest,
    Normalisation,
    PolicyFile,
    PolicyLimits,
    TrainingRecord,
    describe,
)
from racer.policy.revision import git_revision
from racer.policy.tables import airframe_table, track_table
from racer.sim.airframe import Airframe, load_airframe
from racer.sim.interface import ActionSpace
from racer.sim.task import Settings, Task, make_task, seen_obstacles
from racer.sim.track import Track, load_track

FloatArray: TypeAlias = NDArray[np.float32]

CLIP = 5.0  # normalised observations, as racer.learning.networks.normalise
VARIANCE_FLOOR = 1e-4  # likewise
_OPSET = 13
_IR_VERSION = 8  # of the same time as the opset: older runtimes read it


class Network(NamedTuple):
    """A policy as trained. O observations, H units in both hidden layers, A actions."""

    mean: FloatArray  # (O,) of the observations
    variance: FloatArray  # (O,)
    layers: tuple[tuple[FloatArray, FloatArray], ...]  # weight (inputs, outputs), bias (outputs,)
    output: Literal["linear", "tanh"]

    @property
    def scale(self) -> FloatArray:
        """(O,) what centred observations are multiplied with."""
        wide = np.asarray(self.variance, np.float64) + VARIANCE_FLOOR
        return (1.0 / np.sqrt(wide)).astype(np.float32)


class Origin(NamedTuple):
    """What a policy was trained on and for."""

    track: Track
    airframe: Airframe
    simulation: Settings
    task: Task  # made of the three above: its limits are what the actions mean


def to_onnx(network: Network) -> bytes:
    """The network as an ONNX file: raw observations (batch, O) to actions (batch, A), float32."""
    graph = _Graph()
    at = graph.add("Sub", INPUT, graph.constant("observation_mean", network.mean))
    at = graph.add("Mul", at, graph.constant("observation_scale", network.scale))
    least, most = (graph.constant(f"clip_{n}", np.float32(n * CLIP)) for n in (-1, 1))
    at = graph.add("Clip", at, least, most)
    for index, (weight, bias) in enumerate(network.layers):
        at = graph.add("MatMul", at, graph.constant(f"layer_{index}_weight", weight))
        at = graph.add("Add", at, graph.constant(f"layer_{index}_bias", bias))
        if index < len(network.layers) - 1:  # SiLU: x · sigmoid(x)
            at = graph.add("Mul", at, graph.add("Sigmoid", at))
    if network.output == "tanh":
        at = graph.add("Tanh", at)
    graph.nodes[-1].output[0] = OUTPUT
    sizes = len(network.mean), network.layers[-1][1].shape[0]
    ports = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", size])
        for name, size in zip((INPUT, OUTPUT), sizes, strict=True)
    ]
    model = helper.make_model(
        helper.make_graph(graph.nodes, "policy", ports[:1], ports[1:], graph.tensors),
        producer_name="toledo-racer",
        opset_imports=[helper.make_opsetid("", _OPSET)],
        ir_version=_IR_VERSION,
    )
    onnx.checker.check_model(model, full_check=True)
    return cast(bytes, model.SerializeToString())


class _Graph:
    """Nodes in a chain, each named by its place, and their constants."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.tensors: list[onnx.TensorProto] = []

    def constant(self, name: str, values: Any) -> str:
        self.tensors.append(numpy_helper.from_array(np.asarray(values, np.float32), name))
        return name

    def add(self, operation: str, *inputs: str) -> str:
        name = f"{operation.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(operation, list(inputs), [name]))
        return name


def write_policy(
    folder: Path,
    network: Network,
    origin: Origin,
    *,
    config: Mapping[str, Any],
    epoch: int,
    report: Mapping[str, Any],
) -> Manifest:
    """Write `policy.onnx` and then `manifest.json` into `folder`; the network is probed first.

    `config`: the training's; `report`: its last epoch's. Raises InvalidInputError when the
    network cannot fly, for instance because its weights are no finite numbers.
    """
    if any(max(weight.shape) > MAX_WIDTH for weight, _ in network.layers):
        raise InvalidInputError(f"Policies with layers wider than {MAX_WIDTH} are not exported.")
    content = to_onnx(network)
    open_network(content, observations=origin.simulation.observation_size)
    manifest = make_manifest(content, network, origin, config=config, epoch=epoch, report=report)
    write_atomically(folder / POLICY_FILE, content)
    write_atomically(folder / MANIFEST_FILE, manifest.to_json().encode())
    return manifest


def make_manifest(
    content: bytes,
    network: Network,
    origin: Origin,
    *,
    config: Mapping[str, Any],
    epoch: int,
    report: Mapping[str, Any],
) -> Manifest:
    """Describe the ONNX file `content`."""
    simulation, limits = origin.simulation, _limits(origin)
    space = simulation.action_space
    config, report = describe(dict(config)), describe(dict(report))
    return Manifest(
        format=FORMAT,
        format_version=FORMAT_VERSION,
        name=f"{origin.track.name} {origin.airframe.name} {config.get('algorithm', 'ppo')}",
        created=datetime.datetime.now(datetime.UTC).replace(microsecond=0),
        git_revision=git_revision(),
        algorithm=str(config.get("algorithm", "ppo")),
        action_space=space,
        control_hz=simulation.control_hz,
        substeps=simulation.substeps,
        seen_obstacles=simulation.seen_obstacles,
        observation=observation_layout(space, simulation.seen_obstacles),
        action=action_layout(space, limits.scales(space)),
        normalisation=Normalisation(
            mean=network.mean.tolist(),
            scale=network.scale.tolist(),
            clip=CLIP,
            output=network.output,
        ),
        limits=limits,
        wind_speed_m_s=float(origin.task.wind_speed),
        airframe=describe(airframe_table(origin.airframe)),
        track=describe(track_table(origin.track)),
        training=TrainingRecord(
            config=config,
            seed=_whole(config.get("seed")),
            epoch=epoch,
            env_steps=_whole(report.get("env_steps")),
            evaluation=report,
        ),
        policy=PolicyFile(size_bytes=len(content), sha256=hashlib.sha256(content).hexdigest()),
    )


def _whole(value: object) -> int:
    return value if isinstance(value, int) else 0


def _limits(origin: Origin) -> PolicyLimits:
    """The numbers that racer.sim.environment gives to racer.sim.interface, by the same names."""
    task, airframe = origin.task, origin.airframe
    control = airframe.control
    return PolicyLimits(
        velocity_m_s=float(task.velocity_limit),
        velocity_unit_m_s=float(task.velocity_unit),
        climb_m_s=control.velocity_max_up_m_s,
        descent_m_s=control.velocity_max_down_m_s,
        yaw_rate_rad_s=float(task.yaw_limit),
        yaw_rate_unit_rad_s=float(task.yaw_unit),
        tilt_deg=control.tilt_max_deg,
        hover_thrust=airframe.hover_thrust,
        body_rate_rad_s=float(np.radians(control.rate_max_xy_deg_s)),
        body_yaw_rate_rad_s=float(np.radians(control.rate_max_z_deg_s)),
    )


def export_run(folder: str | Path, *, origin: Origin | None = None) -> Manifest:
    """Export a training's folder: reads `policy.safetensors`, writes the two files beside it.

    `origin`: what was trained on, from who still has it at hand; otherwise the configuration's
    course and airframe are read again. Raises NotFoundError when no epoch was finished there,
    InvalidInputError when the file is not one of a training.
    """
    folder = Path(folder)
    network, told = read_weights(folder / WEIGHTS_FILE)
    try:
        config = json.loads(told["config"])
        report = json.loads(told.get("report", "{}"))
        epoch = int(told["epoch"])
        origin = origin or origin_of(config)
    except (KeyError, TypeError, ValueError) as error:
        raise InvalidInputError(
            f"{folder / WEIGHTS_FILE} does not tell how it was trained ({error!r}): it was made "
            "by an older release. Train again."
        ) from error
    return write_policy(folder, network, origin, config=config, epoch=epoch, report=report)


def origin_of(config: Mapping[str, Any]) -> Origin:
    """Course, vehicle, rates and limits of a training's full configuration.

    Raises KeyError for a key that is missing, RacerError for one that means nothing.
    """
    track = load_track(config["track"], altitude_m=config["altitude_m"])
    if config["laps"] is not None:
        track = replace(track, laps=config["laps"])
    simulation = Settings(
        action_space=cast(ActionSpace, config["action_space"]),
        control_hz=float(config["control_hz"]),
        substeps=config["substeps"],
        randomise=config.get("randomise", False),
        seen_obstacles=seen_obstacles(track),
    )
    task = make_task(
        track,
        simulation,
        velocity_limit_m_s=config["velocity_limit_m_s"],
        yaw_limit_deg_s=config["yaw_limit_deg_s"],
        wind_speed_m_s=config["wind_speed_m_s"],
    )
    return Origin(track, load_airframe(config["airframe"]), simulation, task)


def read_weights(path: Path) -> tuple[Network, dict[str, str]]:
    """The policy in a `policy.safetensors` and the file's texts.

    Raises NotFoundError when there is no such file, InvalidInputError when it holds no policy.
    """
    if not path.is_file():
        raise NotFoundError(
            f"There is no {path.name} in {path.parent}: no epoch was finished there. Name the "
            "folder of a training."
        )
    if path.stat().st_size > 8 * MAX_POLICY_BYTES:
        raise InvalidInputError(f"{path} is too large for the weights of a policy.")
    try:
        with safe_open(path, framework="numpy") as file:
            told = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        layers = tuple(
            (tensors[f"policy_{layer}_weight"], tensors[f"policy_{layer}_bias"])
            for layer in ("1", "2", "out")
        )
        mean, variance = tensors["observation_mean"], tensors["observation_variance"]
    except (SafetensorError, KeyError, OSError) as error:
        raise InvalidInputError(f"{path} does not hold a policy's weights: {error}.") from error
    output = told.get("output", "linear")
    if output not in ("linear", "tanh"):
        raise InvalidInputError(f"{path}: the output '{output[:40]}' is none that we know.")
    return Network(mean, variance, layers, cast(Literal["linear", "tanh"], output)), told
