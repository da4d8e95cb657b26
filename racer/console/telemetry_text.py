"""Telemetry as words and numbers for a person. Pure: no page, no clock.

Input is the dictionary of the telemetry hub (SI units, ENU world, FLU body).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

STALE_S = 1.0  # odometry comes at 30 Hz: a second without it means that the vehicle is lost
LOW_BATTERY = 0.25
NOTHING = "–"

Tone = Literal["", "good", "busy", "warn", "bad"]

PHASES: dict[str, tuple[str, Tone]] = {
    "disconnected": ("Disconnected", "bad"),
    "idle": ("On the ground", ""),
    "arming": ("Arming", "busy"),
    "taking_off": ("Taking off", "busy"),
    "hovering": ("Hovering", "good"),
    "offboard": ("Flying", "good"),
    "policy": ("Racing", "good"),
    "landing": ("Landing", "busy"),
    "failsafe": ("Failsafe", "bad"),
}


@dataclass(frozen=True)
class Gauge:
    """One reading: `value` is ready to show, `tone` colours it."""

    value: str
    tone: Tone = ""


@dataclass(frozen=True)
class Readings:
    """Everything that the telemetry panel shows at one moment."""

    link: str
    link_tone: Tone
    fresh: bool
    gauges: dict[str, Gauge]


LABELS = {
    "phase": "Phase",
    "mode": "Mode",
    "armed": "Motors",
    "height": "Height",
    "speed": "Speed",
    "heading": "Heading",
    "battery": "Battery",
    "age": "Data age",
}


def readings(telemetry: Mapping[str, Any] | None) -> Readings:
    """The panel's content for the newest telemetry, or for none at all."""
    if telemetry is None:
        return Readings("No vehicle", "bad", False, {key: Gauge(NOTHING) for key in LABELS})
    age_s = _number(telemetry.get("age_s"))
    fresh = age_s is not None and age_s < STALE_S
    link, tone = _link(telemetry, fresh=fresh)
    phase, phase_tone = PHASES.get(str(telemetry.get("phase")), (NOTHING, ""))
    gauges = {
        "phase": Gauge(phase, phase_tone),
        "mode": Gauge(str(telemetry.get("flight_mode") or NOTHING).replace("_", " ").capitalize()),
        "armed": _armed(telemetry.get("armed")),
        "height": Gauge(_unit(_component(telemetry.get("position"), 2), "m", digits=2)),
        "speed": Gauge(_unit(_length(telemetry.get("velocity")), "m/s", digits=1)),
        "heading": _heading(_number(telemetry.get("heading_deg"))),
        "battery": _battery(telemetry.get("battery")),
        "age": Gauge(_age(age_s), "" if fresh else "bad"),
    }
    return Readings(link, tone, fresh, gauges)


def _link(telemetry: Mapping[str, Any], *, fresh: bool) -> tuple[str, Tone]:
    if not fresh:
        return "Telemetry lost", "bad"
    if not telemetry.get("connected"):
        return "No vehicle", "bad"
    return "Vehicle connected", "good"


def _armed(value: object) -> Gauge:
    if not isinstance(value, bool):
        return Gauge(NOTHING)
    return Gauge("Armed", "warn") if value else Gauge("Disarmed")


def _heading(heading_deg: float | None) -> Gauge:
    """Compass heading with its point: `090° E`."""
    if heading_deg is None:
        return Gauge(NOTHING)
    degrees = round(heading_deg) % 360
    point = ("N", "NE", "E", "SE", "S", "SW", "W", "NW")[round(degrees / 45) % 8]
    return Gauge(f"{degrees:03d}° {point}")


def _battery(value: object) -> Gauge:
    """Remaining charge, a fraction in the telemetry; the voltage when only that is known."""
    if not isinstance(value, Mapping):
        return Gauge(NOTHING)
    remaining = _number(value.get("remaining"))
    if remaining is None:
        return Gauge(_unit(_number(value.get("voltage_v")), "V", digits=1))
    tone: Tone = "bad" if remaining < LOW_BATTERY else ""
    return Gauge(f"{100 * min(max(remaining, 0.0), 1.0):.0f} %", tone)


def _age(age_s: float | None) -> str:
    if age_s is None:
        return NOTHING
    return f"{1000 * max(age_s, 0.0):.0f} ms" if age_s < 1 else f"{age_s:.0f} s"


def _unit(value: float | None, unit: str, *, digits: int) -> str:
    if value is None:
        return NOTHING
    rounded = round(value, digits) + 0.0  # + 0.0 turns -0.0 into 0.0
    return f"{rounded:.{digits}f} {unit}"


def _component(vector: object, index: int) -> float | None:
    if not isinstance(vector, list | tuple) or len(vector) <= index:
        return None
    return _number(vector[index])


def _length(vector: object) -> float | None:
    if not isinstance(vector, list | tuple):
        return None
    parts = [_number(part) for part in vector]
    known = [part for part in parts if part is not None]
    return math.hypot(*known) if parts and len(known) == len(parts) else None


def _number(value: object) -> float | None:
    """A finite number, or None: a NaN from a vehicle without that sensor is 'not known'."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)
