"""One training from configuration to files: what the worker process runs, usable from a notebook.

    for report in Training(TrainingConfig(epochs=20), output=Path("run")).epochs():
        print(report["accuracy"])

Metrics of an epoch's report:

| key | what |
|---|---|
| `epoch` | 1, 2, … |
| `loss` | what the optimiser brings down, mean over the epoch's updates |
| `accuracy` | share of the evaluation starts that fly every gate in order without a crash |
| `reward` | mean reward per control step of training flights |
| `crashes_per_flight` | share of ended training flights that crashed |
| `mean_lap_time_s`, `best_…`, `median_…`, `p95_…` | of those that finished; null when none did |
| `gates_passed` | mean gates passed by the evaluation flights |
| `gate_error_m` | their mean distance from the gates' centres; null when none was passed |
| `crashed`, `timed_out` | shares of the evaluation flights that ended so |
| `crashed_ground`, `…_bounds`, `…_frame`, `…_obstacle` | shares of them by the crash's cause |
| `reward_faults` | of flights under way, share of steps that would raise; people's rewards only |
| `env_steps` | control steps flown in training so far |
| `seconds` | wall time since the training began, compilation included |

and the algorithm's own. PPO: `policy_loss`, `value_loss`, `entropy` (the loss's terms, before
weighting), `kl` (how far one rollout's updates move the policy, nats), `clipped` (share of samples
beyond the clip range). racer.learning.report says what counts as a lap, and which epoch's policy is
kept: of those that finished the most evaluation starts, the one with the fastest laps.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import math
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, TypeAlias

import jax
import numpy as np

from racer.errors import RacerError
from racer.learning.algorithm import Metrics, State, World, build
from racer.learning.checkpoint import Checkpoint, Checkpoints
from racer.learning.config import TrainingConfig
from racer.learning.curriculum import training_task
from racer.learning.evaluation import Evaluation, first_flight, make_evaluate
from racer.learning.files import write_arrays
from racer.learning.initial import first_state, known_weights, write_weights
from racer.learning.networks import Normaliser, Parameters
from racer.learning.programs import prepare, use_cores
from racer.learning.report import merit_of, summarise
from racer.sim.airframe import Airframe, load_airframe
from racer.sim.reward import BuiltInReward, Reward
from racer.sim.task import (
    Settings,
    Task,
    course_ranges,
    default_rewards,
    make_task,
    seen_obstacles,
    spread_within,
)
from racer.sim.track import Track, load_track

__all__ = ["Training", "TrainingConfig"]

Array: TypeAlias = jax.Array

log = logging.getLogger(__name__)


class Training:
    """A training under way. Making one checks everything; `epochs()` trains.

    `world` and `task` are what is learnt in, for those who evaluate on their own.
    """

    def __init__(self, config: TrainingConfig, *, output: Path) -> None:
        """Raises RacerError when the configuration means nothing that can be trained."""
        self._config, self._output = config, output
        self._kept = (-1.0, -math.inf)  # how good the policy in the files is: merit_of
        use_cores()
        self._track = _load_track(config)
        simulation = Settings(
            action_space=config.action_space,
            control_hz=float(config.control_hz),
            substeps=config.substeps,
            randomise=config.randomise,
            seen_obstacles=seen_obstacles(self._track),
        )
        airframe = load_airframe(config.airframe)
        self._track.check_room(airframe.body.collision_radius_m)
        self.world = World(airframe, simulation, _user_reward(config, airframe, simulation))
        self._algorithm = build(config.algorithm, self.world, config.settings)
        self._known = known_weights(
            config, output, self._algorithm, observation_size=simulation.observation_size
        )
        self.task = make_task(
            self._track,
            simulation,
            velocity_limit_m_s=config.velocity_limit_m_s,
            yaw_limit_deg_s=config.yaw_limit_deg_s,
            wind_speed_m_s=config.wind_speed_m_s,
            rewards=default_rewards(config.velocity_limit_m_s, calm=config.calm),
            start_spread=spread_within(config.heading_spread_deg, config.start_spread_m),
            ranges=None if config.vary_vehicle else course_ranges(self._track),
        )

    def epochs(
        self, *, resume_after: int | None = None, keep_checkpoints: bool = False
    ) -> Iterator[dict[str, Any]]:
        """Train, and yield each epoch's report after its files are in place.

        `resume_after`: go on from the newest good checkpoint in the output folder, if there is
        one, and leave out the reports of epochs up to this one, which are known already. None
        begins anew. `keep_checkpoints`: also in the end, until whoever has taken note of the last
        report deletes them.

        Raises RacerError when the loss stops being a number, OSError when the disk is full.
        """
        config, algorithm = self._config, self._algorithm
        began = time.monotonic()
        self._output.mkdir(parents=True, exist_ok=True)
        checkpoints = Checkpoints(self._output, config)
        if resume_after is None:
            checkpoints.clear()
        programs = self._prepare()
        task, seed = self.task, np.int32(config.seed)
        hull = self.world.airframe.body.collision_radius_m
        train, placement = programs["train"], programs["train"].input_shardings[0]
        initialise = programs["initialise"]
        state = first_state(initialise, algorithm, task, seed=config.seed, known=self._known)
        reports: list[dict[str, Any]] = []
        if found := checkpoints.newest(state):
            state, self._kept, reports = found.state, found.kept, found.reports
            began -= found.seconds
            log.info("The training goes on after epoch %d of %d.", found.epoch, config.epochs)
        told = resume_after or 0
        yield from reports[told:]
        state = jax.device_put(state, placement[0])
        for epoch in range(len(reports) + 1, config.epochs + 1):
            schedule = jax.device_put(algorithm.schedule(epoch, config.epochs), placement[2])
            course = training_task(task, config, epoch=epoch, hull_m=hull)
            course = jax.device_put(course, placement[1])
            state, metrics = train(state, course, schedule)
            policy = jax.device_get(algorithm.policy(state))
            result = jax.device_get(programs["evaluate"](*policy, task, seed))
            report = self._report(epoch, jax.device_get(metrics), result, policy)
            report |= _faults(config, state)
            weights = jax.device_get(algorithm.weights(state))
            self._write(epoch, (weights, policy[1]), result, report)
            seconds = time.monotonic() - began
            reports.append(report | {"seconds": round(seconds, 3)})
            if checkpoints.due:
                on_host = jax.device_get(state)
                checkpoints.write(Checkpoint(epoch, on_host, self._kept, seconds, reports))
                del on_host  # as large as a replay buffer
            if epoch > told:
                yield reports[-1]
        self._export()
        if not keep_checkpoints:
            checkpoints.clear()

    def _export(self) -> None:
        """`policy.onnx` and `manifest.json` of the policy that is kept."""
        from racer.policy.export import Origin, export_run  # noqa: PLC0415 - half a second

        # As it was trained: the course's file may have been edited meanwhile.
        airframe, simulation, _ = self.world
        origin = Origin(self._track, airframe, simulation, self.task)
        export_run(self._output, origin=origin)

    def _prepare(self) -> dict[str, jax.stages.Compiled]:
        """The three programs. They take the seed as a number and make their keys of it."""
        algorithm, config, task = self._algorithm, self._config, self.task
        parameters = algorithm.initial_parameters(config.seed)
        schedule, seed = algorithm.schedule(1, config.epochs), np.int32(config.seed)
        evaluate = make_evaluate(
            self.world.airframe,
            self.world.simulation,
            starts=config.evaluation_starts,
            output=algorithm.output,
        )

        @jax.jit
        def initialise(task: Task, parameters: Parameters, seed: Array) -> State:
            return algorithm.initialise(task, parameters, jax.random.key(seed))

        @jax.jit
        def fly(p: Parameters, n: Normaliser, task: Task, seed: Array) -> Evaluation:
            return evaluate(p, n, task, jax.random.key(seed))

        @cache
        def state() -> State:
            return jax.eval_shape(initialise, task, parameters, seed)

        train = jax.jit(algorithm.epoch, donate_argnums=0)
        constants = (
            *(config.algorithm, algorithm.compiled_in or config.settings, algorithm.output),
            *(self.world.airframe, self.world.simulation, config.reward, config.whole_legs),
            config.evaluation_starts,
            jax.tree.map(jax.typeof, (task, parameters, schedule)),
        )
        return prepare(
            {
                "train": lambda: train.lower(state(), task, schedule),
                "evaluate": lambda: fly.lower(
                    *jax.eval_shape(algorithm.policy, state()), task, seed
                ),
                "initialise": lambda: initialise.lower(task, parameters, seed),
            },
            compiled_in=repr(constants),
            folder=None if config.compile_cache is None else Path(config.compile_cache),
        )

    def _report(
        self,
        epoch: int,
        metrics: Metrics,
        result: Evaluation,
        policy: tuple[Parameters, Normaliser],
    ) -> dict[str, Any]:
        named = metrics._asdict()
        named |= named.pop("details")
        numbers = {name: float(value) for name, value in named.items()}
        learnt = [*numbers.values(), *jax.tree.leaves(policy)]  # the last update has no loss yet
        if not all(np.isfinite(number).all() for number in learnt):
            raise RacerError(
                f"The training diverged in epoch {epoch}: its loss or weights are no numbers any "
                "more. Train again, with another seed or a lower learning rate."
            )
        found = summarise(result, gates=len(self._track.gates), laps=self._track.laps)
        return {
            "epoch": epoch,
            "loss": numbers.pop("loss"),
            **found.scalars(),
            **numbers,
            "env_steps": epoch * self._algorithm.steps_per_epoch,
        }

    def _write(
        self,
        epoch: int,
        weights: tuple[Parameters, Normaliser],
        result: Evaluation,
        report: dict[str, Any],
    ) -> None:
        """`flight.npz`, the first evaluation start, flown, and `policy.safetensors`: policy and
        critics, which another training may begin with.

        The weights stay those of an earlier epoch whose policy flew better.
        """
        flight = first_flight(result, dt=self.world.simulation.dt)
        write_arrays(self._output / "flight.npz", **flight, epoch=np.array(epoch))
        if (merit := merit_of(report)) < self._kept:
            return
        self._kept = merit
        write_weights(
            self._output / "policy.safetensors",
            *weights,
            metadata={
                "config": json.dumps(self._config.to_mapping()),
                "epoch": str(epoch),
                "output": self._algorithm.output,
                "report": json.dumps(report),
            },
        )


def _user_reward(config: TrainingConfig, airframe: Airframe, simulation: Settings) -> Reward | None:
    if config.reward is None:
        whole = BuiltInReward(space=config.action_space, whole_legs=True)
        return whole if config.whole_legs else None
    from racer.rewards.compile import compile_reward  # noqa: PLC0415 - most trainings need none

    return compile_reward(config.reward, airframe=airframe, settings=simulation)


def _faults(config: TrainingConfig, state: State) -> dict[str, float]:
    if config.reward is None:
        return {}
    from racer.rewards.compile import fault_share  # noqa: PLC0415 - most trainings need none

    return {"reward_faults": fault_share(state)}


def _load_track(config: TrainingConfig) -> Track:
    track = load_track(config.track, altitude_m=config.altitude_m)
    return track if config.laps is None else dataclasses.replace(track, laps=config.laps)
