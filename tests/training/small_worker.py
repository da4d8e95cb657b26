"""The real training program on a problem small enough for a test: the same protocol and files."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

SMALL = {
    "num_envs": 16,
    "rollout_steps": 8,
    "minibatches": 4,
    "iterations_per_epoch": 1,
    "evaluation_starts": 4,
}

if __name__ == "__main__":
    config = Path(sys.argv[sys.argv.index("--config") + 1])
    config.write_text(json.dumps(json.loads(config.read_text()) | SMALL))
    program = [sys.executable, "-m", "racer.learning.worker", *sys.argv[1:]]
    os.execv(program[0], program)  # noqa: S606 - the same process, as the service started it
