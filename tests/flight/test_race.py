"""A policy's flight, state by event; no clock and no vehicle."""

from __future__ import annotations

from dataclasses import replace
from math import dist, nan
from pathlib import Path

import numpy as np
import pytest

from racer.flight.envelope import Facts
from racer.flight.plan import RacePlan
from racer.flight.px4 import Vector
from racer.flight.race import (
    APPROACH_S,
    BRAKE_S,
    BRAKED_M_S,
    SETTLE_MOST_S,
    SETTLE_S,
    RaceState,
    Stage,
    Tick,
    advance,
    aim,
    begin,
)
from racer.geometry.obstacles import Cylinder
from tests.flight.policies import NORTH, steering_plan

CALM = (0.0, 0.0, 0.0, 0.0)
START = (0.0, 0.0, 2.5)


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> RacePlan:
    folder: Path = tmp_path_factory.mktemp("policy")
    return steering_plan(folder)


def facts(position: Vector = START, **changes: object) -> Facts:
    well = Facts(True, "OFFBOARD", True, False, 0.01, 0.001, 0.0, position, (0.0, 0.0, 0.0), NORTH)
    return well._replace(**changes)


def tick(now_s: float, position: Vector = START, **changes: object) -> Tick:
    own = {key: changes.pop(key) for key in ("action", "passed", "hit") if key in changes}
    return Tick(now_s=now_s, facts=facts(position, **changes), **({"action": CALM} | own))


def racing(plan: RacePlan, since_s: float = 100.0) -> RaceState:
    return replace(begin(plan, facts(), 0.0), stage=Stage.RACE, since_s=since_s)


def test_from_away_to_the_race_and_its_end(plan: RacePlan) -> None:
    state = begin(plan, facts((3.0, -2.0, 2.5)), 100.0)
    assert state.stage is Stage.APPROACH
    state = advance(state, tick(101.0, (1.0, -1.0, 2.5)), plan)
    assert state.stage is Stage.APPROACH
    state = advance(state, tick(102.0, (0.1, -0.1, 2.5), velocity=(0.0, 1.0, 0.0)), plan)
    assert state.stage is Stage.SETTLE  # there, but not still
    for now_s in (103.0, 103.0 + 0.9 * SETTLE_S):
        state = advance(state, tick(now_s, (0.1, 0.0, 2.5)), plan)
        assert state.stage is Stage.SETTLE
    state = advance(state, tick(103.1 + SETTLE_S), plan)
    assert state.stage is Stage.RACE
    state = advance(state, tick(110.0, (1.0, 8.0, 2.8), passed=1), plan)
    assert state.steering
    fast = (0.0, 3.0, 0.0)
    state = advance(state, tick(111.0, (1.0, 9.5, 2.8), passed=2, velocity=fast), plan)
    assert state.stage is Stage.BRAKE
    assert state.finished
    state = advance(state, tick(111.1, (1.0, 9.8, 2.8), velocity=fast), plan)
    assert state.steering
    state = advance(state, tick(111.5, velocity=(0.0, 0.9 * BRAKED_M_S, 0.0)), plan)
    assert state.stage is Stage.OVER
    assert not state.steering
    assert state.finished
    assert advance(state, tick(112.0, connected=False), plan) == state


def test_stillness_must_last(plan: RacePlan) -> None:
    state = begin(plan, facts(), 0.0)
    for step in range(40):  # a shove every 0.4 s
        moving = (0.0, 1.0 if step % 4 == 0 else 0.0, 0.0)
        state = advance(state, tick(0.1 * step, velocity=moving), plan)
    assert state.stage is Stage.SETTLE


@pytest.mark.parametrize(
    "changes",
    [
        {"velocity": (0.3, 0.3, 0.0)},
        {"attitude": (1.0, 0.0, 0.0, 0.0)},  # it looks east
        {"position": (0.4, 0.4, 2.5)},
    ],
)
def test_who_does_not_come_to_rest_does_not_race(
    plan: RacePlan, changes: dict[str, object]
) -> None:
    state = advance(begin(plan, facts(), 0.0), tick(0.0), plan)
    assert state.stage is Stage.SETTLE
    for step in range(30):
        place = {"position": START} | changes
        state = advance(state, tick(0.1 * step, **place), plan)  # type: ignore[arg-type] # a tick's
    assert state.stage is Stage.SETTLE
    state = advance(state, tick(SETTLE_MOST_S + 0.1, velocity=(1.0, 0.0, 0.0)), plan)
    assert state.stage is Stage.OVER
    assert "come to rest" in state.why


def test_a_start_that_is_not_reached_ends_it(plan: RacePlan) -> None:
    state = begin(plan, facts((5.0, 0.0, 2.5)), 0.0)
    state = advance(state, tick(APPROACH_S, (5.0, 0.0, 2.5)), plan)
    assert state.stage is Stage.APPROACH
    state = advance(state, tick(APPROACH_S + 0.1, (5.0, 0.0, 2.5)), plan)
    assert state.stage is Stage.OVER
    assert "did not reach the start" in state.why


@pytest.mark.parametrize("stage", [Stage.APPROACH, Stage.SETTLE, Stage.RACE])
@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"connected": False}, "heartbeat"),
        ({"mode": "HOLD"}, "left Offboard"),
        ({"flying": False}, "motors are off"),
        ({"critical": True}, "failsafe"),
        ({"age_s": 1.0}, "old"),
        ({"lag_s": 1.0}, "late"),
        ({"jump_m": 3.0}, "jumped"),
        ({"velocity": (nan, 0.0, 0.0)}, "finite"),
    ],
)
def test_whatever_breaks_the_link_ends_every_stage(
    plan: RacePlan, stage: Stage, changes: dict[str, object], says: str
) -> None:
    state = advance(replace(racing(plan), stage=stage), tick(100.1, **changes), plan)  # type: ignore[arg-type] # a tick's
    assert state.stage is Stage.OVER
    assert says in state.why


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"position": (0.0, 0.0, 12.0)}, "outside"),
        ({"velocity": (9.0, 0.0, 0.0)}, "speed"),
        ({"action": (0.0, nan, 0.0, 0.0)}, "finite"),
        ({"hit": "pole 1"}, "it met pole 1"),
    ],
)
def test_what_ends_a_race_while_the_vehicle_can_be_steered_is_braked(
    plan: RacePlan, changes: dict[str, object], says: str
) -> None:
    state = advance(racing(plan), tick(101.0, **changes), plan)  # type: ignore[arg-type] # a tick's
    assert state.stage is Stage.BRAKE
    assert not state.finished
    assert says in state.why
    fast = {"velocity": (0.0, 5.0, 0.0)}
    assert advance(state, tick(101.0 + BRAKE_S, **fast), plan) == state  # type: ignore[arg-type] # a tick's
    for end in (
        tick(101.1),
        tick(101.1 + BRAKE_S, velocity=(0.0, 5.0, 0.0)),
        tick(101.1, velocity=(0.0, 5.0, 0.0), mode="POSCTL"),
        tick(101.1, velocity=(0.0, 5.0, 0.0), age_s=0.4),
    ):
        over = advance(state, end, plan)
        assert over.stage is Stage.OVER
        assert over.why == state.why


def test_a_race_has_the_trainings_time(plan: RacePlan) -> None:
    last = 100.0 + plan.time_limit_s
    assert advance(racing(plan), tick(last - 0.1), plan).stage is Stage.RACE
    late = advance(racing(plan), tick(last + 0.1), plan)
    assert late.stage is Stage.BRAKE
    assert "not finished within" in late.why


def test_who_has_passed_the_last_gate_has_finished_whatever_comes(plan: RacePlan) -> None:
    state = advance(racing(plan), tick(101.0, passed=2, velocity=(9.0, 0.0, 0.0)), plan)
    assert state.stage is Stage.BRAKE


def test_who_leaves_the_way_to_the_start_is_braked(plan: RacePlan) -> None:
    state = begin(plan, facts((5.0, 0.0, 2.5)), 0.0)
    strayed = advance(state, tick(1.0, (5.0, 0.0, 14.0)), plan)
    assert strayed.stage is Stage.BRAKE
    assert "height 14.0 m is outside" in strayed.why
    settling = replace(state, stage=Stage.SETTLE, way=(START,))
    hanging = advance(settling, tick(1.0, attitude=(0.0, 1.0, 0.0, 0.0)), plan)
    assert hanging.stage is Stage.BRAKE
    assert "tilt of 180" in hanging.why


def test_a_finished_race_tells_what_kept_it_from_braking(plan: RacePlan) -> None:
    state = advance(racing(plan), tick(101.0, passed=2), plan)
    lost = advance(state, tick(101.1, connected=False), plan)
    assert lost.stage is Stage.OVER
    assert lost.finished
    assert "heartbeat was lost" in lost.why


def test_the_way_over_the_course_clears_its_highest_pole(plan: RacePlan) -> None:
    tall = Cylinder(
        (np.array([4.0]), np.array([9.0]), np.array([0.0])), np.array([0.2]), np.array([30.0])
    )
    plan = replace(plan, course=replace(plan.course, poles=tall))
    assert begin(plan, facts((0.0, 6.0, 2.5)), 0.0).way[0] == (0.0, 6.0, 31.0)


def test_nobody_climbs_into_a_gate_above(plan: RacePlan) -> None:
    state = begin(plan, facts((1.0, 9.0, 0.4)), 0.0)  # below the second gate
    assert not state.steering
    assert state.why == "the frame of gate 2 stands in the way to the start: fly away from it first"


def test_the_way_to_the_start_is_straight_where_it_is_free(plan: RacePlan) -> None:
    assert begin(plan, facts((3.0, -3.0, 2.5)), 0.0).way == (START,)
    assert begin(plan, facts((5.0, 10.0, 7.0)), 0.0).way == (START,)


@pytest.mark.parametrize("here", [(0.0, 6.0, 2.5), (1.0, 11.0, 2.8), (8.0, 18.0, 2.5)])
def test_where_a_gate_or_a_pole_stands_in_the_way_it_leads_over_them(
    plan: RacePlan, here: Vector
) -> None:
    way = begin(plan, facts(here), 0.0).way
    over, down, start = way
    assert start == START
    assert over[:2] == here[:2]
    assert down[:2] == START[:2]
    assert over[2] == down[2] == pytest.approx(4.0 + 1.0)  # the pole is the highest
    state = begin(plan, facts(here), 0.0)
    for place in (over, down):
        assert aim(state, here)[2] > here[2]
        state = advance(state, tick(1.0, place), plan)
        here = place
        break
    assert state.way == (down, start)
    state = advance(state, tick(2.0, down), plan)
    assert state.way == (start,)


def test_a_place_is_approached_at_walking_pace(plan: RacePlan) -> None:
    state = begin(plan, facts((6.0, 0.0, 2.5)), 0.0)
    assert aim(state, (6.0, 0.0, 2.5)) == pytest.approx((4.0, 0.0, 2.5))
    assert aim(state, (1.0, 0.0, 2.5)) == pytest.approx(START)
    assert aim(state, START) == START
    assert dist(aim(state, (90.0, 20.0, 9.0)), (90.0, 20.0, 9.0)) == pytest.approx(2.0)
