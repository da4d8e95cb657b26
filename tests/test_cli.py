"""`python -m racer`: quick to answer, errors in one line, exit codes that scripts can rely on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from racer.cli import COMMANDS, main
from tests.policy.rig import write_random_policy
from tests.support import REPOSITORY, wait_for

TINY = {
    "num_envs": 16,
    "rollout_steps": 8,
    "minibatches": 2,
    "iterations_per_epoch": 1,
    "hidden": 16,
    "evaluation_starts": 4,
    "epochs": 10_000,
}


# Compiling takes most of the time; what is compiled runs for a moment only.
QUICK = "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"


@pytest.fixture(autouse=True)
def _apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is written into the installation's data."""
    monkeypatch.setenv("DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("XLA_FLAGS", QUICK)


def racer(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "racer", *map(str, arguments)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
    )


def test_help_names_every_command_and_loads_nothing_heavy() -> None:
    code = (
        "import sys\nfrom racer.cli import make_parser\nprint(make_parser().format_help())\n"
        "print(sorted({'jax', 'numpy', 'onnx', 'mavsdk', 'pydantic'} & set(sys.modules)))"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    *text, loaded = answer.stdout.strip().splitlines()
    assert loaded == "[]"
    assert all(any(line.split()[:1] == [name] for line in text) for name in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_its_own_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([command, "--help"])
    assert ended.value.code == 0
    assert f"python -m racer {command}" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["dance"],
        ["train", "--epochs", "many"],
        ["train", "--set", "learning_rate"],
        ["evaluate"],
        ["reference", "--track", "toledo", "--laps", "2", "--flying"],
        ["fly", "--policy", "x", "--flights", "0"],
    ],
)
def test_a_wrong_option_ends_with_two(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["evaluate", "--policy", "{tmp}/none"], "no manifest.json"),
        (["fly", "--policy", "{tmp}/none"], "no manifest.json"),
        (["export", "--run", "{tmp}"], "no epoch was finished"),
        (["train", "--config", "{tmp}/none.json"], "There is no file"),
        (["train", "--reward", "{tmp}/none.py"], "There is no file"),
        (["train", "--config", "{tmp}/list.json"], "one table"),
        (["train", "--config", "{tmp}/broken.toml"], "not TOML"),
        (["train", "--out", "{tmp}/full"], "--force"),
        (["train", "--track", "nowhere"], "no track 'nowhere'"),
        (["reference", "--track", "nowhere"], "no track 'nowhere'"),
        (["reference", "--track", "toledo", "--laps", "0"], "from 1 to 20"),
        (["train", "--set", "learning_speed=3"], "'learning_speed'"),
    ],
)
def test_wrong_input_is_one_line_of_advice_and_leaves_nothing(
    tmp_path: Path, arguments: list[str], words: str
) -> None:
    (tmp_path / "list.json").write_text("[]")
    (tmp_path / "broken.toml").write_text("= 3")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "policy.safetensors").touch()
    answer = racer(*(part.format(tmp=tmp_path) for part in arguments))
    assert answer.returncode == 2, answer.stderr
    *above, line = answer.stderr.splitlines()
    assert not above
    assert line.startswith("Error: ")
    assert words in line
    runs = tmp_path / "data" / "runs"
    assert not runs.exists() or not list(runs.iterdir())


@pytest.fixture(scope="module")
def interrupted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int, str, str]:
    """A training without end that Ctrl-C ended: its folder, exit code and output."""
    folder = tmp_path_factory.mktemp("trained")
    (folder / "config.json").write_text(json.dumps(TINY))
    out = folder / "run"
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "racer", "train", "--config", str(folder / "config.json")),
            *("--set", "wind_speed_m_s=1.5", "--laps", "2", "--out", str(out)),
        ],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"DATA_DIR": str(folder / "data"), "XLA_FLAGS": QUICK},
    )
    try:
        wait_for("an epoch", (out / "policy.safetensors").is_file, timeout_s=150)
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=20)
    finally:
        process.kill()
        process.communicate()
    return out, process.returncode, output, errors


def test_ctrl_c_ends_a_training_and_keeps_what_was_learnt(
    interrupted: tuple[Path, int, str, str],
) -> None:
    out, code, output, errors = interrupted
    assert code == 130, errors
    assert "Traceback" not in errors
    assert "holds the policy of epoch" in errors
    assert str(out) in output
    assert (out / "policy.onnx").is_file()
    config = json.loads((out / "manifest.json").read_text())["training"]["config"]
    assert (config["laps"], config["wind_speed_m_s"], config["num_envs"]) == (2, 1.5, 16)


def test_what_was_trained_can_be_evaluated_and_exported(
    interrupted: tuple[Path, int, str, str], tmp_path: Path
) -> None:
    out = interrupted[0]
    answer = racer(
        *("evaluate", "--policy", out, "--starts", "4", "--seed", "7", "--laps", "1", "--wind"),
        *("0", "--vary", "full", "--json", "--trajectory", tmp_path / "flight.npz"),
    )
    assert answer.returncode == 0, answer.stderr
    report = json.loads(answer.stdout)
    assert (report["starts"], report["laps"], report["seed"]) == (4, 1, 7)
    assert report["completion"] + report["crashed"] + report["timed_out"] == pytest.approx(1.0)
    with np.load(tmp_path / "flight.npz") as flight:
        assert len(flight["t"]) == len(flight["position"]) > 0
    (out / "policy.onnx").unlink()
    answer = racer("export", "--run", out)
    assert answer.returncode == 0, answer.stderr
    assert (out / "policy.onnx").is_file()
    assert "velocity at 25 Hz" in answer.stdout


def test_an_evaluation_refuses_numbers_out_of_range(tmp_path: Path) -> None:
    write_random_policy(tmp_path)
    answer = racer("evaluate", "--policy", tmp_path, "--starts", "0")
    assert (answer.returncode, answer.stderr) == (
        2,
        "Error: 'starts' must be from 1 to 10000, not 0.\n",
    )
