"""MAVSDK's own plugins fly the vehicle: what works here is what works on PX4."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from typing import Any

import pytest
from mavsdk.asyncio import ComponentType, Configuration, Mavsdk, System
from mavsdk.asyncio.plugins.action import ActionAsync, ActionError
from mavsdk.asyncio.plugins.offboard import OffboardAsync, PositionNedYaw, VelocityBodyYawspeed
from mavsdk.asyncio.plugins.param import ParamAsync, ParamError
from mavsdk.asyncio.plugins.telemetry import FlightMode, LandedState, TelemetryAsync

from tests.autopilot.process import START_S, running_vehicle

SPEED = 3.0


@asynccontextmanager
async def connected(instance: int) -> AsyncIterator[System]:
    mavsdk = Mavsdk(Configuration.create_with_component_type(ComponentType.GROUND_STATION))
    try:
        await mavsdk.add_any_connection(f"udpin://127.0.0.1:{14540 + instance}")
        system = await mavsdk.first_autopilot(timeout_s=START_S)
        assert system is not None
        yield system
    finally:
        mavsdk.destroy()


async def until(stream: Any, wanted: Callable[[Any], bool], timeout_s: float = 15.0) -> Any:
    """The first value that is wanted; a telling error if none comes."""
    value = None

    async def search() -> Any:
        nonlocal value
        async with aclosing(stream) as values:
            async for value in values:
                if wanted(value):
                    return value
        raise AssertionError("the stream ended")

    try:
        return await asyncio.wait_for(search(), timeout_s)
    except TimeoutError:
        raise AssertionError(f"not seen within {timeout_s} s; the last value was {value}") from None


def level(sample: Any) -> bool:
    """Standing still at the takeoff height."""
    velocity = sample.velocity
    speed = math.hypot(velocity.north_m_s, velocity.east_m_s, velocity.down_m_s)
    return abs(sample.position.down_m + 2.5) < 0.3 and speed < 0.1


async def fly(instance: int) -> None:
    async with connected(instance) as system:
        action, telemetry = ActionAsync(system), TelemetryAsync(system)
        offboard, param = OffboardAsync(system), ParamAsync(system)
        try:
            await check_parameters(param)
            await until(telemetry.subscribe_health_all_ok(), bool)
            health = await until(telemetry.subscribe_health(), lambda h: h.is_armable)
            assert health.is_home_position_ok
            await action.arm()
            await action.takeoff()
            await until(telemetry.subscribe_landed_state(), lambda s: s == LandedState.TAKING_OFF)
            await until(telemetry.subscribe_flight_mode(), lambda m: m == FlightMode.HOLD)
            await until(telemetry.subscribe_in_air(), bool)
            await until(telemetry.subscribe_position_velocity_ned(), level)
            with pytest.raises(ActionError, match="DENIED"):
                await action.disarm()
            await fly_offboard(offboard, telemetry)
            await go_somewhere(action, telemetry)
            battery = await until(telemetry.subscribe_battery(), lambda b: b.voltage_v > 0)
            assert 80.0 < battery.remaining_percent <= 100.0
            await action.land()
            await until(telemetry.subscribe_landed_state(), lambda s: s == LandedState.LANDING)
            await until(telemetry.subscribe_landed_state(), lambda s: s == LandedState.ON_GROUND)
            await until(telemetry.subscribe_armed(), lambda armed: not armed)
        finally:
            for plugin in (action, telemetry, offboard, param):
                plugin.destroy()


async def check_parameters(param: Any) -> None:
    assert await param.get_param_float("COM_OF_LOSS_T") == 1.0
    await param.set_param_int("COM_OBL_RC_ACT", 5)
    assert await param.get_param_int("COM_OBL_RC_ACT") == 5
    with pytest.raises(ParamError):
        await param.get_param_int("NO_SUCH_PARAM")


async def fly_offboard(offboard: Any, telemetry: Any) -> None:
    """Forward, turn left, forward again: each time 2 m/s along the nose."""
    await offboard.set_velocity_body(VelocityBodyYawspeed(0.0, 0.0, 0.0, 0.0))
    await offboard.start()
    await until(telemetry.subscribe_flight_mode(), lambda m: m == FlightMode.OFFBOARD)
    await offboard.set_velocity_body(VelocityBodyYawspeed(2.0, 0.0, 0.0, 0.0))
    await until(telemetry.subscribe_velocity_ned(), lambda v: abs(v.north_m_s - 2.0) < 0.1)
    await offboard.set_velocity_body(VelocityBodyYawspeed(0.0, 0.0, 0.0, -30.0))
    await until(telemetry.subscribe_attitude_euler(), lambda a: -95.0 < a.yaw_deg < -80.0)
    await offboard.set_velocity_body(VelocityBodyYawspeed(2.0, 0.0, 0.0, 0.0))
    velocity = await until(
        telemetry.subscribe_velocity_ned(),
        lambda v: abs(math.hypot(v.north_m_s, v.east_m_s) - 2.0) < 0.1 and v.east_m_s < -1.8,
    )
    attitude = await until(telemetry.subscribe_attitude_euler(), lambda _: True)
    course = math.degrees(math.atan2(velocity.east_m_s, velocity.north_m_s))
    assert math.remainder(course - attitude.yaw_deg, 360.0) == pytest.approx(0.0, abs=8.0)
    await offboard.set_position_ned(PositionNedYaw(1.0, 2.0, -3.0, 90.0))
    await until(
        telemetry.subscribe_position_velocity_ned(),
        lambda s: math.dist((s.position.north_m, s.position.east_m), (1.0, 2.0)) < 0.3,
    )
    await offboard.stop()
    await until(telemetry.subscribe_flight_mode(), lambda m: m == FlightMode.HOLD)


async def go_somewhere(action: Any, telemetry: Any) -> None:
    """Three metres north of home, looking east."""
    home = await until(telemetry.subscribe_home(), lambda _: True)
    latitude = home.latitude_deg + math.degrees(3.0 / 6_371_000.0)
    height = home.absolute_altitude_m + 2.0
    await action.goto_location(latitude, home.longitude_deg, height, 90.0)
    await until(
        telemetry.subscribe_position_velocity_ned(),
        lambda s: math.dist((s.position.north_m, s.position.down_m), (3.0, -2.0)) < 0.3,
    )
    await until(telemetry.subscribe_attitude_euler(), lambda a: abs(a.yaw_deg - 90.0) < 5.0)


def test_mavsdk_flies_it(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("mavsdk")
    with running_vehicle(folder, "--speed-factor", str(SPEED)) as (instance, _):
        asyncio.run(fly(instance))
