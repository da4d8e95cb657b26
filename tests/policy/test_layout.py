"""The tables that name observations and actions say what racer.sim.interface computes."""

from __future__ import annotations

import math
from typing import get_args

import numpy as np
import pytest

from racer.geometry.gates import GateFrame, in_gate_axes
from racer.geometry.obstacles import Cylinder
from racer.geometry.rotation import body_z_axis, conjugate, rotate_inverse
from racer.policy.layout import Element, action_layout, observation_layout
from racer.sim.interface import (
    ActionSpace,
    Limits,
    RateLimits,
    Sight,
    observation,
    observation_size,
    rate_setpoint,
    velocity_setpoint,
)

SPACES: tuple[ActionSpace, ...] = get_args(ActionSpace)
UP = (0.0, 0.0, 1.0)
POLES = ((1.5, 2.2, 0.0, 0.1, 4.0), (-39.0, 29.5, 1.0, 0.3, 2.0), (2.4, 0.8, 2.5, 0.2, 1.0))

FREE = Limits(velocity=50.0, velocity_unit=8.0, climb=50.0, descent=50.0, yaw=5.0, yaw_unit=1.5)


def gate(centre: tuple[float, float, float], yaw: float) -> GateFrame:
    c, s = math.cos(yaw), math.sin(yaw)
    return GateFrame(centre, (c, s, 0.0), (-s, c, 0.0), UP, 0.75, 0.15, 0.0)


def sight(position: tuple[float, float, float]) -> Sight:
    """Yawed, tilted, moving: no number of it is zero or equals another."""
    q = np.array([0.9, 0.1, -0.2, 0.35])
    x, y, z, radius, height = np.array(POLES).T
    qw, qx, qy, qz = (float(part) for part in q / np.linalg.norm(q))
    return Sight(
        position=position,
        velocity=(1.0, -2.0, 0.5),
        attitude=(qw, qx, qy, qz),
        rates=(0.3, -0.4, 0.6),
        target=gate((4.0, 3.0, 2.0), 0.4),
        after=gate((9.0, 1.0, 3.0), -1.1),
        action=(0.2, -0.7, 1.5, -1.5),
        ground=0.0,
        obstacles=Cylinder((x, y, z), radius, height),
    )


def values(seen: Sight, space: ActionSpace) -> dict[str, float]:
    """Every named quantity in SI units, computed by other means than the interface's."""
    w, x, y, z = seen.attitude
    yaw = math.atan2(2 * (w * z + x * y), 1 - 2 * (y * y + z * z))

    def turned(v: tuple[float, ...]) -> tuple[float, ...]:
        if space == "ctbr":
            return rotate_inverse(seen.attitude, (v[0], v[1], v[2]))
        c, s = math.cos(yaw), math.sin(yaw)
        return c * v[0] + s * v[1], c * v[1] - s * v[0], v[2]

    to = tuple(b - a for a, b in zip(seen.position, seen.target.centre, strict=True))
    between = tuple(b - a for a, b in zip(seen.target.centre, seen.after.centre, strict=True))
    vectors = {
        "target": turned(to),
        "target_direction": turned(seen.target.forward),
        "after_target": turned(between),
        "after_direction": turned(seen.after.forward),
        "velocity": turned(seen.velocity),
        "thrust_direction": turned(body_z_axis(seen.attitude)),
        "world_up": body_z_axis(conjugate(seen.attitude)),
    }
    named = {
        f"{name}_{axis}": part
        for name, vector in vectors.items()
        for axis, part in zip(("forward", "left", "up"), vector, strict=True)
    }
    place = in_gate_axes(seen.target, seen.position)
    named |= dict(zip(("place_ahead", "place_left", "place_up"), place, strict=True))
    named |= dict(zip(("rate_x", "rate_y", "rate_z"), seen.rates, strict=True))
    last = ("last_roll_rate", "last_pitch_rate", "last_yaw_rate", "last_thrust")
    named |= dict(zip(last, seen.action, strict=True))
    poles = sorted(POLES, key=lambda pole: math.dist(pole[:2], seen.position[:2]))
    for number, (east, north, foot, radius, height) in enumerate(poles, 1):
        nearest = (east, north, min(max(seen.position[2], foot), foot + height))
        offset = turned(tuple(b - a for a, b in zip(seen.position, nearest, strict=True)))
        for axis, part in zip(("forward", "left", "up"), offset, strict=True):
            named[f"pole_{number}_{axis}"] = part
        aside = max(math.dist((east, north), seen.position[:2]) - radius, 0.0)
        named[f"pole_{number}_clearance"] = math.hypot(aside, nearest[2] - seen.position[2])
    return named | {"height": seen.position[2] - seen.ground}


def told(element: Element, value: float) -> float:
    low = -math.inf if element.low is None else element.low
    high = math.inf if element.high is None else element.high
    return min(max(element.scale * value, low), high)


@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize("position", [(1.0, 2.0, 1.5), (-40.0, 30.0, 25.0), (2.3, 0.9, 4.0)])
@pytest.mark.parametrize("poles", [0, 1, 3])
def test_an_observation_is_what_its_table_says(
    space: ActionSpace, position: tuple[float, float, float], poles: int
) -> None:
    seen = sight(position)
    given = [float(number) for number in observation(seen, space, np, seen_obstacles=poles)]
    named = values(seen, space)
    layout = observation_layout(space, poles)
    assert len(given) == len(layout) == observation_size(space, poles)
    for number, element in zip(given, layout, strict=True):
        assert number == pytest.approx(told(element, named[element.name]), abs=1e-6), element.name
    assert len({element.name for element in layout}) == len(layout)


@pytest.mark.parametrize("space", SPACES)
def test_poles_that_a_course_lacks_are_far_away_on_no_side(space: ActionSpace) -> None:
    seen = sight((1.0, 2.0, 1.5))
    three = observation(seen, space, np, seen_obstacles=3)
    four = observation(seen, space, np, seen_obstacles=4)
    assert four[: len(three)] == three
    *offset, clearance = four[len(three) :]
    assert not any(offset)
    assert clearance == 2.0
    bare = observation(seen._replace(obstacles=None), space, np, seen_obstacles=1)
    assert list(bare[-len(offset) - 1 :]) == [*offset, clearance]


def test_a_velocity_action_sinks_no_faster_than_it_may() -> None:
    limits = FREE._replace(climb=3.0, descent=1.5)
    level = (1.0, 0.0, 0.0, 0.0)
    rises = [
        velocity_setpoint((0.0, 0.0, up, 0.0), level, limits, np)[0][2] for up in (1.0, -1.0, -0.1)
    ]
    assert rises == pytest.approx([3.0, -1.5, -0.8], rel=1e-5)


def test_a_velocity_action_asks_for_its_scale() -> None:
    limits = FREE
    layout = action_layout("velocity", (8.0, 8.0, 8.0, 1.5))
    level = (1.0, 0.0, 0.0, 0.0)
    (east, north, up), turn = velocity_setpoint((0.1, 0.2, 0.3, 0.4), level, limits, np)
    asked = [element.scale * n for element, n in zip(layout, (0.1, 0.2, 0.3, 0.4), strict=True)]
    assert [east, north, up, turn] == pytest.approx(asked, rel=1e-5)


def test_a_rate_action_asks_for_its_scale_within_one() -> None:
    limits = RateLimits(hover=0.5, tilt_rate=4.0, yaw_rate=3.0)
    layout = action_layout("ctbr", (4.0, 4.0, 3.0, 1.0))
    action = (0.5, -2.0, 1.0, 0.0)
    rates, collective = rate_setpoint(action, limits, np)
    for element, number, rate in zip(layout, action, rates, strict=False):
        assert float(rate) == pytest.approx(element.scale * min(max(number, -1.0), 1.0))
    assert float(collective) == pytest.approx(0.5)
