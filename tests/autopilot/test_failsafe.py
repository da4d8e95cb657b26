"""The failsafe and the heartbeats of companions, event by event; recordings are in test_replay."""

from __future__ import annotations

import pytest

from racer.autopilot.battery import Battery
from racer.autopilot.companions import Companions
from racer.autopilot.failsafe import Failsafe
from racer.autopilot.modes import BatteryWarning, Mode, Severity
from racer.autopilot.parameters import Parameters

CRITICAL, EMERGENCY = BatteryWarning.CRITICAL, BatteryWarning.EMERGENCY
ENTERING = "Failsafe activated: entering Hold for 5 seconds\t"
ACTIVATED = "Failsafe activated\t"
GROUND_STATION, ONBOARD_COMPUTER = 6, 18


class Flight:
    """An armed vehicle's failsafe, asked ten times a second."""

    def __init__(self, **changes: int | float) -> None:
        self.texts: list[str] = []
        self.now = 10.0
        self.failsafe = Failsafe(Parameters(changes), say=lambda _, text: self.texts.append(text))
        self.failsafe.arm()

    def run(
        self,
        seconds: float,
        warning: BatteryWarning,
        intention: Mode = Mode.HOLD,
        setpoint_at_s: float | None = None,
    ) -> list[Mode | None]:
        """The modes flown, each once."""
        modes: list[Mode | None] = [self.failsafe.mode]
        for _ in range(round(seconds * 10)):
            self.now += 0.1
            self.failsafe.check_battery(self.now, warning, armed=True)
            at = self.now if setpoint_at_s is None else setpoint_at_s
            self.failsafe.update(self.now, intention=intention, setpoint_at_s=at)
            if self.failsafe.mode != modes[-1]:
                modes.append(self.failsafe.mode)
        return modes


@pytest.mark.parametrize(
    ("action", "at_critical", "at_emergency"),
    [(1, Mode.RETURN, Mode.RETURN), (2, Mode.LAND, Mode.LAND), (3, Mode.RETURN, Mode.LAND)],
)
def test_a_battery_holds_for_five_seconds_and_acts(
    action: int, at_critical: Mode, at_emergency: Mode
) -> None:
    flight = Flight(COM_LOW_BAT_ACT=action)
    assert flight.run(4.9, CRITICAL) == [None, Mode.HOLD]
    assert flight.run(1.0, CRITICAL) == [Mode.HOLD, at_critical]
    assert flight.run(6.0, EMERGENCY)[-1] == at_emergency
    said = ["Critical battery\t", ENTERING, ACTIVATED, "Emergency battery level\t"]
    assert flight.texts == said + [ACTIVATED] * (at_critical != at_emergency)


def test_without_an_action_it_only_warns() -> None:
    flight = Flight(COM_LOW_BAT_ACT=0)
    for warning in BatteryWarning:
        assert flight.run(3.0, warning) == [None]
    assert flight.texts == ["Low battery\t", "Critical battery\t", "Emergency battery level\t"]


def test_the_time_in_hold_is_a_parameter() -> None:
    flight = Flight(COM_LOW_BAT_ACT=2, COM_FAIL_ACT_T=0.0)
    assert flight.run(0.2, CRITICAL) == [None, Mode.LAND]
    assert flight.texts == ["Critical battery\t", ACTIVATED]


def test_a_warning_does_not_get_better_in_flight() -> None:
    flight = Flight(COM_LOW_BAT_ACT=2)
    flight.run(6.0, CRITICAL)
    assert flight.run(3.0, BatteryWarning.NONE) == [Mode.LAND]
    flight.failsafe.disarm()
    flight.failsafe.check_battery(flight.now, BatteryWarning.NONE, armed=False)
    assert (flight.failsafe.mode, flight.failsafe.warning) == (None, BatteryWarning.NONE)


def test_the_pilot_overrides_it_until_the_battery_gets_worse() -> None:
    flight = Flight(COM_LOW_BAT_ACT=3)
    flight.run(2.0, CRITICAL)
    flight.failsafe.override()
    assert flight.run(20.0, CRITICAL) == [None]
    assert flight.run(6.0, EMERGENCY) == [None, Mode.HOLD, Mode.LAND]


def test_a_change_of_mode_before_the_failsafe_does_not_override_it() -> None:
    flight = Flight(COM_LOW_BAT_ACT=2)
    flight.failsafe.override()
    assert flight.run(0.2, CRITICAL) == [None, Mode.HOLD]


def test_who_arms_with_a_low_battery_may_fly() -> None:
    flight = Flight(COM_LOW_BAT_ACT=2)
    flight.failsafe.check_battery(flight.now, CRITICAL, armed=False)
    flight.failsafe.arm()  # forced
    assert flight.run(10.0, CRITICAL) == [None]
    assert flight.run(6.0, EMERGENCY)[-1] == Mode.LAND


@pytest.mark.parametrize("intention", [Mode.LAND, Mode.RETURN])
def test_who_comes_home_anyway_is_not_sent_home(intention: Mode) -> None:
    flight = Flight(COM_LOW_BAT_ACT=1)
    assert flight.run(10.0, CRITICAL, intention) == [None]


def test_the_worst_action_is_flown() -> None:
    flight = Flight(COM_LOW_BAT_ACT=2)
    lost = flight.now
    assert flight.run(2.0, BatteryWarning.NONE, Mode.OFFBOARD, lost) == [None, Mode.RETURN]
    assert flight.run(1.0, CRITICAL, Mode.OFFBOARD, lost) == [Mode.RETURN, Mode.LAND]
    assert flight.run(1.0, CRITICAL, Mode.OFFBOARD) == [Mode.LAND]  # with setpoints again


def test_setpoints_lost_in_the_battery_s_hold_wait_with_it() -> None:
    flight = Flight(COM_LOW_BAT_ACT=2)
    assert flight.run(4.0, CRITICAL, Mode.OFFBOARD, flight.now) == [None, Mode.HOLD]
    assert flight.run(2.0, CRITICAL, Mode.OFFBOARD, flight.now - 4.0) == [Mode.HOLD, Mode.LAND]


def test_a_battery_s_levels_are_parameters() -> None:
    parameters = Parameters({"BAT1_CAPACITY": 100.0})
    battery = Battery(parameters)
    levels = []
    for used in (84.0, 86.0, 92.0, 94.0, 96.0):
        battery.used_mah = used
        levels.append(battery.warning)
    low, critical = BatteryWarning.LOW, BatteryWarning.CRITICAL
    assert levels == [BatteryWarning.NONE, low, low, critical, BatteryWarning.EMERGENCY]
    parameters.set("BAT_CRIT_THR", 0.5)
    battery.used_mah = 60.0
    assert battery.warning == critical


def test_a_battery_can_be_drained_by_the_clock_and_stopped() -> None:
    parameters = Parameters({"SIM_BAT_DRAIN": 20.0, "SIM_BAT_MIN_PCT": 25.0})
    battery = Battery(parameters)
    battery.drain((0.0,) * 4, 10.0)
    assert battery.remaining == pytest.approx(0.5)
    battery.drain((0.0,) * 4, 10.0)
    assert battery.remaining == pytest.approx(0.25)
    parameters.set("SIM_BAT_MIN_PCT", 0.0)
    battery.drain((0.0,) * 4, 10.0)
    assert battery.remaining == 0.0


@pytest.mark.parametrize(
    ("kind", "limit_s", "lost", "regained"),
    [
        (
            GROUND_STATION,
            10.0,
            (Severity.INFO, "Connection to ground station lost\t"),
            (Severity.INFO, "GCS connection regained\t"),
        ),
        (
            ONBOARD_COMPUTER,
            5.0,
            (Severity.CRITICAL, "Connection to mission computer lost\t"),
            (Severity.INFO, "Onboard controller regained\t"),
        ),
    ],
)
def test_a_companion_that_falls_silent_is_missed_and_welcomed_back(
    kind: int, limit_s: float, lost: tuple[Severity, str], regained: tuple[Severity, str]
) -> None:
    said: list[tuple[Severity, str]] = []
    companions = Companions(Parameters(), say=lambda *text: said.append(text))
    companions.update(1000.0)
    companions.hear(kind, 1000.0, aboard=True)
    companions.update(1000.0 + limit_s + 1.2)
    assert said == []
    for late in (2.5, 3.0):
        companions.update(1000.0 + limit_s + late)
    assert said == [lost]
    companions.hear(kind, 1100.0, aboard=True)
    companions.update(1101.0)
    assert said == [lost, regained]


def test_an_onboard_computer_has_the_vehicle_s_system_id() -> None:
    said: list[tuple[Severity, str]] = []
    companions = Companions(Parameters(), say=lambda *text: said.append(text))
    companions.hear(ONBOARD_COMPUTER, 0.0)
    companions.update(100.0)
    assert said == []
