"""A program that trains nothing: it speaks the worker's protocol, and misbehaves on request.

    python -m tests.training.fake_worker --behaviour crash --config FILE --output DIR

The curve depends on the seed alone, so a second attempt repeats it. Where a test must act in the
middle, the program waits after `--hold-after` epochs until the test makes the file `go` in DIR's
parent: no test guesses a duration.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

from racer.process import die_with_parent
from racer.program import tell, tell_end


def misbehave(behaviour: str) -> None:
    """What happens in the place of the third epoch."""
    match behaviour:
        case "crash":
            raise ArithmeticError("the gradient went missing")
        case "error":
            tell({"error": "The reward function cannot be compiled: line 3."})
            sys.exit(1)
        case "fault":
            tell({"error": "It stumbled."})
            print(1 / 0)
        case "disk-full":
            told = "The training cannot write its files: No space left on device."
            tell({"error": told, "disk_full": True})
            sys.exit(1)
        case "silent-end":
            sys.exit(0)
        case "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        case "nan":
            tell({"epoch": 3, "loss": float("nan"), "accuracy": 0.1})
        case "skip":
            tell({"epoch": 4, "loss": 0.5, "accuracy": 0.1})
        case "no-loss":
            tell({"epoch": 3, "accuracy": 0.1})
        case "long-line":
            print("x" * (2 << 20), flush=True)
        case "mute":  # hands its end of the pipe back and lives on
            os.close(1)
            time.sleep(60)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--behaviour", default="good")
    parser.add_argument("--hold-after", type=int, default=0)
    parser.add_argument("--hold-again", action="store_true", help="at once when it resumes")
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--resume-after", type=int, default=0)
    given = parser.parse_args()
    die_with_parent()
    if given.behaviour == "ends-as-told":  # with the code that the real one ends with
        signal.signal(signal.SIGTERM, lambda *_: os._exit(128 + signal.SIGTERM))
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    if given.behaviour == "stubborn":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    config = json.loads(given.config.read_text())
    (given.output / "pid").write_text(str(os.getpid()))
    (given.output / "niceness").write_text(str(os.nice(0)))
    tell({"resolved": config | {"discount": 0.98}, "revision": "abc"})
    while given.hold_again and given.resume_after and not (given.output.parent / "go").exists():
        time.sleep(0.01)
    curve = random.Random(config["seed"])
    for epoch in range(1, config["epochs"] + 1):
        if given.behaviour == "chatty":
            print(f"a library says hello before epoch {epoch}", flush=True)
            print("[1, 2]", flush=True)
        if epoch == 3:
            misbehave(given.behaviour)
        report = {"epoch": epoch, "loss": curve.random(), "accuracy": curve.random()}
        if epoch <= given.resume_after:
            continue
        tell(report | {"lap_s": None, "resumed_after": given.resume_after})
        (given.output / "flight.npz").write_text(f"flight of epoch {epoch}")
        if epoch == given.hold_after:
            if given.behaviour == "family":
                child = subprocess.Popen(["sleep", "60"])
                (given.output / "child-pid").write_text(str(child.pid))
            (given.output / "holding").touch()
            while not (given.output.parent / "go").exists():
                time.sleep(0.01)
    tell({"done": True})


if __name__ == "__main__":
    try:
        main()
    except OSError as error:
        tell_end(error, "training")
        raise
