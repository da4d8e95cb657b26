"""A checked reward function as a reward of the environment.

    reward = compile_reward(source, airframe=airframe, settings=settings)
    step = make_step(airframe, settings, reward)

A step in which Python would have raised (a division by zero, an index out of range, a root of a
negative number), or whose reward is not finite, earns FAULT_REWARD, leaves what is carried as it
was and is counted in `Memory.faults`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from racer.rewards.check import Program, compile_source
from racer.rewards.drone import DroneInputs
from racer.rewards.evaluate import evaluate
from racer.sim.airframe import Airframe
from racer.sim.state import Array, EnvironmentState, Judged
from racer.sim.task import Settings, Task

FAULT_REWARD = 1e-3  # what DeepRacer's own examples give for the worst step


@jax.custom_vjp
def _smooth(number: Array) -> Array:
    """The number itself; where the slope of what follows is no number, it has none."""
    return number


def _smooth_forward(number: Array) -> tuple[Array, None]:
    return number, None


def _smooth_backward(_: None, slope: Array) -> tuple[Array]:
    return (jnp.where(jnp.isfinite(slope), slope, 0.0),)


_smooth.defvjp(_smooth_forward, _smooth_backward)


class _Smoothed:
    """Inputs whose slopes stay numbers, so that one drone at a pole cannot spoil all others."""

    def __init__(self, inputs: DroneInputs) -> None:
        self._inputs = inputs

    def value(self, name: str) -> Array:
        number = self._inputs.value(name)
        return _smooth(number) if jnp.issubdtype(number.dtype, jnp.floating) else number

    def row(self, column: str, index: Array) -> Array:
        return self._inputs.row(column, index)


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
        carried = [
            _smooth(leaf) if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf
            for leaf in memory.leaves
        ]
        found, raised, left = evaluate(self.program, _Smoothed(inputs), carried, jnp)
        shape = jnp.shape(after.vehicle.px)
        reward = jnp.broadcast_to(jnp.asarray(found, jnp.float32), shape)
        fault = jnp.broadcast_to(raised, shape) | ~jnp.isfinite(reward)
        kept = tuple(
            jnp.where(fault, old, jnp.asarray(new, old.dtype))
            for old, new in zip(memory.leaves, left, strict=True)
        )
        faults = memory.faults + fault.astype(jnp.int32)
        return Memory(kept, faults), jnp.where(fault, FAULT_REWARD, reward)


def fault_share(state: Any) -> float:
    """Share of faulty steps of the flights under way in any tree that holds their states.

    What ended before is not counted: its memory is gone with it. 0 when nothing flies.
    """

    def carries(node: Any) -> bool:
        return isinstance(node, EnvironmentState) and isinstance(node.memory, Memory)

    flights = [node for node in jax.tree.leaves(state, is_leaf=carries) if carries(node)]
    steps = sum(int(np.sum(jax.device_get(each.elapsed), dtype=np.int64)) for each in flights)
    faults = sum(
        int(np.sum(jax.device_get(each.memory.faults), dtype=np.int64)) for each in flights
    )
    return faults / steps if steps else 0.0


def compile_reward(source: str, *, airframe: Airframe, settings: Settings) -> UserReward:
    """The reward of a source text; InvalidRewardError says what is wrong with it."""
    return UserReward(compile_source(source), airframe=airframe, settings=settings)
