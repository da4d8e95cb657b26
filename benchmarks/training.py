"""How soon the default drone model races: from the request to 95 % of 1,000 fresh starts.

    python -m benchmarks.training [--plot FILE]

Trains the default model (course `toledo`, airframe `x500`, PPO) three times with an empty compile
cache and three times with a filled one, with the training program, as the service does. The clock
runs from the start of the process to the first epoch whose policy completes 95 % of 1,000 starts.
Every epoch's policy is kept while training goes on and judged afterwards, off the clock, on starts
and winds from a stream that no training draws from. The worst of the seeds counts.

One JSON line a training, then one a limit with its ratio (below 1 is better). Exit code 1 when a
limit is missed.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil

from tests.support import REPOSITORY

SEEDS = (0, 1, 2)
EPOCHS = 20
STARTS = 1000
COMPLETION = 0.95
LIMITS = {"cold_s": 20.0, "warm_s": 10.0, "warm_first_epoch_s": 2.0, "memory_gb": 2.0}
CONFIG: dict[str, Any] = {  # what the service asks for on behalf of a new drone model
    "algorithm": "ppo",
    "epochs": EPOCHS,
    "track": "toledo",
    "airframe": "x500",
    "altitude_m": 2.5,
    "velocity_limit_m_s": 8.0,
    "yaw_limit_deg_s": 90.0,
    "wind_speed_m_s": 0.0,
}


def train(folder: Path, *, seed: int, cache: Path) -> dict[str, Any]:
    """One training in a process of its own; policies of all epochs are kept in `folder`."""
    output = folder / "run"
    output.mkdir(parents=True)
    path = folder / "config.json"
    path.write_text(json.dumps(CONFIG | {"seed": seed, "compile_cache": str(cache)}))
    command = [sys.executable, "-m", "racer.learning.worker", "--config", str(path)]
    seconds, curve, memory = [], [], 0
    started = time.monotonic()
    with subprocess.Popen(
        [*command, "--output", str(output)], cwd=REPOSITORY, stdout=subprocess.PIPE, text=True
    ) as worker:
        process = psutil.Process(worker.pid)
        for line in worker.stdout or ():
            message = json.loads(line)
            if "epoch" not in message:
                continue
            seconds.append(time.monotonic() - started)
            curve.append(message["accuracy"])
            shutil.copy(output / "policy.safetensors", folder / f"{message['epoch']}.safetensors")
            memory = max(memory, _peak_memory(process))
    if worker.returncode != 0 or len(seconds) != EPOCHS:
        raise RuntimeError(f"Seed {seed} ended after {len(seconds)} epochs.")
    return {"seed": seed, "seconds": seconds, "curve": curve, "memory_gb": memory / 1e9}


def _peak_memory(process: psutil.Process) -> int:
    """Bytes: peak of the resident sets of a process and all that it started, added up."""
    return sum(
        1024 * int(line.split()[1])
        for one in (process, *process.children(recursive=True))
        for line in Path(f"/proc/{one.pid}/status").read_text().splitlines()
        if line.startswith("VmHWM:")
    )


class Judge:
    """Flies saved policies from fresh starts; compiled once for all of them."""

    def __init__(self) -> None:
        import jax  # noqa: PLC0415 - not while the clock runs: this process shares the cores

        from racer.learning.evaluation import make_evaluate  # noqa: PLC0415
        from racer.learning.training import Training, TrainingConfig  # noqa: PLC0415

        training = Training(TrainingConfig.from_mapping(CONFIG), output=Path())
        self._task = training.task
        self._key = jax.random.key
        self._evaluate = jax.jit(
            make_evaluate(training.world.airframe, training.world.simulation, starts=STARTS)
        )

    def completion(self, policy: Path, *, seed: int) -> float:
        """Share of STARTS that fly the whole course; `seed` is of a stream for evaluations only."""
        import jax  # noqa: PLC0415
        import jax.numpy as jnp  # noqa: PLC0415
        from safetensors import safe_open  # noqa: PLC0415
        from safetensors.numpy import load_file  # noqa: PLC0415

        from racer.learning.evaluation import fresh_key  # noqa: PLC0415
        from racer.learning.networks import Normaliser  # noqa: PLC0415

        with safe_open(policy, framework="numpy") as file:
            if int(file.metadata()["epoch"]) > int(policy.stem):  # earlier ones may be kept
                raise RuntimeError(f"{policy.name} holds the policy of a later epoch.")
        tensors = load_file(policy)
        parts = (jnp.asarray(tensors.pop(f"observation_{k}")) for k in Normaliser._fields)
        result = self._evaluate(tensors, Normaliser(*parts), self._task, fresh_key(seed))
        return float(jax.device_get(result.finished).mean())


def judge(judge: Judge, folder: Path, training: dict[str, Any]) -> dict[str, Any]:
    """When the training was good enough, and what its last policy is worth."""
    found: list[float] = []
    for epoch in range(1, EPOCHS + 1):
        policy = folder / f"{epoch}.safetensors"
        found.append(judge.completion(policy, seed=1_000_000 + training["seed"]))
    good = [i for i, completion in enumerate(found) if completion >= COMPLETION]
    return {
        "seed": training["seed"],
        "first_epoch_s": round(training["seconds"][0], 2),
        "good_epoch": good[0] + 1 if good else None,
        "good_s": round(training["seconds"][good[0]], 2) if good else None,
        "end_s": round(training["seconds"][-1], 2),
        "end_completion": found[-1],
        "memory_gb": round(training["memory_gb"], 2),
        "completion": [round(completion, 3) for completion in found],
        "seconds": [round(second, 2) for second in training["seconds"]],
    }


def plot(results: list[dict[str, Any]], path: Path) -> None:
    """Completion over wall time, a line a training."""
    import matplotlib as mpl  # noqa: PLC0415 - only for the picture

    mpl.use("Agg")
    from matplotlib import pyplot as plt  # noqa: PLC0415

    figure, axes = plt.subplots(figsize=(6.4, 3.6), dpi=90)
    for result in results:
        cold = result["cache"] == "cold"
        axes.plot(
            result["seconds"],
            [100.0 * completion for completion in result["completion"]],
            color="tab:gray" if cold else "tab:blue",
            marker=".",
            label=f"{result['cache']} cache" if result["seed"] == SEEDS[0] else None,
        )
    axes.axhline(100.0 * COMPLETION, color="tab:green", linewidth=0.8, linestyle="--")
    axes.set(
        xlim=(0.0, None),
        ylim=(0.0, 101.0),
        xlabel="seconds since the request",
        ylabel="% of 1,000 fresh starts",
        title="Default model: completed flights",
    )
    axes.legend(loc="lower right")
    axes.grid(alpha=0.3)
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)


def main(arguments: list[str] | None = None) -> int:
    """Measure and print; exit code 1 when a limit is missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.training", description=__doc__)
    parser.add_argument("--plot", type=Path, help="write the learning curves to this PNG")
    options = parser.parse_args(arguments)
    trainings = []
    with tempfile.TemporaryDirectory() as directory:
        for cache in ("cold", "warm"):
            for seed in SEEDS:
                folder = Path(directory, cache, str(seed))
                kept = Path(directory, f"cache-{seed}")  # empty at first, filled by the cold run
                trainings.append((cache, folder, train(folder, seed=seed, cache=kept)))
        flights = Judge()
        results = []
        for cache, folder, training in trainings:
            results.append({"cache": cache} | judge(flights, folder, training))
            print(json.dumps(results[-1]), flush=True)
    if options.plot:
        plot(results, options.plot)
    return _compare(results)


def _compare(results: list[dict[str, Any]]) -> int:
    warm = [result for result in results if result["cache"] == "warm"]
    cold = [result for result in results if result["cache"] == "cold"]
    never = 1e9  # a training that was never good enough misses every limit
    worst = {
        "cold_s": max(result["good_s"] or never for result in cold),
        "warm_s": max(result["good_s"] or never for result in warm),
        "warm_first_epoch_s": max(result["first_epoch_s"] for result in warm),
        "memory_gb": max(result["memory_gb"] for result in results),
    }
    for name, limit in LIMITS.items():
        ratio = worst[name] / limit
        shown = {"worst": worst[name], "limit": limit, "ratio": round(ratio, 3)}
        print(json.dumps({"what": name, **shown}), flush=True)
    return int(any(worst[name] > limit for name, limit in LIMITS.items()))


if __name__ == "__main__":
    sys.exit(main())
