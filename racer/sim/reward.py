"""What a reward is to the environment, and the one that is built in.

A reward is two functions: `initial` makes the memory of new flights (an empty tuple when there is
none), and the call itself turns one judged control step into a number. Memory is carried in
`EnvironmentState.memory` and starts anew with every flight. Both are traced by JAX: branches are
`jnp.where`, and the result is differentiable where the reward is.
"""

from __future__ import annotations

from typing import Any, Protocol

import jax.numpy as jnp

from racer.geometry.rotation import Vector, dot
from racer.sim.interface import YAW_ACTION, ActionSpace
from racer.sim.judging import real_gate
from racer.sim.state import Array, EnvironmentState, Judged
from racer.sim.task import Task


class Reward(Protocol):
    """Rates one control step of every drone in a batch of shape (...)."""

    def initial(self, shape: tuple[int, ...]) -> Any:
        """Memory of flights that have just begun: any tree of arrays of that shape."""

    def __call__(
        self,
        task: Task,
        memory: Any,
        before: EnvironmentState,
        after: EnvironmentState,
        judged: Judged,
    ) -> tuple[Any, Array]:
        """The next memory and the reward (...).

        `before` and `after`: the flight at both ends of the step, without auto-reset;
        `after.action` is the action of this step, `after.passed` counts its gate.
        """


class BuiltInReward:
    """Metres nearer to the gate, gates, crashes and calm, weighted by `task.rewards`.

    Flown `whole_legs`, a lap earns the same metres on any line through its gates: the step through
    a gate earns the leg that begins there, less what is left of it, so that rewards add up to the
    progress along the polygon of gates. Without, that step earns nothing, and the metres that a
    line through a gate's edge saves are lost twice: learners then fly through the centres, which
    is calmer and slower.
    """

    def __init__(self, *, space: ActionSpace = "velocity", whole_legs: bool = False) -> None:
        self._whole_legs = whole_legs
        self._yaw = YAW_ACTION[space]

    def initial(self, shape: tuple[int, ...]) -> Any:
        """It remembers nothing."""
        return ()

    def __call__(
        self,
        task: Task,
        memory: Any,
        before: EnvironmentState,
        after: EnvironmentState,
        judged: Judged,
    ) -> tuple[Any, Array]:
        """See racer.sim.task.Rewards."""
        weights = task.rewards
        centre = judged.target.centre
        nearer = _distance(centre, before.vehicle.position) - _distance(
            centre, after.vehicle.position
        )
        through: Any = 0.0
        if self._whole_legs:
            following = real_gate(task, after, after.passed).centre
            leg = _distance(centre, following)
            left = _distance(following, after.vehicle.position)
            through = _distance(centre, before.vehicle.position) + leg - left
        rates = dot(after.vehicle.rates, after.vehicle.rates)
        reward = (
            weights.progress * jnp.where(judged.passed, through, nearer)
            + weights.gate * judged.passed
            + weights.crash * judged.crashed
            + weights.rates * rates
            + weights.turn * jnp.clip(after.action[self._yaw], -1.0, 1.0) ** 2
        )
        return memory, reward


BUILT_IN = BuiltInReward()


def _distance(a: Vector, b: Vector) -> Array:
    offset = (a[0] - b[0], a[1] - b[1], a[2] - b[2])
    length: Array = jnp.sqrt(dot(offset, offset) + 1e-12)
    return length
