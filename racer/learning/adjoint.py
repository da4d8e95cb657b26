"""The gradient of a flown rollout with respect to its actions, by walking back through it.

With G(t) = r(t) + γ G(t+1), zero behind a flight's end and the critic's value V behind the
rollout's, and x the vehicle and the action before, the adjoint λ(t) = ∂G(t)/∂x(t) follows

    λ(t) = (∂r/∂x + γ λ(t+1) ∂x'/∂x) + (∂r/∂a + γ λ(t+1) ∂x'/∂a) ∂a/∂x

and the second bracket is what the action at t is worth. Every step of a rollout counts as the
start of its own G, not as a late part of the first one's: the policy must fly from everywhere.

Choices:
- The rollout is flown once, by the plain simulation. Walking back judges and rewards every step
  again (cheap) but takes ∂x'/∂x and ∂x'/∂a from racer.learning.response.
- Rewards are differentiated where they can be. Passing a gate or hitting its frame is a step in
  the reward: `Guide` adds the slope of a soft one, and nothing to the value.
- The weights' gradient is one large product at the end: only actions' gradients are walked for.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp

from racer.geometry.gates import in_gate_axes
from racer.learning.algorithm import World
from racer.learning.networks import Normaliser, Parameters, normalise, policy_mean
from racer.learning.response import graft, make_response
from racer.sim.cascade import ControlState
from racer.sim.dynamics import State
from racer.sim.environment import EnvironmentState, make_step, observe
from racer.sim.reward import BUILT_IN, Reward
from racer.sim.state import Judged
from racer.sim.task import Task

Array: TypeAlias = jax.Array
_SMALL = 1e-12
_Action: TypeAlias = tuple[Array, Array, Array, Array]
_Differentiable: TypeAlias = tuple[State, _Action]  # the vehicle and the action before


class Flown(NamedTuple):
    """A rollout of T steps of N drones, (T, N, ...) each."""

    environments: EnvironmentState  # before the step
    observation: Array  # (T, N, O), normalised
    action: Array  # (T, N, A)
    vehicle: State  # after the step, before any auto-reset


class Guide:
    """A reward with the slope of a soft gate: `pull` · σ((opening − offset) / softness).

    Only a step that crosses the gate's plane has that slope, with respect to where it crosses;
    the reward's value stays that of the reward inside.
    """

    def __init__(
        self, *, radius_m: float, pull: float, softness_m: float, inner: Reward = BUILT_IN
    ) -> None:
        """`radius_m`: of the vehicle, which must stay so far from the frame."""
        self._radius, self._pull, self._softness = radius_m, pull, softness_m
        self._inner = inner

    def initial(self, shape: tuple[int, ...]) -> Any:
        """That of the reward inside."""
        return self._inner.initial(shape)

    def __call__(
        self,
        task: Task,
        memory: Any,
        before: EnvironmentState,
        after: EnvironmentState,
        judged: Judged,
    ) -> tuple[Any, Array]:
        """See racer.sim.reward."""
        memory, reward = self._inner(task, memory, before, after, judged)
        behind = in_gate_axes(judged.target, before.vehicle.position)[0] <= 0.0
        crossing = behind & (in_gate_axes(judged.target, after.vehicle.position)[0] > 0.0)
        room = judged.target.half_size - self._radius
        soft = self._pull * jax.nn.sigmoid((room - judged.offset) / self._softness)
        soft = jnp.where(crossing, soft, 0.0)
        return memory, reward + soft - jax.lax.stop_gradient(soft)


def action_gradients(
    flown: Flown,
    end: EnvironmentState,
    end_slope: Array,
    *,
    task: Task,
    policy: Parameters,
    normaliser: Normaliser,
    world: World,
    reward: Reward,
    discount: float,
    max_slope: float,
) -> Array:
    """∂G(t)/∂a(t), (T, N, A).

    `end`: where the rollout ended, (N,); `end_slope`: (N, O) of the critic's value there, with
    respect to the normalised observation. An adjoint longer than `max_slope` is shortened, drone by
    drone: through a crash-bound tumble slopes grow a thousandfold, and one such flight would
    outweigh all others.
    """
    airframe, simulation = world.airframe, world.simulation
    response = make_response(airframe, simulation)
    gusts = jnp.zeros((*end.elapsed.shape, 3))

    def see(environments: EnvironmentState, x: _Differentiable) -> Array:
        now = environments._replace(vehicle=x[0], action=x[1])
        return normalise(normaliser, observe(task, now, simulation))

    def back(adjoint: _Differentiable, now: Flown) -> tuple[_Differentiable, Array]:
        x = (now.environments.vehicle, now.environments.action)

        def modelled(
            task: Task, vehicle: State, control: ControlState, action: _Action, wind: Any
        ) -> tuple[State, ControlState]:
            return graft(now.vehicle, response(task, vehicle, action)), control

        step = make_step(airframe, simulation, reward, loop=modelled)

        def advance(x: _Differentiable, action: Array) -> tuple[_Differentiable, Array]:
            before = now.environments._replace(vehicle=x[0], action=x[1])
            # What an ended flight goes on from has no slope: any state will do.
            after, outcome = step(task, before, action, gusts, jax.lax.stop_gradient(before))
            return (after.vehicle, after.action), outcome.reward

        _, pull = jax.vjp(advance, x, now.action)
        behind = jax.tree.map(lambda part: discount * part, adjoint)
        slope, worth = pull((behind, jnp.ones_like(end.wind_x)))
        _, pull_policy = jax.vjp(partial(policy_mean, policy), now.observation)
        _, pull_sight = jax.vjp(partial(see, now.environments), x)
        (through_policy,) = pull_sight(*pull_policy(worth))
        total = jax.tree.map(jnp.add, slope, through_policy)
        squares = [part * part for part in jax.tree.leaves(total)]
        share = jnp.minimum(1.0, max_slope * jax.lax.rsqrt(sum(squares) + _SMALL))
        return jax.tree.map(lambda part: share * part, total), worth

    _, pull_sight = jax.vjp(partial(see, end), (end.vehicle, end.action))
    (last,) = pull_sight(end_slope)
    found: Array = jax.lax.scan(back, last, flown, reverse=True)[1]
    return found
