"""Flights of the vehicle object, ticked as fast as the machine can: no clock, no sockets."""

from __future__ import annotations

import math
import statistics
import struct
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from racer.autopilot.guidance import Target
from racer.autopilot.modes import Mode, Result
from racer.autopilot.plant import CONTROL_HZ, Demand, Level, Plant, Snapshot
from racer.autopilot.reports import gps_raw_int, highres_imu, scaled_pressure, sys_status
from racer.autopilot.setpoints import (
    Setpoint,
    enu_quaternion,
    from_attitude_target,
    from_position_target,
)
from racer.autopilot.vehicle import Vehicle
from racer.sim.airframe import load_airframe

AIRFRAME = load_airframe("x500")
NORTH = 0.5 * math.pi
LINK_MS = 6.0  # half a period of the 100 Hz telemetry and the way there: in PX4's numbers


class Flight:
    """A vehicle with shorthands. ENU, FLU."""

    def __init__(self, vehicle: Vehicle | None = None) -> None:
        self.v = vehicle or Vehicle(AIRFRAME)
        self.texts: list[str] = []

    def run(self, seconds: float, setpoint: Setpoint | None = None) -> Flight:
        """Fly on, with the setpoint sent at 25 Hz."""
        for _ in self.ticks(seconds, setpoint):
            pass
        return self

    def ticks(self, seconds: float, setpoint: Setpoint | None = None) -> Iterator[float]:
        for tick in range(round(seconds * CONTROL_HZ)):
            if setpoint is not None and tick % 10 == 0:
                self.v.accept(setpoint)
            self.v.tick()
            self.texts += [text for _, text in self.v.take_texts()]
            yield self.v.time_s

    def up(self) -> Flight:
        """Armed and hovering after a takeoff."""
        self.run(4.0)
        assert self.v.commander.arm(self.v.time_s) == Result.ACCEPTED
        self.v.commander.takeoff(self.v.time_s)
        return self.run(9.0)

    def offboard(self, setpoint: Setpoint, seconds: float) -> Flight:
        self.v.accept(setpoint)
        assert self.v.commander.request_mode(6, 0, self.v.time_s) == Result.ACCEPTED
        return self.run(seconds, setpoint)

    @property
    def place(self) -> tuple[float, float, float]:
        return self.v.plant.snapshot[:3]

    @property
    def velocity(self) -> tuple[float, float, float]:
        return self.v.plant.snapshot[3:6]

    @property
    def yaw_deg(self) -> float:
        return math.degrees(self.v.plant.snapshot.yaw)


def body_velocity(forward: float = 0.0, up: float = 0.0, yaw_rate_deg: float = 0.0) -> Setpoint:
    rate = math.radians(yaw_rate_deg)
    return Setpoint(velocity=(forward, 0.0, up), yaw_rate=rate, body=True)


def test_takeoff_climbs_to_two_and_a_half_metres_in_px4s_time() -> None:
    flight = Flight().run(4.0)
    flight.v.commander.arm(flight.v.time_s)
    flight.v.commander.takeoff(flight.v.time_s)
    start = flight.v.time_s
    detected = hold = 0.0
    for now in flight.ticks(10.0):
        if not detected and "Takeoff detected\t" in flight.texts:
            detected = now - start
        if not hold and flight.v.commander.mode == Mode.HOLD:
            hold = now - start
    assert detected == pytest.approx(1.0, abs=0.3)
    assert hold == pytest.approx(6.0, rel=0.15)
    east, north, height = flight.place
    assert height == pytest.approx(2.5, abs=0.1)
    assert math.hypot(east, north) < 0.05
    assert flight.yaw_deg == pytest.approx(90.0, abs=0.5)


def test_forward_is_along_the_nose_also_after_a_turn() -> None:
    flight = Flight().up().offboard(body_velocity(2.0), 2.0)
    assert flight.velocity[1] == pytest.approx(1.5, abs=0.08)  # as PX4
    flight.run(4.0, body_velocity(2.0))
    assert flight.velocity == pytest.approx((0.0, 1.73, 0.0), abs=0.08)
    flight.run(3.0, body_velocity(0.0, yaw_rate_deg=30.0)).run(4.0, body_velocity())
    assert math.remainder(flight.yaw_deg - 180.0, 360.0) == pytest.approx(0.0, abs=3.0)
    flight.run(6.0, body_velocity(2.0))
    assert flight.velocity == pytest.approx((-1.73, 0.0, 0.0), abs=0.1)


@pytest.mark.parametrize("direction", [-1.0, 1.0])
def test_a_turn_has_px4s_lag_and_stops_when_told(direction: float) -> None:
    flight = Flight().up().offboard(body_velocity(), 1.0)
    flight.run(6.0, body_velocity(yaw_rate_deg=30.0 * direction))
    turned = math.remainder(flight.yaw_deg - 90.0 - direction * 180.0, 360.0) * direction
    assert -12.0 <= turned <= 1.0  # 168 to 181 degrees
    flight.run(2.5, body_velocity())
    headings = []
    for _ in range(8):
        flight.run(0.25, body_velocity())
        headings.append(math.remainder(flight.yaw_deg + 90.0, 360.0))
    assert max(headings) - min(headings) < 2.0
    assert headings[-1] == pytest.approx(0.0, abs=3.0)  # 180 degrees in all


@pytest.mark.parametrize(
    ("axis", "px4_ms"),
    [(0, {5: 26.0, 50: 79.0, 90: 137.0}), (2, {5: 146.0, 50: 374.0})],
    ids=["roll", "yaw"],
)
def test_a_body_rate_is_reached_in_px4s_time(axis: int, px4_ms: dict[int, float]) -> None:
    """Milliseconds from the setpoint to these per cent of 60 °/s."""
    flight, rates = Flight().up(), [0.0, 0.0, 0.0]
    hover = AIRFRAME.hover_thrust
    flight.offboard(Setpoint(rates=(0.0, 0.0, 0.0), thrust=hover), 1.0)
    rates[axis] = math.radians(60.0)
    setpoint = Setpoint(rates=(rates[0], rates[1], rates[2]), thrust=hover)
    start, reached = flight.v.time_s, dict[int, float]()
    for now in flight.ticks(1.0, setpoint):
        share = flight.v.plant.snapshot[Snapshot._fields.index("wx") + axis] / rates[axis]
        for percent in px4_ms:
            if share >= percent / 100.0:
                reached.setdefault(percent, (now - start) * 1e3 + LINK_MS)
    assert reached == pytest.approx(px4_ms, rel=0.15)


def test_land_touches_down_softly_and_disarms_in_px4s_time() -> None:
    flight = Flight().up()
    flight.v.go_to(Target(0.0, 0.0, 2.3))
    flight.run(5.0)
    flight.v.commander.enter(Mode.LAND, flight.v.time_s)
    start, fastest, touched = flight.v.time_s, 0.0, math.nan
    for now in flight.ticks(16.0):
        if flight.place[2] < 0.3:
            fastest = max(fastest, -flight.velocity[2])
        if flight.place[2] == 0.0 and math.isnan(touched):
            touched = now - start
        if not flight.v.commander.armed:
            break
    assert not flight.v.commander.armed
    assert touched == pytest.approx(5.4, rel=0.15)
    assert flight.v.time_s - start == pytest.approx(11.3, rel=0.15)
    assert fastest < 0.45
    assert flight.place[2] == 0.0
    assert flight.texts[-2:] == ["Landing detected\t", "Disarmed by landing\t"]
    flight.run(1.0)
    assert flight.v.plant.snapshot.r0 < 2.0  # rad/s: as good as standing still


def test_lost_setpoints_return_home_and_land() -> None:
    flight = Flight().up()
    flight.offboard(Setpoint(position=(6.0, 2.0, 3.0), yaw=NORTH), 8.0)
    assert flight.place == pytest.approx((6.0, 2.0, 3.0), abs=0.3)
    flight.run(1.2)
    assert flight.v.commander.mode == Mode.RETURN
    assert "RTL: start return at 496 m (7 m above destination)\t" in flight.texts
    flight.run(40.0)
    assert "RTL: land at destination\t" in flight.texts
    assert not flight.v.commander.armed
    assert flight.place == pytest.approx((0.0, 0.0, 0.0), abs=0.4)


def test_new_setpoints_return_to_offboard() -> None:
    flight = Flight().up().offboard(body_velocity(1.0), 2.0)
    flight.run(1.3)
    assert flight.v.commander.failsafe.mode == Mode.RETURN
    flight.run(3.0, body_velocity(1.0))
    assert flight.v.commander.mode == Mode.OFFBOARD
    assert flight.velocity[1] == pytest.approx(1.0, abs=0.2)


def test_setpoints_at_one_hertz_keep_offboard() -> None:
    flight = Flight().up().offboard(body_velocity(), 1.0)
    for _ in range(5):
        flight.v.accept(body_velocity(1.0))
        flight.run(0.99)
    assert flight.v.commander.failsafe.mode is None


def test_hold_brakes_and_stays_where_it_stopped() -> None:
    flight = Flight().up().offboard(body_velocity(5.0), 4.0)
    flight.v.commander.enter(Mode.HOLD, flight.v.time_s)
    flight.run(12.0)
    stopped = flight.place
    flight.run(4.0)
    assert flight.place == pytest.approx(stopped, abs=0.25)
    assert flight.velocity == pytest.approx((0.0, 0.0, 0.0), abs=0.1)


def test_goto_flies_there_with_the_heading_asked_for() -> None:
    flight = Flight().up()
    assert flight.v.go_to(Target(5.0, -4.0, 6.0, yaw=0.0)) == Result.ACCEPTED
    flight.run(15.0)
    assert flight.place == pytest.approx((5.0, -4.0, 6.0), abs=0.2)
    assert flight.yaw_deg == pytest.approx(0.0, abs=2.0)


def test_velocity_ned_turns_to_its_yaw() -> None:
    flight = Flight().up().offboard(Setpoint(velocity=(1.0, -1.0, 0.5), yaw=0.0), 5.0)
    assert flight.velocity == pytest.approx((1.0, -1.0, 0.5), abs=0.2)
    assert flight.yaw_deg == pytest.approx(0.0, abs=5.0)


def test_attitude_and_body_rates_go_straight_through() -> None:
    flight = Flight().up()
    hover = AIRFRAME.hover_thrust
    nose_down = enu_quaternion(math.cos(-0.05), 0.0, math.sin(-0.05), 0.0)
    flight.offboard(Setpoint(attitude=nose_down, thrust=hover), 2.0)
    terminal = 0.1 * 9.80665  # 0.1 rad against 1 N s/m per kg
    assert flight.velocity[1] == pytest.approx(terminal * (1.0 - math.exp(-1.9)), abs=0.05)
    flight.run(0.3, Setpoint(rates=(math.radians(60.0), 0.0, 0.0), thrust=hover))
    assert math.degrees(flight.v.plant.snapshot.wx) == pytest.approx(60.0, rel=0.15)


def test_speeds_are_limited_by_the_parameters() -> None:
    flight = Flight().up()
    flight.v.parameters.set("MPC_XY_VEL_MAX", 3.0)
    flight.offboard(Setpoint(velocity=(9.0, 0.0, 9.0), yaw=NORTH), 15.0)
    assert flight.velocity[0] == pytest.approx(3.0, abs=0.2)
    assert flight.velocity[2] == pytest.approx(3.0, abs=0.3)


def test_the_battery_drains_in_flight_and_is_full_before_and_after() -> None:
    flight = Flight().run(4.0)
    assert flight.v.battery.remaining == 1.0
    flight.up()
    used = flight.v.battery.used_mah
    assert 20.0 < used < 70.0
    assert flight.v.battery.remaining == pytest.approx(1 - flight.v.battery.used_mah / 5000)
    assert 14.0 < flight.v.battery.voltage_v < 16.8
    flight.v.commander.enter(Mode.LAND, flight.v.time_s)
    flight.run(12.0)
    assert flight.v.battery.remaining == 1.0


def test_an_empty_battery_lands_the_vehicle_where_it_is() -> None:
    flight = Flight().up()
    flight.v.parameters.set("COM_LOW_BAT_ACT", 2)
    flight.v.parameters.set("BAT1_CAPACITY", flight.v.battery.used_mah + 50.0)
    flight.run(30.0)
    assert not flight.v.commander.armed
    assert flight.texts[-2:] == ["Landing detected\t", "Disarmed by landing\t"]
    assert "Failsafe activated: entering Hold for 5 seconds\t" in flight.texts
    assert flight.v.commander.arm(flight.v.time_s) == Result.ACCEPTED  # with a full one


def test_its_sensors_are_px4s() -> None:
    """SYS_STATUS of a PX4 that can be armed, and a geofence that is not broken."""
    flight = Flight()
    prearm_check = 0x10000000
    assert sys_status(flight.v.view())["onboard_control_sensors_health"] & prearm_check == 0
    found = sys_status(flight.run(4.0).v.view())
    assert found["onboard_control_sensors_present"] == 0x0200402F
    assert found["onboard_control_sensors_enabled"] == 0x0201402F
    assert found["onboard_control_sensors_health"] == 0x1320C83F | 0x100000


def test_it_holds_against_gusts_and_a_seed_repeats_a_flight() -> None:
    flights = [Flight(Vehicle(AIRFRAME, wind=(4.0, -3.0), seed=7)).up().run(15.0) for _ in range(2)]
    assert flights[0].place == flights[1].place
    east, north, height = flights[0].place
    assert math.hypot(east, north) < 1.8
    assert height == pytest.approx(2.5, abs=0.3)


def test_sensors_are_noisy_unless_told_otherwise() -> None:
    noisy, exact = (Flight(Vehicle(AIRFRAME, noise=noise)).run(0.1) for noise in (True, False))
    for reading in (highres_imu, gps_raw_int, scaled_pressure):
        first, again = reading(noisy.v.view()), reading(noisy.v.view())
        assert first != again
        assert reading(exact.v.view()) == reading(exact.v.view())
    assert highres_imu(exact.v.view())["zacc"] == pytest.approx(-9.80665, abs=1e-3)


def test_in_offboard_on_the_ground_it_idles_until_told_to_climb() -> None:
    flight = Flight().run(4.0, body_velocity())
    flight.v.commander.request_mode(6, 0, flight.v.time_s)
    assert flight.v.commander.arm(flight.v.time_s) == Result.ACCEPTED
    flight.run(2.0, body_velocity(2.0))
    assert flight.place == pytest.approx((0.0, 0.0, 0.0), abs=0.01)
    flight.run(2.0, body_velocity(0.0, up=1.0))
    assert flight.place[2] > 1.0
    assert not flight.v.commander.landed


@settings(deadline=None, max_examples=30)
@given(
    position=st.tuples(st.sampled_from((1, 8)), st.integers(0, 0xFFF), st.binary(min_size=44)),
    attitude=st.tuples(st.integers(0, 255), st.binary(min_size=32)),
)
def test_no_setpoint_makes_the_state_a_non_number(
    position: tuple[int, int, bytes], attitude: tuple[int, bytes]
) -> None:
    """Any bits in any field: they are refused or flown, and the vehicle stays in its senses."""
    frame, mask, raw = position
    names = ("x", "y", "z", "vx", "vy", "vz", "afx", "afy", "afz", "yaw", "yaw_rate")
    fields = dict(zip(names, struct.unpack("<11f", raw[:44]), strict=True))
    local = from_position_target(fields | {"coordinate_frame": frame, "type_mask": mask})
    q0, q1, q2, q3, roll, pitch, yaw, thrust = struct.unpack("<8f", attitude[1][:32])
    rates = {"body_roll_rate": roll, "body_pitch_rate": pitch, "body_yaw_rate": yaw}
    target = rates | {"q": (q0, q1, q2, q3), "thrust": thrust, "type_mask": attitude[0]}
    flight = Flight()
    flight.v.commander.arm(flight.v.time_s, force=True)
    for setpoint in filter(None, (local, from_attitude_target(target))):
        flight.offboard(setpoint, 0.3)
    assert all(map(math.isfinite, flight.v.plant.snapshot))


@pytest.fixture
def plant() -> Plant:
    return Plant(AIRFRAME)


def test_the_floor_carries_a_stopped_vehicle(plant: Plant) -> None:
    for _ in range(2 * CONTROL_HZ):
        plant.step(Demand(Level.STOPPED), wind=(8.0, 0.0, 0.0))
    s = plant.snapshot
    assert (s.pz, s.contact) == (0.0, 1.0)
    assert math.hypot(s.px, s.vx) < 0.5
    assert s.fz == pytest.approx(9.80665, abs=0.05)  # what an accelerometer at rest feels


def test_it_cannot_be_tipped_over_on_the_ground(plant: Plant) -> None:
    for _ in range(2 * CONTROL_HZ):
        plant.step(Demand(Level.RATES, x=3.0, y=-3.0, collective=0.25))
    s = plant.snapshot
    up = 1.0 - 2.0 * (s.qx * s.qx + s.qy * s.qy)
    assert up > 0.9
    assert s.pz < 0.1


def test_a_hard_fall_ends_upright_on_the_floor(plant: Plant) -> None:
    for _ in range(3 * CONTROL_HZ):
        plant.step(Demand(Level.VELOCITY, z=3.0))
    for _ in range(CONTROL_HZ):
        plant.step(Demand(Level.RATES, x=4.0, collective=0.2))
    heights = [plant.step(Demand(Level.STOPPED)).pz for _ in range(4 * CONTROL_HZ)]
    s = plant.snapshot
    assert min(heights) == 0.0
    assert (s.pz, s.vz) == (0.0, 0.0)
    assert 1.0 - 2.0 * (s.qx * s.qx + s.qy * s.qy) > 0.99
    assert all(map(math.isfinite, s))


def test_hover_thrust_is_px4s(plant: Plant) -> None:
    for _ in range(3 * CONTROL_HZ):
        plant.step(Demand(Level.VELOCITY, z=1.0))
    for _ in range(3 * CONTROL_HZ):
        plant.step(Demand(Level.VELOCITY))
    thrusts = [plant.step(Demand(Level.VELOCITY)).collective for _ in range(CONTROL_HZ)]
    assert statistics.mean(thrusts) == pytest.approx(0.497, abs=0.005)
