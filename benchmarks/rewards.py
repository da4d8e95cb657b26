"""What people's reward functions add to a training's time, against the built-in reward.

    python -m benchmarks.rewards [NAME …]

The default drone model learns with the built-in reward and with each of the functions in
`tests/rewards/published` (or those named), epoch by epoch in turns, in one process. Of each, the
fastest epoch counts, without compilation. Evaluations are left out: they do not compute rewards,
and take as long as the flights last that a reward taught.

One JSON line a function, then one with the worst and its ratio to the limit (below 1 is better).
Exit code 1 when the limit is missed. All of them take ten minutes.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import jax

from benchmarks.training import CONFIG
from racer.learning.algorithm import build
from racer.learning.training import Training, TrainingConfig
from tests.support import REPOSITORY

PUBLISHED = REPOSITORY / "tests" / "rewards" / "published"
LIMIT_SHARE = 0.10
TURNS = 16


def epochs(reward: str | None) -> Iterator[None]:
    """The default model's learning, an epoch at a time; the first one compiles."""
    config = TrainingConfig.from_mapping(CONFIG | {"reward": reward, "seed": 0})
    training = Training(config, output=Path())
    algorithm, task = build(config.algorithm, training.world, config.settings), training.task
    schedule = algorithm.schedule(1, config.epochs)
    parameters = algorithm.initial_parameters(config.seed)
    state = jax.jit(algorithm.initialise)(task, parameters, jax.random.key(config.seed))
    given = (jax.device_get(state), task, schedule)
    learn = jax.jit(algorithm.epoch, donate_argnums=0).lower(*given).compile()
    state, task, schedule = jax.device_put(given, learn.input_shardings[0])
    while True:
        state, metrics = learn(state, task, schedule)
        jax.block_until_ready(metrics)
        yield


def fastest(trainings: list[Iterator[None]]) -> list[float]:
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
    built_in = epochs(None)
    for name in names:
        source = (PUBLISHED / f"{name}.txt").read_text()
        ours, theirs = fastest([built_in, epochs(source)])
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
