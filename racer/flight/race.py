"""A policy's flight as a pure state machine: what happens next, given what is known now.

    APPROACH -> SETTLE -> RACE -> BRAKE -> OVER
    APPROACH, SETTLE -> BRAKE when the vehicle is not where the way to the start leads
    any -> OVER at once when the vehicle can no longer be steered or seen

A race ends in BRAKE, finished or not: PX4's own Hold took 20 m to stop from 10 m/s, through other
gates; a velocity setpoint of zero takes six. If not finished, `why` says it in words.

No clock, no input, no output: `advance` takes the state and one tick's facts and returns the next
state; who calls it sends what the stage asks for (a place to fly to, the policy's setpoint, Hold).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import pairwise
from math import atan2, dist, remainder, sqrt, tau

import numpy as np

from racer.flight.envelope import (
    Envelope,
    Facts,
    breach,
    link_breach,
    motion_breach,
    way_envelope,
)
from racer.flight.judge import Course, obstruction, scraped
from racer.flight.plan import RacePlan
from racer.flight.px4 import Vector
from racer.geometry.gates import cross_gate
from racer.geometry.rotation import Quaternion, body_x_axis

APPROACH_S = 60.0  # at most on the way to the start
SETTLE_S = 0.5  # still for this long before the race
SETTLE_MOST_S = 15.0
BRAKE_S = 4.0  # at most
BRAKED_M_S = 0.7  # slower than this it is handed over to Hold
_REACH_M = 2.0  # a place is approached by a setpoint that runs ahead by at most this
_ARRIVED_M = 0.5
_AT_START_M = 0.3  # who begins half a metre aside passes the first gate half a metre aside
_STILL_M_S = 0.4
_YAW_WITHIN_RAD = 0.3
_OVER_M = 1.0  # above the highest gate, where the direct way to the start is barred


class Stage(StrEnum):
    """Where in a policy's flight we are."""

    APPROACH = "approach"
    SETTLE = "settle"
    RACE = "race"
    BRAKE = "brake"
    OVER = "over"


@dataclass(frozen=True, slots=True)
class RaceState:
    """One moment of it."""

    way: tuple[Vector, ...]  # places still to fly to; the last one is the start
    way_envelope: Envelope  # holds until the race
    stage: Stage = Stage.APPROACH
    since_s: float = 0.0  # when this stage began
    still_since_s: float | None = None
    finished: bool = False  # every gate was passed
    why: str = ""  # it ended before that, or what kept it from braking after it

    @property
    def steering(self) -> bool:
        """Whether setpoints are to be sent."""
        return self.stage is not Stage.OVER


@dataclass(frozen=True, slots=True)
class Tick:
    """What `advance` wants to know. `action` is the policy's, while it races."""

    now_s: float
    facts: Facts
    action: Sequence[float] = ()
    passed: int = 0
    hit: str | None = None  # what it met, by the judge


def begin(plan: RacePlan, facts: Facts, now_s: float) -> RaceState:
    """Fly to the start from here: straight, or over gates and poles where one stands in the way.
    Over at once, with the reason, where something stands above or below that way too."""
    here, start, course = facts.position, plan.start, plan.course
    way, why = [start], ""
    if barred(course, here, start):
        height = max(*_tops(course), here[2], start[2]) + _OVER_M
        way = [(*here[:2], height), (*start[:2], height), start]
        for before, after in pairwise([here, *way]):
            if met := obstruction(course, before, after) or scraped(course, before, after):
                why = f"{met} stands in the way to the start: fly away from it first"
    return RaceState(
        way=tuple(way),
        way_envelope=way_envelope(plan.envelope, facts, way),
        stage=Stage.OVER if why else Stage.APPROACH,
        since_s=now_s,
        why=why,
    )


def _tops(course: Course) -> list[float]:
    """Heights of what stands on the course, m."""
    tops = [gate.centre[2] + gate.half_size + gate.frame for gate in course.gates]
    if course.poles is not None:
        tops += np.ravel(course.poles.base[2] + course.poles.height).tolist()
    return tops


def barred(course: Course, here: Vector, there: Vector) -> bool:
    """Whether the straight way leads through a gate or too near to a frame."""
    crossed = cross_gate(course.table, here, there)
    through = bool(np.any(crossed.passed | crossed.reverse))
    return through or obstruction(course, here, there, clearance=2.0) is not None


def advance(state: RaceState, tick: Tick, plan: RacePlan) -> RaceState:
    """The state after one tick."""
    match state.stage:
        case Stage.APPROACH | Stage.SETTLE:
            return _approach(state, tick, plan)
        case Stage.RACE:
            return _race(state, tick, plan)
        case Stage.BRAKE:
            return _brake(state, tick, plan)
        case Stage.OVER:
            return state


def aim(state: RaceState, position: Vector) -> Vector:
    """The place to ask the vehicle for now: on its way, at most a reach ahead of it, so that it
    flies there at a walking pace whatever its own limits are."""
    goal = state.way[0]
    away = dist(position, goal)
    share = min(1.0, _REACH_M / away) if away > 0.0 else 1.0
    x, y, z = (here + share * (there - here) for here, there in zip(position, goal, strict=True))
    return x, y, z


def yaw_of(attitude: Quaternion) -> float:
    """Where the nose points, rad counter-clockwise from east."""
    x, y, _ = body_x_axis(attitude)
    return atan2(y, x)


def _approach(state: RaceState, tick: Tick, plan: RacePlan) -> RaceState:
    facts = tick.facts
    if why := link_breach(plan.envelope, facts):
        return _abort(state, tick, why)
    if why := motion_breach(state.way_envelope, facts):
        return replace(state, stage=Stage.BRAKE, since_s=tick.now_s, why=why)
    if len(state.way) > 1:
        if dist(facts.position, state.way[0]) < _ARRIVED_M:
            state = replace(state, way=state.way[1:])
        return _in_time(state, tick)
    error = remainder(plan.start_yaw - yaw_of(facts.attitude), tau)
    near = dist(facts.position, plan.start) < _AT_START_M
    still = near and _speed(facts) < _STILL_M_S and abs(error) < _YAW_WITHIN_RAD
    if near and state.stage is Stage.APPROACH:
        state = replace(state, stage=Stage.SETTLE, since_s=tick.now_s)
    if not still:
        return _in_time(replace(state, still_since_s=None), tick)
    since = tick.now_s if state.still_since_s is None else state.still_since_s
    if tick.now_s - since >= SETTLE_S:
        return replace(state, stage=Stage.RACE, since_s=tick.now_s)
    return replace(state, still_since_s=since)


def _in_time(state: RaceState, tick: Tick) -> RaceState:
    limit_s = APPROACH_S if state.stage is Stage.APPROACH else SETTLE_MOST_S
    if tick.now_s - state.since_s <= limit_s:
        return state
    where = "reach" if state.stage is Stage.APPROACH else "come to rest at"
    return _abort(state, tick, f"the vehicle did not {where} the start within {limit_s:.0f} s")


def _race(state: RaceState, tick: Tick, plan: RacePlan) -> RaceState:
    braking = replace(state, stage=Stage.BRAKE, since_s=tick.now_s)
    if tick.passed >= plan.course.passages:
        return replace(braking, finished=True)
    if why := link_breach(plan.envelope, tick.facts):
        return _abort(state, tick, why)
    why = breach(plan.envelope, tick.facts, tick.action)
    if why is None and tick.hit:
        why = f"it met {tick.hit}"
    if why is None and tick.now_s - state.since_s > plan.time_limit_s:
        why = f"the course was not finished within {plan.time_limit_s:.0f} s"
    return state if why is None else replace(braking, why=why)


def _brake(state: RaceState, tick: Tick, plan: RacePlan) -> RaceState:
    if why := link_breach(plan.envelope, tick.facts):
        return _abort(state, tick, state.why or why)
    if _speed(tick.facts) < BRAKED_M_S or tick.now_s - state.since_s > BRAKE_S:
        return _abort(state, tick, state.why)
    return state


def _abort(state: RaceState, tick: Tick, why: str) -> RaceState:
    return replace(state, stage=Stage.OVER, since_s=tick.now_s, why=why)


def _speed(facts: Facts) -> float:
    return sqrt(sum(part * part for part in facts.velocity))
