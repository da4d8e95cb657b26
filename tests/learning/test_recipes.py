"""Every shipped recipe is a training that could begin."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.racing_goals import GOALS
from racer.learning.config import read_recipe, recipes
from racer.learning.training import Training, TrainingConfig
from racer.sim.task import course_ranges
from racer.sim.track import load_track


@pytest.mark.parametrize("name", recipes())
def test_a_recipe_describes_a_training(name: str, tmp_path: Path) -> None:
    config = TrainingConfig.from_mapping({"recipe": name, "seed": 7})
    assert config.seed == 7
    for key, value in read_recipe(name).items():
        assert config.to_mapping()[key] == value
    Training(config, output=tmp_path)  # checks course, airframe and limits


def test_the_benchmark_names_a_recipe_that_exists() -> None:
    assert GOALS["track_a"].recipe in recipes()


def test_track_a_looks_ahead_and_flies_one_vehicle(tmp_path: Path) -> None:
    task = Training(TrainingConfig.from_mapping({"recipe": "track_a"}), output=tmp_path).task
    assert np.rad2deg(2.0 * task.start_spread.yaw) == pytest.approx(11.5)
    assert task.start_spread.turned == 0.0
    assert task.start_spread.horizontal == pytest.approx(0.75)
    assert task.ranges is None


def test_a_training_may_keep_to_what_the_course_varies(tmp_path: Path) -> None:
    config = TrainingConfig(
        track="lsy_level2", airframe="cf21b", randomise=True, vary_vehicle=False
    )
    task = Training(config, output=tmp_path).task
    own = course_ranges(load_track("lsy_level2"))
    assert task.ranges is not None
    for given, expected in zip(task.ranges, own, strict=True):
        assert np.array_equal(given, expected)
    assert task.ranges.thrust == task.ranges.delay == 0.0
    assert np.all(task.ranges.gate_position > 0.0)
    assert task.sight_range == pytest.approx(0.7)
