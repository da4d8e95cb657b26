"""An exported policy as a JAX function, so that what is evaluated is the file that flies.

Only the few operations that racer.policy.loading accepts; weights are arguments of the function,
not constants of it, so that all policies of a shape share one compiled program.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import onnx
from onnx import numpy_helper

from racer.learning.evaluation import Act
from racer.policy.loading import INPUT, OPERATIONS, OUTPUT

Array: TypeAlias = jax.Array
Weights: TypeAlias = dict[str, Array]


def _clip(x: Array, low: Array | None = None, high: Array | None = None) -> Array:
    return jnp.clip(x, low, high)


def _gemm(a: Array, b: Array, c: Array | float = 0.0, **given: float) -> Array:
    """ONNX's Gemm: alpha · a' b' + beta · c."""
    a = a.T if given.get("transA") else a
    b = b.T if given.get("transB") else b
    return given.get("alpha", 1.0) * (a @ b) + given.get("beta", 1.0) * c


_FUNCTIONS: dict[str, Callable[..., Array]] = {
    "Add": jnp.add,
    "Clip": _clip,
    "Gemm": _gemm,
    "MatMul": jnp.matmul,
    "Mul": jnp.multiply,
    "Relu": jax.nn.relu,
    "Sigmoid": jax.nn.sigmoid,
    "Sub": jnp.subtract,
    "Tanh": jnp.tanh,
}
assert _FUNCTIONS.keys() == OPERATIONS  # noqa: S101 - whatever may be loaded can be evaluated


def network_of(content: bytes) -> tuple[Weights, Act]:
    """Weights and function of an ONNX file that racer.policy.loading.open_network accepted."""
    graph = onnx.load_model_from_string(content).graph
    weights = {t.name: jnp.asarray(numpy_helper.to_array(t)) for t in graph.initializer}
    nodes = [
        (_FUNCTIONS[node.op_type], tuple(node.input), node.output[0], _attributes(node))
        for node in graph.node
    ]

    def act(weights: Weights, observation: Array) -> Array:
        known = weights | {INPUT: observation}
        for function, inputs, output, attributes in nodes:
            given = (known[name] if name else None for name in inputs)  # "": left out
            known[output] = function(*given, **attributes)
        return known[OUTPUT]

    return weights, act


def _attributes(node: Any) -> dict[str, float]:
    return {given.name: onnx.helper.get_attribute_value(given) for given in node.attribute}
