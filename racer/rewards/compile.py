"""A checked reward function as a reward of the environment.

    reward = compile_reward(source, airframe=airframe, settings=settings)
    step = make_step(airframe, settings, reward)

A step in which Python would have raised (a division by zero, an index out of range, a root of a
negative number), or whose reward is not finite, earns FAULT_REWARD, leaves what is carried as it
was and is counted in `Memory.faults`.
"""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp

from racer.rewards.check import Program, compile_source
from racer.rewards.drone import DroneInputs
from racer.rewards.evaluate import evaluate
from racer.sim.airframe import Airframe
from racer.sim.state import Array, EnvironmentState, Judged
from racer.sim.task import Settings, Task

FAULT_REWARD = 1e-3  # what DeepRacer's own examples give for the worst step


class Memory(NamedTuple):
    """What a flight carries, (...) each."""

    leaves: tuple[Array, ...]  # bool or float32
    faults: Array  # int32: faulty steps of this flight


class UserReward:
    """Implements racer.sim.reward.Reward."""

    def __init__(self, program: Program, *, airframe: Airframe, settings: Settings) -> None:
        self.program = program
        self._radius = airframe.body.collision_radius_m
        self._dt = settings.dt

    def initial(self, shape: tuple[int, ...]) -> Memory:
        """Flights begin with what the module's own lines set."""
        kinds = zip(self.program.memory_kinds, self.program.memory_first, strict=True)
        leaves = tuple(
            jnp.full(shape, first, bool if kind == "bool" else jnp.float32) for kind, first in kinds
        )
        return Memory(leaves, jnp.zeros(shape, jnp.int32))

    def __call__(
        self,
        task: Task,
        memory: Memory,
        before: EnvironmentState,
        after: EnvironmentState,
        judged: Judged,
    ) -> tuple[Memory, Array]:
        """The next memory and the reward (...)."""
        inputs = DroneInputs(task, after, judged, dt=self._dt, radius=self._radius)
        found, raised, left = evaluate(self.program, inputs, memory.leaves, jnp)
        shape = jnp.shape(after.vehicle.px)
        reward = jnp.broadcast_to(jnp.asarray(found, jnp.float32), shape)
        fault = jnp.broadcast_to(raised, shape) | ~jnp.isfinite(reward)
        kept = tuple(
            jnp.where(fault, old, jnp.asarray(new, old.dtype))
            for old, new in zip(memory.leaves, left, strict=True)
        )
        faults = memory.faults + fault.astype(jnp.int32)
        return Memory(kept, faults), jnp.where(fault, FAULT_REWARD, reward)


def compile_reward(source: str, *, airframe: Airframe, settings: Settings) -> UserReward:
    """The reward of a source text; InvalidRewardError says what is wrong with it."""
    return UserReward(compile_source(source), airframe=airframe, settings=settings)
