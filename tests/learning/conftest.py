"""One shape of a tiny training for every test, so that its programs are compiled once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import pytest

TINY: dict[str, Any] = {
    "algorithm": "ppo",
    "epochs": 2,
    "num_envs": 16,
    "rollout_steps": 8,
    "minibatches": 2,
    "iterations_per_epoch": 1,
    "hidden": 16,
    "evaluation_starts": 4,
}

# Compiling takes most of these tests' time; what is compiled runs for a moment only.
QUICK = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}


def quick_jit(function: Callable[..., Any]) -> Callable[..., Any]:
    """`jax.jit` that optimises little."""
    compiled: Callable[..., Any] = jax.jit(function, compiler_options=QUICK)
    return compiled


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Where this test run keeps compiled programs."""
    return str(tmp_path_factory.mktemp("compiled"))
