"""The worker's protocol: one JSON line an epoch, a last word, and a quick end when told."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.learning.conftest import TINY
from tests.support import wait_for


def start(folder: Path, config: str, **environment: str) -> subprocess.Popen[str]:
    """On one core: one device, as this process has, so that both find each other's programs."""
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(config)
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cores)})
    try:
        return subprocess.Popen(
            [
                *(sys.executable, "-m", "racer.learning.worker"),
                *("--config", str(folder / "config.json"), "--output", str(folder / "out")),
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | environment,
        )
    finally:
        os.sched_setaffinity(0, cores)


def run(folder: Path, config: str) -> tuple[int, list[dict[str, Any]], str]:
    process = start(folder, config)
    out, err = process.communicate(timeout=120)
    return process.returncode, [json.loads(line) for line in out.splitlines()], err


def test_an_epoch_a_line_then_done_and_nothing_is_compiled_twice(
    tmp_path: Path, cache: str
) -> None:
    given = TINY | {"compile_cache": cache}
    code, lines, err = run(tmp_path / "first", json.dumps(given))
    assert code == 0, err
    resolved = lines.pop(0)["resolved"]
    assert (resolved["hidden"], resolved["discount"]) == (16, 0.98)
    assert [line.get("epoch") for line in lines] == [1, 2, None]
    [curves] = (tmp_path / "first/out").glob("events.out.tfevents.*")
    assert b"accuracy" in curves.read_bytes()
    assert lines[-1] == {"done": True}
    for key in ("loss", "accuracy", "gates_passed", "env_steps", "seconds", "mean_lap_time_s"):
        assert key in lines[0]
    assert (tmp_path / "first/out/policy.safetensors").is_file()
    assert (tmp_path / "first/out/flight.npz").is_file()
    # Other numbers, same shape: nothing is compiled again.
    changed = given | {"seed": 5, "velocity_limit_m_s": 12.0, "learning_rate": 1e-3, "clip": 0.1}
    compiled = {path: path.stat().st_ino for path in Path(cache).iterdir()}
    code, again, err = run(tmp_path / "second", json.dumps(changed))
    assert code == 0, err
    assert again[-1] == {"done": True}
    assert len(compiled) >= 3
    assert {path: path.stat().st_ino for path in Path(cache).iterdir()} == compiled


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (json.dumps(TINY | {"algorithm": "magic"}), "Choose one of"),
        (json.dumps(TINY | {"velocity_limit_m_s": -3}), "'velocity_limit_m_s'"),
        ("{", "not JSON"),
        ("[]", "one JSON object"),
    ],
)
def test_a_failure_is_one_line_in_plain_words(tmp_path: Path, config: str, words: str) -> None:
    code, lines, _ = run(tmp_path, config)
    assert code == 1
    assert len(lines) == 1
    assert words in lines[0]["error"]


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    finished = subprocess.run(
        [
            *(sys.executable, "-m", "racer.learning.worker"),
            *("--config", str(tmp_path / "none.json"), "--output", str(tmp_path)),
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert finished.returncode == 1
    assert "none.json" in json.loads(finished.stdout)["error"]


def test_sigterm_ends_it_within_a_second_whatever_it_does(tmp_path: Path) -> None:
    process = start(tmp_path, json.dumps(TINY | {"epochs": 10_000}))
    try:
        # Inside the imports, a compilation or an epoch: the files tell nothing, the time does.
        wait_for("the output folder", (tmp_path / "out").is_dir, timeout_s=60)
        process.send_signal(signal.SIGTERM)
        told = time.monotonic()
        process.communicate(timeout=10)
        assert time.monotonic() - told < 1.0
        assert process.returncode == 128 + signal.SIGTERM
    finally:
        process.kill()
        process.communicate()
