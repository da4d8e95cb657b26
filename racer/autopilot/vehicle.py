"""The vehicle without its links: commander, guidance, plant, battery and wind, tick by tick.

It has no clock: one `tick` is DT_S of its life, whoever calls it and however fast. So the same
object flies in real time behind MAVLink, faster than real time, and in unit tests.
"""

from __future__ import annotations

import math
import random
from typing import Final

from racer.autopilot.battery import Battery
from racer.autopilot.commander import Commander, Facts
from racer.autopilot.guidance import Guidance, Target
from racer.autopilot.modes import Mode, Result, Severity
from racer.autopilot.parameters import Parameters
from racer.autopilot.plant import DT_S, Demand, Level, Plant
from racer.autopilot.setpoints import Setpoint
from racer.autopilot.view import Home, Noise, View
from racer.autopilot.wind import Wind
from racer.sim.airframe import Airframe

_WARMING_UP_S: Final = 1.5  # when PX4 complains that its heading is not known yet
_LIGHT_SHARE: Final = 0.6  # between least and hover thrust: PX4's land detector
_NAVIGATOR_S: Final = 0.05


class Vehicle:
    """PX4's vehicle on our physics. Building it compiles the plant."""

    def __init__(
        self,
        airframe: Airframe,
        *,
        home: Home | None = None,
        wind: tuple[float, float] = (0.0, 0.0),
        seed: int = 0,
        noise: bool = True,
        system: int = 1,
    ) -> None:
        """`wind`: mean, (east, north) m/s; `seed`: of its gusts and of the sensors' `noise`."""
        self.system = system
        self.home = home or Home()
        self.time_s = 0.0
        self.load = 0.0
        self.parameters = Parameters({"MAV_SYS_ID": system})
        self.commander = Commander(self.parameters)
        self.guidance = Guidance(self.parameters)
        self.battery = Battery(self.parameters)
        self.plant = Plant(airframe)
        least = airframe.control.thrust_min
        self._light = least + _LIGHT_SHARE * (airframe.hover_thrust - least)
        self.setpoint: Setpoint | None = None
        self.demand = Demand(Level.STOPPED)
        self._wind = Wind(wind, seed=seed)
        self._noise: Noise = random.Random(seed).gauss if noise else _exactly
        self._entries = 0
        self._later: list[tuple[float, Severity, str]] = [
            (_WARMING_UP_S, Severity.CRITICAL, "Preflight Fail: heading estimate not stable")
        ]

    def tick(self) -> None:
        """Live for DT_S."""
        self.time_s += DT_S
        c, s = self.commander, self.plant.snapshot
        facts = Facts(
            height_m=s.pz,
            contact=bool(s.contact),
            climbing=self.guidance.climbing,
            takeoff_done=self.guidance.takeoff_done,
            light=s.collective < self._light,
            battery=self.battery.warning,
        )
        c.update(self.time_s, facts)
        self._follow_mode()
        if c.armed:
            self.demand = self.guidance.step(c.mode, s, self.setpoint, landed=c.landed)
        else:
            self.demand = Demand(Level.STOPPED)
        s = self.plant.step(self.demand, wind=self._air())
        if c.armed:
            self.battery.drain((s.c0, s.c1, s.c2, s.c3), DT_S)
        else:
            self.battery.renew()
        if c.mode == Mode.RETURN and self.guidance.take_landing_notice():
            self._say("RTL: land at destination\t")

    def accept(self, setpoint: Setpoint) -> None:
        """An offboard setpoint arrived; it is flown when the mode is Offboard."""
        self.setpoint = setpoint
        self.commander.receive_setpoint(self.time_s)

    def go_to(self, target: Target) -> Result:
        """MAV_CMD_DO_REPOSITION: hold at `target`."""
        result = self.commander.enter(Mode.HOLD, self.time_s)
        if result == Result.ACCEPTED:
            self._follow_mode()
            if not self.commander.landed:
                self.guidance.go_to(target)
        return result

    def take_texts(self) -> list[tuple[Severity, str]]:
        """What to tell the pilot since the last call."""
        texts, self.commander.texts = self.commander.texts, []
        due = [(severity, text) for when, severity, text in self._later if when <= self.time_s]
        self._later = [item for item in self._later if item[0] > self.time_s]
        return texts + due

    def view(self) -> View:
        """The vehicle now, for its reports."""
        return View(
            time_s=self.time_s,
            state=self.plant.snapshot,
            demand=self.demand,
            setpoint=self.setpoint,
            commander=self.commander,
            battery=self.battery,
            home=self.home,
            noise=self._noise,
            load=self.load,
        )

    def _follow_mode(self) -> None:
        """Start the guidance anew when the commander has (re-)entered a mode."""
        if self.commander.entries == self._entries:
            return
        self._entries = self.commander.entries
        height = self.commander.takeoff_height_m
        self.guidance.start(self.plant.snapshot, takeoff_height_m=height)
        if self.commander.mode == Mode.RETURN:
            above = self.guidance.return_height_m
            amsl = math.ceil(self.home.altitude_m + above)
            rounded = math.ceil(above)
            self._say(f"RTL: start return at {amsl} m ({rounded} m above destination)\t")

    def _air(self) -> tuple[float, float, float]:
        """Wind; the ground shelters a vehicle that stands on it."""
        wind = self._wind.step()
        return (0.0, 0.0, 0.0) if self.commander.landed else wind

    def _say(self, text: str) -> None:
        """What PX4's navigator says comes a little after what its commander says."""
        self._later.append((self.time_s + _NAVIGATOR_S, Severity.INFO, text))


def _exactly(mean: float, _deviation: float) -> float:
    return mean
