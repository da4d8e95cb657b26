"""What the service does with the files of runs."""

from __future__ import annotations

import hashlib
from pathlib import Path

from racer.training.run_files import (
    forget_results,
    keep_newest_checkpoint,
    last_log_lines,
    with_checkpoints,
)


def checkpoint(folder: Path, epoch: int, *, whole: bool = True) -> None:
    content = b"state %d" % epoch
    digest = hashlib.sha256(content).digest()
    folder.mkdir(exist_ok=True)
    path = folder / f"checkpoint-{epoch:06d}.bin"
    path.write_bytes(digest + content + (b"" if whole else b"!"))


def left(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_the_newest_checkpoint_stays(tmp_path: Path) -> None:
    checkpoint(tmp_path, 3)
    keep_newest_checkpoint(tmp_path)
    checkpoint(tmp_path, 12)
    keep_newest_checkpoint(tmp_path)
    assert left(tmp_path) == ["checkpoint-000012.bin"]


def test_a_damaged_one_does_not_cost_the_one_before(tmp_path: Path) -> None:
    checkpoint(tmp_path, 3)
    checkpoint(tmp_path, 12, whole=False)
    keep_newest_checkpoint(tmp_path)
    assert left(tmp_path) == ["checkpoint-000003.bin"]


def test_who_has_any(tmp_path: Path) -> None:
    assert with_checkpoints(tmp_path / "absent") == []
    checkpoint(tmp_path / "a", 1)
    checkpoint(tmp_path / "a", 2)
    (tmp_path / "b").mkdir()
    assert with_checkpoints(tmp_path) == ["a"]


def test_results_are_forgotten_but_not_what_a_run_begins_with(tmp_path: Path) -> None:
    stay = ["config.json", "initial.safetensors", "lock", "worker.log"]
    go = ["checkpoint-000001.bin", "policy.onnx", "policy.safetensors", "manifest.json"]
    for name in [*stay, *go, "flight.npz", "events.out.tfevents.1.host"]:
        (tmp_path / name).touch()
    forget_results(tmp_path)
    assert left(tmp_path) == stay


def test_the_end_of_a_log(tmp_path: Path) -> None:
    assert last_log_lines(tmp_path, 10) == ""
    log = tmp_path / "worker.log"
    log.write_bytes(b"one\ntwo\nthree \xff")
    assert last_log_lines(tmp_path, 2) == "two\nthree \ufffd\n"
    assert last_log_lines(tmp_path, 99) == "one\ntwo\nthree \ufffd\n"
    log.write_text("".join(f"line {n}\n" for n in range(100_000)))
    shown = last_log_lines(tmp_path, 10**6).splitlines()
    assert shown[-1] == "line 99999"
    assert shown[0].startswith("line ")  # whole lines only
    assert 10_000 < len(shown) < 40_000
