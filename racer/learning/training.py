"""One training from configuration to files: what the worker process runs, usable from a notebook.

    for report in Training(TrainingConfig(epochs=20), output=Path("run")).epochs():
        print(report["accuracy"])

Metrics of an epoch's report:

| key | what |
|---|---|
| `epoch` | 1, 2, … |
| `loss` | total loss, mean over the epoch's updates: policy + value + entropy terms, weighted |
| `accuracy` | share of the evaluation starts that fly every gate in order without a crash |
| `policy_loss`, `value_loss`, `entropy` | its terms, before weighting |
| `kl` | how far one rollout's updates move the policy, nats |
| `clipped` | share of samples beyond the clip range |
| `reward` | mean reward per control step of training flights |
| `crashes_per_flight` | share of ended training flights that crashed |
| `gates_passed` | mean gates passed by the evaluation flights |
| `crashed` | share of the evaluation flights that crashed |
| `mean_lap_time_s` | mean time of the evaluation flights that finished; null when none did |
| `env_steps` | control steps flown in training so far |
| `seconds` | wall time since the training began, compilation included |
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from racer.errors import InvalidInputError, RacerError
from racer.learning.evaluation import Evaluate, Evaluation, make_evaluate
from racer.learning.files import write_arrays, write_tensors
from racer.learning.networks import Parameters, initial_parameters
from racer.learning.ppo import (
    Epoch,
    Metrics,
    TrainState,
    initial_train_state,
    learning_rates,
    make_epoch,
)
from racer.learning.settings import PpoSettings
from racer.sim.airframe import load_airframe
from racer.sim.interface import ACTION_SIZE
from racer.sim.task import Settings, Task, make_task
from racer.sim.track import load_track

_RANGES = {  # the same as the product's front door promises
    "altitude_m": (1.5, 100.0),
    "velocity_limit_m_s": (0.5, 20.0),
    "yaw_limit_deg_s": (5.0, 360.0),
    "wind_speed_m_s": (0.0, 15.0),
}


@dataclasses.dataclass(frozen=True)
class TrainingConfig:
    """The worker's configuration file, key by key. Any field of PpoSettings may stand beside."""

    algorithm: str = "ppo"
    epochs: int = 20
    seed: int = 0
    track: str = "toledo"  # a shipped course or a path to a TOML file
    airframe: str = "x500"  # likewise
    altitude_m: float = 2.5  # mean height of the gates
    velocity_limit_m_s: float = 8.0
    yaw_limit_deg_s: float = 90.0
    wind_speed_m_s: float = 0.0  # mean; gusts come with it
    compile_cache: str | None = None  # folder that keeps compiled programs for the next training
    ppo: PpoSettings = dataclasses.field(default_factory=PpoSettings)

    def __post_init__(self) -> None:
        if self.algorithm == "sac":
            raise InvalidInputError(
                "SAC cannot be trained yet. Choose the algorithm 'ppo' in the drone model."
            )
        if self.algorithm != "ppo":
            raise InvalidInputError(f"Unknown algorithm '{self.algorithm}'. Choose 'ppo'.")
        for key, low, high in (("epochs", 1, 10_000), ("seed", 0, 2**31 - 1)):
            value = getattr(self, key)
            if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
                raise InvalidInputError(f"'{key}' must be a whole number from {low} to {high}.")
        for key, (least, most) in _RANGES.items():
            value = getattr(self, key)
            number = isinstance(value, (int, float)) and not isinstance(value, bool)
            if not number or not least <= value <= most:
                raise InvalidInputError(f"'{key}' must be a number from {least:g} to {most:g}.")
        for key in ("track", "airframe"):
            if not isinstance(getattr(self, key), str):
                raise InvalidInputError(f"'{key}' must be a text.")
        if self.compile_cache is not None and not isinstance(self.compile_cache, str):
            raise InvalidInputError("'compile_cache' must be a folder's path or null.")

    @classmethod
    def from_mapping(cls, given: Mapping[str, Any]) -> TrainingConfig:
        """Read a parsed JSON object; InvalidInputError names the key that is wrong."""
        own = {field.name for field in dataclasses.fields(cls)} - {"ppo"}
        tuning = {field.name for field in dataclasses.fields(PpoSettings)}
        if unknown := set(given) - own - tuning:
            raise InvalidInputError(f"Unknown key '{min(unknown)}' in the training configuration.")
        ppo = PpoSettings(**{key: value for key, value in given.items() if key in tuning})
        return cls(**{key: value for key, value in given.items() if key in own}, ppo=ppo)


class _Programs(NamedTuple):
    """Compiled for this training's shapes."""

    train: Epoch
    evaluate: Evaluate
    initialise: Callable[[Task, Parameters, jax.Array], TrainState]


class Training:
    """A training under way. Making one checks everything; `epochs()` trains."""

    def __init__(self, config: TrainingConfig, *, output: Path) -> None:
        """Raises RacerError when the configuration means nothing that can be trained."""
        self._config, self._output = config, output
        self._airframe = load_airframe(config.airframe)
        self._simulation = Settings()
        self._task = make_task(
            load_track(config.track, altitude_m=config.altitude_m),
            self._simulation,
            velocity_limit_m_s=config.velocity_limit_m_s,
            yaw_limit_deg_s=config.yaw_limit_deg_s,
            wind_speed_m_s=config.wind_speed_m_s,
        )

    def epochs(self) -> Iterator[dict[str, Any]]:
        """Train, and yield each epoch's report after its files are in place.

        Raises RacerError when the loss stops being a number.
        """
        config, ppo = self._config, self._config.ppo
        began = time.monotonic()
        if config.compile_cache is not None:
            _keep_compiled_programs(Path(config.compile_cache))
        task = jax.device_put(self._task)
        key = jax.random.key(config.seed)
        parameters = initial_parameters(
            config.seed,
            observation_size=self._simulation.observation_size,
            action_size=ACTION_SIZE,
            hidden=ppo.hidden,
            initial_std=ppo.initial_std,
        )
        programs = self._compile(task, parameters, key)
        state = programs.initialise(task, parameters, key)
        for epoch in range(1, config.epochs + 1):
            rates = learning_rates(ppo, epoch=epoch, epochs=config.epochs)
            state, metrics = programs.train(state, task, rates)
            result = jax.device_get(
                programs.evaluate(state.parameters, state.normaliser, task, key)
            )
            report = self._report(epoch, jax.device_get(metrics), result)
            self._write(epoch, state, result)
            yield report | {"seconds": round(time.monotonic() - began, 3)}

    def _compile(self, task: Task, parameters: Parameters, key: jax.Array) -> _Programs:
        """The three programs, compiled at the same time: LLVM lets go of Python meanwhile."""
        airframe, simulation, ppo = self._airframe, self._simulation, self._config.ppo
        initialise = jax.jit(
            partial(initial_train_state, airframe=airframe, simulation=simulation, settings=ppo)
        )
        train = jax.jit(make_epoch(airframe, simulation, ppo), donate_argnums=0)
        evaluate = jax.jit(make_evaluate(airframe, simulation, starts=ppo.evaluation_starts))
        state = jax.eval_shape(initialise, task, parameters, key)
        rates = learning_rates(ppo, epoch=1, epochs=1)
        lowered = [
            train.lower(state, task, rates),
            evaluate.lower(state.parameters, state.normaliser, task, key),
            initialise.lower(task, parameters, key),
        ]
        with ThreadPoolExecutor(len(lowered)) as pool:
            compiled = list(pool.map(lambda program: program.compile(), lowered))
        return _Programs(train=compiled[0], evaluate=compiled[1], initialise=compiled[2])

    def _report(self, epoch: int, metrics: Metrics, result: Evaluation) -> dict[str, Any]:
        named = metrics.terms._asdict() | metrics._asdict()
        numbers = {name: float(value) for name, value in named.items() if name != "terms"}
        if not all(math.isfinite(number) for number in numbers.values()):
            raise RacerError(
                f"The training diverged in epoch {epoch}: its loss is no number any more. "
                "Train again, with another seed or a lower learning rate."
            )
        laps = np.asarray(result.steps)[np.asarray(result.finished)] * self._simulation.dt
        return {
            "epoch": epoch,
            "loss": numbers.pop("loss"),
            "accuracy": float(np.mean(result.finished)),
            "mean_lap_time_s": float(np.mean(laps)) if laps.size else None,
            "gates_passed": float(np.mean(result.passed)),
            "crashed": float(np.mean(result.crashed)),
            **numbers,
            "env_steps": epoch * self._config.ppo.steps_per_epoch,
        }

    def _write(self, epoch: int, state: TrainState, result: Evaluation) -> None:
        """`policy.safetensors`, and `flight.npz`: the first evaluation start, flown."""
        tensors = dict(state.parameters)
        tensors |= {f"observation_{k}": v for k, v in state.normaliser._asdict().items()}
        public = {k: v for k, v in dataclasses.asdict(self._config).items() if k != "compile_cache"}
        write_tensors(
            self._output / "policy.safetensors",
            {name: np.asarray(tensor) for name, tensor in tensors.items()},
            metadata={key: str(value) for key, value in public.items()} | {"epoch": str(epoch)},
        )
        flown = int(result.steps[0])
        flight = np.asarray(result.flight)[:flown]
        passed = flight[:, 7].astype(np.int32)
        passed[-1:] = result.passed[0]
        write_arrays(
            self._output / "flight.npz",
            t=np.arange(flown) * self._simulation.dt,
            position=flight[:, 0:3],
            quaternion=flight[:, 3:7],
            epoch=np.array(epoch),
            gates_passed=passed,
        )


def _keep_compiled_programs(folder: Path) -> None:
    """Let the next training of the same shape skip compilation, whatever its numbers are."""
    folder.mkdir(parents=True, exist_ok=True)
    options = {
        "jax_compilation_cache_dir": str(folder),
        "jax_persistent_cache_min_compile_time_secs": 0.0,
        "jax_persistent_cache_min_entry_size_bytes": -1,
    }
    for name, value in options.items():
        jax.config.update(name, value)  # type: ignore[no-untyped-call]  # JAX leaves it untyped
