"""A job's program that computes nothing: it does what its configuration says.

    python -m tests.jobs.fake_job --config FILE --output DIR

Where a test must act in the middle it waits until the test makes the file `go` in DIR's parent.
"""

from __future__ import annotations

import argparse
import errno
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

from racer.errors import InvalidInputError
from racer.program import run_job, tell


def work(config: dict[str, Any], options: argparse.Namespace) -> dict[str, Any]:
    output: Path = options.output
    with (output / "starts").open("a") as starts:
        print(os.getpid(), file=starts)
    begun = len((output / "starts").read_text().splitlines())
    (output / "niceness").write_text(str(os.nice(0)))
    print("a library says hello", flush=True)
    tell({"progress": 0.25})
    match config.get("do"):
        case "hold":
            while not (output.parent / "go").exists():
                time.sleep(0.01)
        case "refuse":
            raise InvalidInputError("There is no track called 'moon'.")
        case "fall":
            raise ArithmeticError("a number went missing")
        case "fill-disk":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        case "die":
            if begun <= config["times"]:
                os.kill(os.getpid(), signal.SIGKILL)
        case "leave":
            os._exit(3)
    (output / "answer.txt").write_text("42")
    (output / "replay.bin").write_bytes(bytes(config.get("files_bytes", 0)))
    return {"answer": config.get("answer", 42), "begun": begun}


if __name__ == "__main__":
    sys.exit(run_job("fake", work, argparse.ArgumentParser()))
