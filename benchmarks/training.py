"""How the default drone model learns: three seeds, the first with an empty compile cache.

    python -m benchmarks.training

Runs the training program as the service does. Prints one line a seed: accuracy by epoch, seconds to
the first epoch, to more than half of the evaluation flights, and to the end. The worst seed counts.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.support import REPOSITORY

ACCURACY_LIMIT = 0.5
EPOCHS = 20
SEEDS = (0, 1, 2)


def train(directory: Path, *, seed: int) -> dict[str, Any]:
    """One training of the default model; compile results are kept in `directory`."""
    config = {
        "algorithm": "ppo",
        "epochs": EPOCHS,
        "seed": seed,
        "track": "toledo",
        "airframe": "x500",
        "altitude_m": 2.5,
        "velocity_limit_m_s": 8.0,
        "yaw_limit_deg_s": 90.0,
        "wind_speed_m_s": 0.0,
        "compile_cache": str(directory / "cache"),
    }
    path = directory / f"{seed}.json"
    path.write_text(json.dumps(config))
    output = directory / str(seed)
    output.mkdir()
    command = [sys.executable, "-m", "racer.learning.worker", "--config", str(path)]
    started = time.monotonic()
    epochs, seconds = [], []
    with subprocess.Popen(
        [*command, "--output", str(output)], cwd=REPOSITORY, stdout=subprocess.PIPE, text=True
    ) as worker:
        for line in worker.stdout or ():
            message = json.loads(line)
            if "epoch" in message:
                epochs.append(message)
                seconds.append(time.monotonic() - started)
    if worker.returncode != 0 or len(epochs) != EPOCHS:
        raise RuntimeError(f"Seed {seed} ended after {len(epochs)} epochs.")
    accuracy = [epoch["accuracy"] for epoch in epochs]
    learnt = [at for at, value in zip(seconds, accuracy, strict=True) if value > ACCURACY_LIMIT]
    return {
        "seed": seed,
        "accuracy": [round(value, 2) for value in accuracy],
        "first_epoch_s": round(seconds[0], 1),
        "learnt_s": round(learnt[0], 1) if learnt else None,
        "total_s": round(seconds[-1], 1),
    }


def main() -> int:
    """Measure and print; exit code 1 if the worst seed did not learn."""
    with tempfile.TemporaryDirectory() as directory:
        results = [train(Path(directory), seed=seed) for seed in SEEDS]
    for result in results:
        print(json.dumps(result))
    worst = min(result["accuracy"][-1] for result in results)
    print(json.dumps({"worst_final_accuracy": worst, "ratio_to_limit": worst / ACCURACY_LIMIT}))
    return int(worst <= ACCURACY_LIMIT)


if __name__ == "__main__":
    sys.exit(main())
