"""The policy at the wheel: from the vehicle's motion to a setpoint, with the training's own maths.

Observation and action mean what racer.sim.interface says, computed here with NumPy for one vehicle.
The controller asks 100 times a second, whatever rate the policy was trained at: a newer answer to a
newer place is a better one. Only "the action before this one" (action space `ctbr`) keeps its
meaning in time: it is the action that was in force one training period ago.
"""

from __future__ import annotations

from collections import deque

import numpy as np

from racer.flight.commands import BodyRates, BodyVelocity
from racer.flight.estimate import Motion
from racer.flight.plan import RacePlan
from racer.geometry.rotation import Quaternion
from racer.sim.interface import Sight, observation, rate_setpoint, velocity_setpoint

Action = tuple[float, float, float, float]
_NONE: Action = (0.0, 0.0, 0.0, 0.0)
_LEVEL: Quaternion = (1.0, 0.0, 0.0, 0.0)  # asked in the vehicle's own level frame


class Driver:
    """One policy's flight: remembers its actions of the last training period."""

    def __init__(self, plan: RacePlan) -> None:
        self._plan = plan
        self._past: deque[tuple[float, Action]] = deque([(-np.inf, _NONE)])

    def act(self, motion: Motion, *, passed: int, now_s: float) -> Action:
        """What the policy wants, as the network says it: not clipped and perhaps not finite."""
        plan = self._plan
        sight = Sight(
            position=motion.position,
            velocity=motion.velocity,
            attitude=motion.attitude,
            rates=motion.rates,
            target=plan.course.gate(passed),
            after=plan.course.gate(passed + 1),
            action=self._before(now_s),
            ground=plan.ground_m,
            obstacles=plan.course.poles,  # where the course says: nothing on board sees them
        )
        numbers = observation(sight, plan.space, np, seen_obstacles=plan.seen_obstacles)
        seen = np.array(numbers, np.float32)
        forward, left, up, turn = (float(part) for part in plan.act(seen))
        action = (forward, left, up, turn)
        self._past.append((now_s, action))
        return action

    def setpoint(self, action: Action) -> BodyVelocity | BodyRates:
        """The action in the autopilot's units, within the policy's limits."""
        plan = self._plan
        if plan.space == "velocity":
            (forward, left, up), turn = velocity_setpoint(action, _LEVEL, plan.limits, np)
            return BodyVelocity(float(forward), float(left), float(up), float(turn))
        (roll, pitch, yaw), collective = rate_setpoint(action, plan.rate_limits, np)
        return BodyRates(float(roll), float(pitch), float(yaw), float(collective))

    def _before(self, now_s: float) -> Action:
        """The action in force one training period ago; half a tick early counts as that."""
        then = now_s - self._plan.period_s + 0.005
        while len(self._past) > 1 and self._past[1][0] <= then:
            self._past.popleft()
        return self._past[0][1]
