"""The safety envelope, case by case: one fact beyond its limit at a time, and what it says."""

from __future__ import annotations

from math import cos, inf, nan, radians, sin

import pytest

from racer.flight.envelope import (
    Envelope,
    Facts,
    breach,
    link_breach,
    motion_breach,
    way_envelope,
)
from tests.flight.policies import NORTH

ENVELOPE = Envelope(
    bounds_min=(-9.0, -7.0, 0.25), bounds_max=(9.0, 19.0, 9.0), speed_m_s=5.7, tilt_deg=70.0
)
WELL = Facts(
    connected=True,
    mode="OFFBOARD",
    flying=True,
    critical=False,
    age_s=0.02,
    lag_s=0.001,
    jump_m=0.02,
    position=(1.0, 2.0, 2.5),
    velocity=(3.0, 2.0, -1.0),
    attitude=NORTH,
)
CALM = (0.1, -0.2, 0.0, 0.4)


def rolled(degrees: float) -> tuple[float, float, float, float]:
    return cos(radians(degrees) / 2), sin(radians(degrees) / 2), 0.0, 0.0


def test_a_flight_as_it_should_be_goes_on() -> None:
    assert breach(ENVELOPE, WELL, CALM) is None
    assert link_breach(ENVELOPE, WELL) is None


LINK = [
    ({"connected": False}, "heartbeat was lost"),
    ({"mode": "HOLD"}, "left Offboard for HOLD"),
    ({"mode": "POSCTL"}, "left Offboard for POSCTL"),
    ({"flying": False}, "on the ground or its motors are off"),
    ({"critical": True}, "went into failsafe"),
    ({"age_s": 0.42}, "0.42 s old (limit 0.40 s)"),  # 1.5 m at 3.74 m/s
    ({"age_s": 0.51, "velocity": (0.1, 0.0, 0.0)}, "0.51 s old (limit 0.50 s)"),
    ({"age_s": 0.3, "velocity": (0.0, 5.5, 0.0)}, "0.30 s old (limit 0.27 s)"),
    ({"age_s": inf}, "inf s old"),
    ({"age_s": nan}, "nan s old"),
    ({"lag_s": 0.42}, "0.42 s late (limit 0.40 s)"),
    ({"lag_s": nan}, "nan s late"),
    ({"jump_m": 0.8}, "jumped by 0.8 m"),
    ({"jump_m": nan}, "jumped by nan m"),
    ({"position": (1.0, nan, 2.5)}, "no finite number"),
    ({"velocity": (inf, 0.0, 0.0)}, "no finite number"),
    ({"attitude": (nan, 0.0, 0.0, 1.0)}, "no finite number"),
]
PLACE = [
    ({"position": (-9.1, 0.0, 2.0)}, "east -9.1 m is outside"),
    ({"position": (9.1, 0.0, 2.0)}, "east 9.1 m is outside"),
    ({"position": (0.0, -7.1, 2.0)}, "north -7.1 m is outside"),
    ({"position": (0.0, 19.1, 2.0)}, "north 19.1 m is outside"),
    ({"position": (0.0, 0.0, 0.2)}, "height 0.2 m is outside"),
    ({"position": (0.0, 0.0, 9.1)}, "height 9.1 m is outside"),
    ({"velocity": (4.0, 4.0, 1.0)}, "speed of 5.7 m/s"),
    ({"velocity": (0.0, 0.0, -6.0)}, "speed of 6.0 m/s"),
    ({"attitude": rolled(71.0)}, "tilt of 71°"),
    ({"attitude": rolled(180.0)}, "tilt of 180°"),
]


@pytest.mark.parametrize(("changes", "says"), LINK)
def test_who_does_not_know_or_steer_the_vehicle_stops(
    changes: dict[str, object], says: str
) -> None:
    facts = WELL._replace(**changes)
    for why in (link_breach(ENVELOPE, facts), breach(ENVELOPE, facts, CALM)):
        assert why is not None
        assert says in why


@pytest.mark.parametrize(("changes", "says"), PLACE)
def test_a_policy_flies_on_its_course_only(changes: dict[str, object], says: str) -> None:
    facts = WELL._replace(**changes)
    why = breach(ENVELOPE, facts, CALM)
    assert why is not None
    assert says in why
    assert link_breach(ENVELOPE, facts) is None  # the way to the start is not the course


@pytest.mark.parametrize("place", range(4))
@pytest.mark.parametrize("value", [nan, inf, -inf])
def test_no_answer_that_is_not_finite_is_flown(place: int, value: float) -> None:
    action = [*CALM]
    action[place] = value
    why = breach(ENVELOPE, WELL, action)
    assert why is not None
    assert "policy answered" in why


@pytest.mark.parametrize(
    "changes",
    [
        {"age_s": 0.4},
        {"lag_s": 0.4},
        {"age_s": 0.5, "velocity": (0.0, 0.0, 0.0)},
        {"jump_m": 0.75},
        {"position": (9.0, 19.0, 9.0)},
        {"position": (-9.0, -7.0, 0.25)},
        {"velocity": (0.0, 5.7, 0.0)},
        {"attitude": rolled(69.9)},
    ],
)
def test_the_limits_themselves_are_allowed(changes: dict[str, object]) -> None:
    assert breach(ENVELOPE, WELL._replace(**changes), CALM) is None


WAY = ((25.0, 2.0, 12.0), (0.0, 0.0, 12.0), (0.0, 0.0, 2.5))
HERE = WELL._replace(position=(25.0, 2.0, 2.0), velocity=(0.0, 0.0, 0.0))


def test_the_way_to_the_start_may_begin_outside_the_course_and_lead_over_it() -> None:
    way = way_envelope(ENVELOPE, HERE, WAY)
    for place in (HERE.position, *WAY, (26.5, 3.5, 13.5), (-8.9, -6.9, 1.6)):
        assert motion_breach(way, HERE._replace(position=place)) is None


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"position": (27.5, 0.0, 2.5)}, "east 27.5 m is outside"),
        ({"position": (0.0, -7.5, 2.5)}, "north -7.5 m is outside"),
        ({"position": (0.0, 0.0, 14.5)}, "height 14.5 m is outside"),
        ({"position": (0.0, 0.0, 0.2)}, "height 0.2 m is outside"),
        ({"velocity": (3.0, 3.0, 0.0)}, "speed of 4.2 m/s is above 4.0 m/s"),
        ({"attitude": rolled(75.0)}, "tilt of 75"),
    ],
)
def test_who_strays_on_the_way_to_the_start_is_stopped(
    changes: dict[str, object], says: str
) -> None:
    why = motion_breach(way_envelope(ENVELOPE, HERE, WAY), HERE._replace(**changes))  # type: ignore[arg-type] # fields of Facts
    assert why is not None
    assert says in why


def test_who_comes_in_fast_and_tilted_has_room_to_brake() -> None:
    fast = HERE._replace(velocity=(10.0, 0.0, 0.0), attitude=rolled(120.0))
    way = way_envelope(ENVELOPE, fast, WAY)
    assert motion_breach(way, fast) is None
    assert motion_breach(way, fast._replace(position=(45.0, 2.0, 3.0))) is None
    assert motion_breach(way, fast._replace(position=(60.0, 2.0, 3.0))) is not None
