"""What the commands print for people."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest

from racer.commands import fly, train
from racer.commands.options import assignment, read_config
from racer.errors import InvalidInputError
from racer.flight.report import RaceReport, Recording


def options(*arguments: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    train.add_arguments(parser)
    return parser.parse_args(arguments)


def test_options_win_over_the_file_and_set_over_both(tmp_path: Path) -> None:
    path = tmp_path / "training.toml"
    path.write_text('track = "a"\nepochs = 3\nnum_envs = 64\nseed = 1\n')
    (tmp_path / "reward.py").write_text("def reward_function(params):\n    return 1.0\n")
    given = options(
        *("--config", str(path), "--recipe", "track_a", "--epochs", "5", "--seed", "2"),
        *("--set", "seed=3", "--set", "action_space=ctbr", "--set", "laps=null"),
        *("--reward", str(tmp_path / "reward.py")),
    )
    assert train.configuration(given) == {
        "recipe": "track_a",
        "track": "a",
        "epochs": 5,
        "num_envs": 64,
        "seed": 3,
        "action_space": "ctbr",
        "laps": None,
        "reward": "def reward_function(params):\n    return 1.0\n",
    }


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a=1", ("a", 1)),
        ("a=1e-3", ("a", 1e-3)),
        ("a=true", ("a", True)),
        ("a=ctbr", ("a", "ctbr")),
        ("a=x=y", ("a", "x=y")),
        ("a=", ("a", "")),
    ],
)
def test_a_value_is_json_or_else_text(text: str, expected: tuple[str, object]) -> None:
    assert assignment(text) == expected


def test_a_configuration_that_is_no_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="Cannot read"):
        read_config(tmp_path)
    (tmp_path / "large.json").write_text(" " * (1 << 20) + "{}")
    with pytest.raises(InvalidInputError, match="larger than"):
        read_config(tmp_path / "large.json")


def test_an_epoch_fits_under_its_columns() -> None:
    report = {
        "epoch": 12,
        "accuracy": 0.5,
        "best_lap_time_s": 8.123,
        "mean_lap_time_s": None,
        "gates_passed": 5.2,
        "crashed": 0.25,
        "reward": 0.01,
        "loss": -0.002,
        "env_steps": 2_359_296,
        "seconds": 12.3,
    }
    assert train.row(report).split() == [
        *("12", "0.500", "8.12", "s", "–", "5.2", "0.250", "0.0100", "-0.0020", "2.4e6", "12.3")
    ]


def race(*, finished: bool) -> RaceReport:
    return RaceReport(
        course="toledo",
        finished=finished,
        why="" if finished else "it left the course's bounds",
        passages=(),
        all_passages=6,
        time_s=9.5 if finished else 3.0,
        splits_s=(),
        laps_s=(),
        recording=Recording(),
    )


def test_one_race_that_did_not_finish_is_a_failure(capsys: pytest.CaptureFixture[str]) -> None:
    assert fly.tell([race(finished=True)], as_json=False) == 0
    assert fly.tell([race(finished=True), race(finished=False)], as_json=True) == 1
    lines = capsys.readouterr().out.splitlines()
    assert "toledo" in lines[0]
    told = [json.loads(line) for line in lines[1:]]
    assert [one["finished"] for one in told] == [True, False]
    assert told[1]["why"] == "it left the course's bounds"
