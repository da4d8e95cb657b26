"""What the commands print for people."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

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
        ("a=" + 100_000 * "[", ("a", 100_000 * "[")),
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


EPOCH = {
    **{"epoch": 1, "accuracy": 1.0, "gates_passed": 6.0, "crashed": 0.0, "reward": 0.1},
    **{"loss": 0.1, "env_steps": 1, "seconds": 1.0},
}


def worker_that(says: list[str]) -> str:
    """A program in the place of the training process: the real one takes half a minute."""
    lines = [f"print({text!r}, flush=True)" for text in says]
    learnt = "import pathlib, sys; out = pathlib.Path(sys.argv[-1])"
    return "\n".join([learnt, *lines, "(out / 'policy.safetensors').write_text('new')"])


def trained(folder: Path, program: str, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    """What `train` makes of a training process that runs `program`."""
    monkeypatch.setenv("DATA_DIR", str(folder / "data"))
    (folder / "worker.py").write_text(program)
    real = subprocess.Popen

    def replaced(command: list[str], **given: Any) -> subprocess.Popen[str]:
        return real([sys.executable, str(folder / "worker.py"), *command[3:]], **given)

    monkeypatch.setattr("racer.commands.train.subprocess.Popen", replaced)
    return train.run(options("--out", str(folder / "out"), *arguments))


def test_force_replaces_a_training_only_by_one_that_learnt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    earlier = {"policy.safetensors": "old", "manifest.json": "{}", "config.json": "{}"}
    for name, text in earlier.items():
        (out / name).write_text(text)
    failing = 'print(\'{"error": "no such course", "status": 422}\')'
    with pytest.raises(InvalidInputError, match="no such course"):
        trained(tmp_path, failing, monkeypatch, "--force")
    assert {path.name: path.read_text() for path in out.iterdir()} == earlier
    monkeypatch.undo()
    learning = worker_that([json.dumps(EPOCH), json.dumps({"done": True})])
    assert trained(tmp_path, learning, monkeypatch, "--force") == 0
    assert sorted(path.name for path in out.iterdir()) == [
        "config.json",
        "epochs.jsonl",
        "policy.safetensors",
    ]
    assert (out / "policy.safetensors").read_text() == "new"
    assert (tmp_path / "data").stat().st_mode & 0o777 == 0o700


def test_a_librarys_stray_line_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    said = ["a library says hello", "[1]", json.dumps(EPOCH), json.dumps({"done": True})]
    assert trained(tmp_path, worker_that(said), monkeypatch) == 0
    assert "hello" in capsys.readouterr().err
    assert len((tmp_path / "out" / "epochs.jsonl").read_text().splitlines()) == 1


def test_a_folder_that_cannot_be_written_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "out").touch()
    with pytest.raises(InvalidInputError, match="Cannot write"):
        trained(tmp_path, worker_that([]), monkeypatch)
