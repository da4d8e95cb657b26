"""What viewers see: the newest value, in JSON that every parser accepts."""

from __future__ import annotations

import asyncio
import json
import math
from contextlib import aclosing

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nav_msgs.msg import Odometry
from sensor_msgs.msg import BatteryState

from racer.control.pulse import Pulse
from racer.control.telemetry import (
    STATE_SILENCE_S,
    UNKNOWN_STATE,
    TelemetryHub,
    battery_fields,
    odometry_fields,
    state_fields,
)

FLYING = UNKNOWN_STATE | {"connected": True, "in_air": True, "phase": "hovering", "message": ""}


def odometry(*, east: float = 0.0, yaw_deg: float = 0.0, forward: float = 0.0) -> Odometry:
    message = Odometry()
    message.header.stamp.sec, message.header.stamp.nanosec = 1_700_000_000, 250_000_000
    message.pose.pose.position.x = east
    message.pose.pose.orientation.w = math.cos(math.radians(yaw_deg) / 2)
    message.pose.pose.orientation.z = math.sin(math.radians(yaw_deg) / 2)
    message.twist.twist.linear.x = forward
    return message


class Clock:
    """Seconds that the test sets."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize(
    ("yaw_deg", "heading_deg", "velocity"),
    [(0, 90, [2, 0, 0]), (90, 0, [0, 2, 0]), (180, 270, [-2, 0, 0]), (-90, 180, [0, -2, 0])],
)
def test_yaw_counts_from_east_and_heading_from_north(
    yaw_deg: float, heading_deg: float, velocity: list[float]
) -> None:
    fields = odometry_fields(odometry(yaw_deg=yaw_deg, forward=2.0))
    assert fields["yaw_deg"] == pytest.approx(yaw_deg)
    assert fields["heading_deg"] == pytest.approx(heading_deg)
    assert fields["velocity"] == pytest.approx(velocity, abs=1e-5)
    assert fields["velocity_body"] == [2.0, 0.0, 0.0]
    assert fields["stamp"] == pytest.approx(1_700_000_000.25)


unit = st.floats(-1, 1, allow_nan=False)


@given(st.tuples(unit, unit, unit, unit), st.tuples(unit, unit, unit))
def test_rotation_keeps_the_speed_and_the_heading_is_a_compass(
    q: tuple[float, ...], v: tuple[float, ...]
) -> None:
    norm = math.hypot(*q)
    if norm < 1e-3:
        return
    message = Odometry()
    orientation, linear = message.pose.pose.orientation, message.twist.twist.linear
    orientation.w, orientation.x, orientation.y, orientation.z = (part / norm for part in q)
    linear.x, linear.y, linear.z = v
    fields = odometry_fields(message)
    assert math.hypot(*fields["velocity"]) == pytest.approx(math.hypot(*v), abs=1e-5)
    assert 0.0 <= fields["heading_deg"] < 360.0


@given(st.lists(st.floats(width=32), min_size=10, max_size=10))
def test_whatever_arrives_leaves_as_strict_json(numbers: list[float]) -> None:
    message = Odometry()
    pose, twist = message.pose.pose, message.twist.twist
    pose.position.x, pose.position.y, pose.position.z = numbers[:3]
    orientation = pose.orientation
    orientation.w, orientation.x, orientation.y, orientation.z = numbers[3:7]
    twist.linear.x, twist.linear.y, twist.linear.z = numbers[7:10]
    hub = TelemetryHub(Pulse.__new__(Pulse))
    hub._changed = lambda: None  # type: ignore[method-assign]  # no loop here
    hub.update_odometry(message)
    hub.update_battery(BatteryState(voltage=math.nan, percentage=math.inf))
    latest = hub.latest()
    assert latest is not None
    json.dumps(latest, allow_nan=False)
    assert latest["battery"] == {"voltage_v": None, "remaining": None}


def test_the_battery_says_what_it_knows() -> None:
    fields = battery_fields(BatteryState(voltage=12.5, percentage=math.nan))
    assert fields == {"voltage_v": 12.5, "remaining": None}


@pytest.mark.parametrize("text", ["", "nonsense", "[]", "3", "null", '{"connected": tru'])
def test_a_state_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        state_fields(text)


def test_a_state_of_wrong_types_becomes_the_safe_default() -> None:
    fields = state_fields('{"connected": "yes", "armed": true, "phase": 3, "extra": 1}')
    assert fields == UNKNOWN_STATE | {"armed": True}


def test_the_hub_has_nothing_before_the_first_position_and_ages_it_afterwards() -> None:
    async def story() -> None:
        clock = Clock()
        hub = TelemetryHub(Pulse(), clock)
        hub.update_state(FLYING)
        assert hub.latest() is None
        assert not hub.connected
        hub.update_odometry(odometry(east=3.0))
        assert hub.connected
        clock.now += 0.5
        latest = hub.latest()
        assert latest is not None
        assert latest["position"] == [3.0, 0.0, 0.0]
        assert latest["age_s"] == 0.5
        assert latest["phase"] == "hovering"

        clock.now += STATE_SILENCE_S
        assert not hub.connected
        latest = hub.latest()
        assert latest is not None
        assert latest["phase"] == "disconnected", "a dead controller's last word is not the truth"
        assert "silent for" in latest["message"]

        hub.update_state(FLYING)
        hub.update_odometry(odometry(east=4.0))
        hub.forget_vehicle()
        assert not hub.connected
        latest = hub.latest()
        assert latest is not None
        assert latest["age_s"] is None

    asyncio.run(story())


def test_after_a_vehicles_death_the_controller_must_have_noticed_it() -> None:
    async def story() -> None:
        clock = Clock()
        hub = TelemetryHub(Pulse(), clock)

        def hear(*, connected: bool = True) -> bool:
            hub.update_odometry(odometry())
            hub.update_state(FLYING | {"connected": connected})
            return hub.connected

        assert hear()
        hub.forget_vehicle()
        assert not hear(), "the next vehicle's first position, the last one's state"
        assert not hear(connected=False)
        assert hear(), "lost and found again"

        hub.forget_vehicle()
        for _ in range(30):
            assert not hear()
            clock.now += 0.1
        clock.now += 0.1
        assert hear(), "a controller that says nothing for so long lost nothing"

    asyncio.run(story())


def test_a_slow_viewer_gets_the_newest_value_and_never_a_backlog() -> None:
    async def story() -> None:
        hub = TelemetryHub(Pulse())
        hub.update_odometry(odometry(east=0.0))
        seen = []
        async with aclosing(hub.stream(50.0)) as stream:
            async for value in stream:
                seen.append(value["position"][0])
                if len(seen) == 3:
                    break
                for _ in range(100):  # the viewer hangs while a hundred values arrive
                    hub.update_odometry(odometry(east=hub._version))
        assert seen[1:] == [100.0, 200.0]

    asyncio.run(story())


@pytest.mark.parametrize("hz", [5.0, 20.0, 50.0])
def test_viewers_get_the_rate_they_ask_for(hz: float) -> None:
    async def feed(hub: TelemetryHub) -> None:
        while True:
            hub.update_odometry(odometry())
            await asyncio.sleep(0.005)

    async def story() -> None:
        hub = TelemetryHub(Pulse())
        feeder = asyncio.create_task(feed(hub))
        frames = 0
        loop = asyncio.get_running_loop()
        start = loop.time()
        async with aclosing(hub.stream(hz)) as stream:
            async for _ in stream:
                frames += 1
                if loop.time() - start > 1.0:
                    break
        feeder.cancel()
        assert frames == pytest.approx(hz, rel=0.25)

    asyncio.run(story())


def test_with_nothing_new_the_last_value_comes_again_with_its_age() -> None:
    async def story() -> None:
        hub = TelemetryHub(Pulse())
        hub.update_odometry(odometry())
        ages = []
        async with aclosing(hub.stream(10.0)) as stream:
            async for value in stream:
                ages.append(value["age_s"])
                if len(ages) == 2:
                    break
        assert 0.9 < ages[1] - ages[0] < 1.5

    asyncio.run(story())
