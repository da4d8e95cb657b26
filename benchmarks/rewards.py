"""What people's reward functions add to a training's time, against the built-in reward.

    python -m benchmarks.rewards [NAME …]

Trains the default drone model once with the built-in reward and once with each of the functions in
`tests/rewards/published` (or those named), epoch by epoch in turns, in one process. Of each, the
fastest epoch counts: learning, evaluation and the files of an epoch, without compilation.

One JSON line a function, then one with the worst and its ratio to the limit (below 1 is better).
Exit code 1 when the limit is missed. All of them take ten minutes.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.training import CONFIG
from racer.learning.training import Training, TrainingConfig
from tests.support import REPOSITORY

PUBLISHED = REPOSITORY / "tests" / "rewards" / "published"
LIMIT_SHARE = 0.10
TURNS = 16


def epochs(reward: str | None, output: Path) -> Iterator[dict[str, Any]]:
    """A training of the default model that is not over soon; its first epoch compiles."""
    config = CONFIG | {"reward": reward, "seed": 0, "epochs": 10_000}
    return Training(TrainingConfig.from_mapping(config), output=output).epochs()


def fastest(trainings: list[Iterator[dict[str, Any]]]) -> list[float]:
    """Seconds of each training's fastest epoch, of TURNS made in turns."""
    for training in trainings:
        next(training)
    seconds: list[list[float]] = [[] for _ in trainings]
    for _ in range(TURNS):
        for training, taken in zip(trainings, seconds, strict=True):
            began = time.perf_counter()
            next(training)
            taken.append(time.perf_counter() - began)
    return [min(taken) for taken in seconds]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help="functions; all when none is named")
    names = parser.parse_args().names or sorted(file.stem for file in PUBLISHED.glob("*.txt"))
    shares: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        built_in = epochs(None, Path(folder) / "built_in")
        for name in names:
            source = (PUBLISHED / f"{name}.txt").read_text()
            ours, theirs = fastest([built_in, epochs(source, Path(folder) / name)])
            shares[name] = theirs / ours - 1.0
            line = {
                "function": name,
                "epoch_s": round(theirs, 4),
                "built_in_epoch_s": round(ours, 4),
            }
            print(json.dumps(line | {"added": round(shares[name], 3)}), flush=True)
    worst = max(shares, key=shares.__getitem__)
    middle = sorted(shares.values())[len(shares) // 2]
    ratio = shares[worst] / LIMIT_SHARE
    print(
        json.dumps(
            {
                "worst": worst,
                "added": round(shares[worst], 3),
                "median": round(middle, 3),
                "limit": LIMIT_SHARE,
                "ratio": round(ratio, 2),
            }
        )
    )
    return int(ratio > 1.0)


if __name__ == "__main__":
    sys.exit(main())
