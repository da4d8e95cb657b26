"""One shape of a tiny training for every test, so that its programs are compiled once."""

from __future__ import annotations

from typing import Any

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


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Where this test run keeps compiled programs."""
    return str(tmp_path_factory.mktemp("compiled"))
