"""Every shipped recipe is a training that could begin."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.racing_goals import GOALS
from racer.learning.config import read_recipe, recipes
from racer.learning.training import Training, TrainingConfig


@pytest.mark.parametrize("name", recipes())
def test_a_recipe_describes_a_training(name: str, tmp_path: Path) -> None:
    config = TrainingConfig.from_mapping({"recipe": name, "seed": 7})
    assert config.seed == 7
    for key, value in read_recipe(name).items():
        assert config.to_mapping()[key] == value
    Training(config, output=tmp_path)  # checks course, airframe and limits


def test_the_benchmark_names_a_recipe_that_exists() -> None:
    assert GOALS["track_a"].recipe in recipes()
