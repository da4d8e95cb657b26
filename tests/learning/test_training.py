"""Whole trainings: tiny ones repeat and write their files, a real one learns to race."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file

from racer.errors import InvalidInputError, RacerError
from racer.learning import training
from racer.learning.report import Report, Times
from racer.learning.settings import AlgorithmSettings, PpoSettings
from racer.learning.training import Training, TrainingConfig
from racer.policy.manifest import read_manifest
from racer.sim import track
from racer.sim.track import load_track
from tests.learning.conftest import TINY


def train(output: Path, **changes: Any) -> list[dict[str, Any]]:
    output.mkdir(exist_ok=True)
    config = TrainingConfig.from_mapping(TINY | {"wind_speed_m_s": 3.0} | changes)
    return list(Training(config, output=output).epochs())


def test_a_seed_repeats_bit_for_bit_and_files_are_whole(tmp_path: Path, cache: str) -> None:
    first = train(tmp_path / "a", compile_cache=cache)
    again = train(tmp_path / "b", compile_cache=cache)
    other = train(tmp_path / "c", compile_cache=cache, seed=1)
    for report in first + again + other:
        assert report.pop("seconds") > 0.0
    assert first == again
    assert first[-1]["loss"] != other[-1]["loss"]
    assert [report["epoch"] for report in first] == [1, 2]
    assert first[-1]["env_steps"] == 2 * 16 * 8
    assert 0.0 <= first[-1]["accuracy"] <= 1.0
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == [
        "flight.npz",
        "manifest.json",
        "policy.onnx",
        "policy.safetensors",
    ]
    weights, repeated = (load_file(tmp_path / d / "policy.safetensors") for d in "ab")
    assert weights["policy_1_weight"].shape == (23, 16)
    assert weights["observation_mean"].shape == (23,)
    assert all(np.array_equal(weights[name], repeated[name]) for name in weights)
    with safe_open(tmp_path / "a" / "policy.safetensors", framework="numpy") as file:
        told = file.metadata()
    assert json.loads(told["config"])["wind_speed_m_s"] == 3.0
    assert (told["epoch"], told["output"]) == ("2", "linear")  # of equal policies the last


def test_the_policy_that_flew_best_is_kept(
    tmp_path: Path, cache: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whichever it is: the second of three is told to have flown fastest here."""
    told = iter([(0.5, 4.0), (1.0, 3.0), (1.0, 3.1)])
    real = training.summarise

    def flattering(*flights: Any, **course: Any) -> Report:
        completion, seconds = next(told)
        lap = Times(best=seconds, median=seconds, p95=seconds, mean=seconds, count=1)
        return dataclasses.replace(real(*flights, **course), completion=completion, lap_time=lap)

    monkeypatch.setattr(training, "summarise", flattering)
    weights = []
    config = TrainingConfig.from_mapping(TINY | {"epochs": 3, "compile_cache": cache})
    for _ in Training(config, output=tmp_path).epochs():
        weights.append(load_file(tmp_path / "policy.safetensors")["policy_1_weight"])
        with np.load(tmp_path / "flight.npz") as flight:
            assert flight["epoch"] == len(weights)
    assert not np.array_equal(weights[0], weights[1])
    assert np.array_equal(weights[1], weights[2])
    kept = read_manifest(tmp_path).training
    assert (kept.epoch, kept.evaluation["accuracy"]) == (2, 1.0)


def test_a_course_that_is_edited_meanwhile_stays_the_one_that_was_trained_on(
    tmp_path: Path, cache: str
) -> None:
    shipped = Path(track.__file__).parent / "tracks" / "toledo.toml"
    course = tmp_path / "course.toml"
    course.write_text(shipped.read_text())
    output = tmp_path / "not" / "there yet"
    config = TrainingConfig.from_mapping(TINY | {"track": str(course), "compile_cache": cache})
    for _ in Training(config, output=output).epochs():
        course.write_text("edited")
    assert len(read_manifest(output).load_track().gates) == len(load_track("toledo").gates)


def test_the_recorded_flight_starts_at_the_start_and_is_smooth(tmp_path: Path, cache: str) -> None:
    train(tmp_path, compile_cache=cache)
    with np.load(tmp_path / "flight.npz") as flight:
        t, position, quaternion = flight["t"], flight["position"], flight["quaternion"]
        assert flight["epoch"] == 2
        assert flight["gates_passed"].shape == t.shape
    assert position.shape == (len(t), 3)
    assert np.diff(t) == pytest.approx(0.04)
    assert np.linalg.norm(position[0] - (0.0, 0.0, 2.5)) < 2.5
    assert np.linalg.norm(np.diff(position, axis=0), axis=1).max() < 1.0
    assert np.linalg.norm(quaternion, axis=1) == pytest.approx(np.ones(len(t)), abs=1e-4)


def test_a_training_that_diverges_says_so(tmp_path: Path, cache: str) -> None:
    with pytest.raises(RacerError, match="diverged in epoch"):
        train(tmp_path, compile_cache=cache, learning_rate=1e6)


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"algorithm": "magic"}, "Unknown algorithm 'magic'.*'ppo'"),
        ({"algorithm": 3}, "'algorithm'"),
        ({"epochs": 0}, "'epochs'"),
        ({"seed": -1}, "'seed'"),
        ({"altitude_m": 5000.0}, "'altitude_m'.* 1.5 to 100"),
        ({"velocity_limit_m_s": "fast"}, "'velocity_limit_m_s'"),
        ({"wind_speed_m_s": float("nan")}, "'wind_speed_m_s'"),
        ({"num_envs": 0}, "'num_envs'"),
        ({"learning_speed": 3}, "'learning_speed'"),
        ({"track": "nowhere"}, "no track 'nowhere'"),
        ({"airframe": "zeppelin"}, "no airframe 'zeppelin'"),
        ({"compile_cache": 5}, "'compile_cache'"),
        ({"action_space": "telepathy"}, "'action_space'"),
        ({"control_hz": 1000}, "'control_hz'.* 10 to 200"),
        ({"substeps": 0.5}, "'substeps'"),
        ({"laps": 21}, "'laps'.* 1 to 20"),
        ({"randomise": 1}, "'randomise'"),
        ({"reward": ["x"]}, "'reward'"),
        ({"reward": "import os"}, "Reward function"),
        ({"evaluation_starts": 0}, "'evaluation_starts'"),
        ({"recipe": "../x"}, "no recipe '../x'"),
    ],
)
def test_a_wrong_configuration_is_refused_in_words(
    tmp_path: Path, wrong: dict[str, Any], named: str
) -> None:
    with pytest.raises(RacerError, match=named):
        Training(TrainingConfig.from_mapping(TINY | wrong), output=tmp_path)


@pytest.mark.parametrize("velocity", [0.5, 20.0])
@pytest.mark.parametrize("altitude", [1.5, 100.0])
def test_the_ends_of_every_range_can_be_trained(
    tmp_path: Path, cache: str, velocity: float, altitude: float
) -> None:
    reports = train(
        tmp_path,
        compile_cache=cache,
        epochs=1,
        velocity_limit_m_s=velocity,
        altitude_m=altitude,
        yaw_limit_deg_s=5.0,
        wind_speed_m_s=15.0,
    )
    assert np.isfinite(reports[-1]["loss"])


def test_a_reward_of_ones_own_is_trained_on(tmp_path: Path, cache: str) -> None:
    source = "def reward_function(params):\n    return 1e6 + 0.0 * params['speed']\n"
    reports = train(tmp_path, compile_cache=cache, reward=source, randomise=True)
    assert [report["reward"] for report in reports] == pytest.approx([1e6, 1e6])
    assert reports[-1]["value_loss"] < 2.0  # whatever the reward's size
    assert reports[-1]["reward_faults"] == 0.0


def test_hyperparameters_may_stand_beside() -> None:
    config = TrainingConfig.from_mapping({"num_envs": 128})
    assert config.settings == PpoSettings(num_envs=128)
    assert config.epochs == 20
    with pytest.raises(InvalidInputError, match="'minibatches'"):
        TrainingConfig.from_mapping({"num_envs": 3, "rollout_steps": 5})
    with pytest.raises(InvalidInputError, match="not those of 'ppo'"):
        TrainingConfig(settings=AlgorithmSettings())


def test_a_configuration_survives_its_way_through_json() -> None:
    config = TrainingConfig.from_mapping(TINY | {"laps": 2, "action_space": "ctbr"})
    assert TrainingConfig.from_mapping(json.loads(json.dumps(config.to_mapping()))) == config


@pytest.mark.slow
def test_the_default_model_learns_to_race(tmp_path: Path) -> None:
    reports = list(Training(TrainingConfig(), output=tmp_path).epochs())
    assert reports[0]["accuracy"] < 0.1
    assert max(report["accuracy"] for report in reports) > 0.9
    assert reports[-1]["accuracy"] > 0.5
    assert 4.0 < reports[-1]["mean_lap_time_s"] < 20.0
