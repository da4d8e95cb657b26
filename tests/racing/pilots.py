"""Policies that really fly, made by hand from the few operations that a policy's graph may have.

Of a gate's direction n and the vector T to its centre the graph computes the way L to the gate's
axis (T without its part along n) and flies at `speed` along n while it goes towards the axis:

    v = n · clip(speed − slowing · |L|₁, −1, speed) + clip(gain · L, ±speed)
"""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path
from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from racer.policy.loading import INPUT, OUTPUT
from racer.policy.manifest import MANIFEST_FILE, POLICY_FILE, Manifest
from tests.policy.rig import write_random_policy

_UNIT_M_S = 8.0  # that a velocity action of one asks for


def write_pilot(folder: Path, speed_m_s: float, **changes: Any) -> Manifest:
    """A policy's folder; `changes` to what it says it was trained on (tests.policy.rig.CONFIG)."""
    return exchange_network(folder, pilot_network(speed_m_s), **changes)


def exchange_network(folder: Path, content: bytes, **changes: Any) -> Manifest:
    """A folder with this network and a manifest that belongs to it."""
    folder.mkdir(parents=True, exist_ok=True)
    manifest = write_random_policy(folder, **changes)
    file = manifest.policy.model_copy(
        update={"size_bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    )
    manifest = manifest.model_copy(update={"policy": file})
    (folder / POLICY_FILE).write_bytes(content)
    (folder / MANIFEST_FILE).write_text(manifest.to_json())
    return manifest


def pilot_network(speed_m_s: float, *, slowing: float = 1.5, gain: float = 2.2) -> bytes:
    """The graph: 23 observations of the action space `velocity` to 4 actions."""
    graph = _Graph()
    speed = speed_m_s / _UNIT_M_S
    to_gate = graph.add("MatMul", INPUT, graph.constant(_pick((0, 1, 2), 10.0)))  # m
    along = graph.add("MatMul", INPUT, graph.constant(_pick((3, 4, 5), 1.0)))
    ahead = graph.add("MatMul", INPUT, graph.constant(_pick((12, 12, 12), 5.0)))  # m, three times
    aside = graph.add("Add", to_gate, graph.add("Mul", along, ahead))
    size = graph.add(
        "Add", graph.add("Relu", aside), graph.add("Relu", graph.add("Sub", graph.zero(), aside))
    )
    total = graph.add("MatMul", size, graph.constant(np.ones((3, 3))))
    slowed = graph.add("Mul", total, graph.constant(-slowing / _UNIT_M_S))
    forward = graph.add("Add", slowed, graph.constant(speed))
    forward = graph.clip(forward, -1.0 / _UNIT_M_S, speed)
    back = graph.clip(graph.add("Mul", aside, graph.constant(gain / _UNIT_M_S)), -speed, speed)
    wish = graph.add("Add", graph.add("Mul", along, forward), back)
    graph.add("MatMul", wish, graph.constant(np.eye(3, 4)), output=OUTPUT)
    return graph.content(observations=23)


def _pick(columns: tuple[int, ...], scale: float) -> np.ndarray:
    chosen = np.zeros((23, len(columns)))
    chosen[list(columns), range(len(columns))] = scale
    return chosen


@dataclasses.dataclass
class _Graph:
    nodes: list[Any] = dataclasses.field(default_factory=list)
    tensors: list[Any] = dataclasses.field(default_factory=list)

    def constant(self, values: Any) -> str:
        name = f"constant_{len(self.tensors)}"
        self.tensors.append(numpy_helper.from_array(np.asarray(values, np.float32), name))
        return name

    def zero(self) -> str:
        return self.constant(0.0)

    def clip(self, at: str, low: float, high: float) -> str:
        return self.add("Clip", at, self.constant(low), self.constant(high))

    def add(self, operation: str, *inputs: str, output: str | None = None) -> str:
        name = output or f"node_{len(self.nodes)}"
        self.nodes.append(helper.make_node(operation, list(inputs), [name]))
        return name

    def content(self, *, observations: int) -> bytes:
        ports = [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", size])
            for name, size in ((INPUT, observations), (OUTPUT, 4))
        ]
        graph = helper.make_graph(self.nodes, "pilot", ports[:1], ports[1:], self.tensors)
        opset = [helper.make_opsetid("", 13)]
        return helper.make_model(graph, opset_imports=opset, ir_version=8).SerializeToString()
