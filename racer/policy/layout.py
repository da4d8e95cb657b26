"""What every number that goes into a policy and comes out of it means, as data for the manifest.

racer.sim.interface computes these numbers; the tables here name them. A test holds both together,
element by element. A manifest keeps the tables that its policy was trained with, so that a policy
made before the interface changed is refused instead of flown with numbers it does not know.
"""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict, Field

from racer.sim.interface import ActionSpace


class Element(BaseModel):
    """One number. Observations: clip(scale × value, low, high). Actions: value = scale × number."""

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True, allow_inf_nan=False)

    name: str = Field(min_length=1, max_length=64)
    unit: str = Field(min_length=1, max_length=16)  # of the value: SI
    frame: str = Field(min_length=1, max_length=16)  # world, level (turned by the yaw), body, gate
    scale: float
    low: float | None = None
    high: float | None = None


def observation_layout(space: ActionSpace, seen_obstacles: int = 0) -> tuple[Element, ...]:
    """The elements of an observation, in order; `seen_obstacles`: poles that it tells of."""
    poles = (part for number in range(1, seen_obstacles + 1) for part in _pole(space, number))
    return (*_course_and_vehicle(space), *poles)


def _course_and_vehicle(space: ActionSpace) -> tuple[Element, ...]:
    frame = "level" if space == "velocity" else "body"
    common = (
        *_vector("target", "m", frame, 0.1),
        *_vector("target_direction", "1", frame, 1.0),
        *_vector("after_target", "m", frame, 0.1),
        *_vector("after_direction", "1", frame, 1.0),
        *_vector("place", "m", "gate", 0.2, low=-2.0, high=2.0),
    )
    if space == "velocity":
        return (
            *common,
            *_vector("velocity", "m/s", frame, 0.2),
            *_vector("thrust_direction", "1", frame, 1.0)[:2],
            *_axes("rate", "rad/s", 0.2),
        )
    actions = ("roll_rate", "pitch_rate", "yaw_rate", "thrust")
    return (
        *common,
        *_vector("velocity", "m/s", frame, 0.1),
        *_vector("world_up", "1", frame, 1.0),
        *_axes("rate", "rad/s", 0.1),
        *(
            Element(name=f"last_{name}", unit="1", frame="body", scale=1.0, low=-1.0, high=1.0)
            for name in actions
        ),
        Element(name="height", unit="m", frame="world", scale=0.2, high=1.0),
    )


def action_layout(space: ActionSpace, scales: Sequence[float]) -> tuple[Element, ...]:
    """The elements of an action; `scales`: what an action of one asks for, (4,).

    For `ctbr` the thrust's scale is 1: −1, 0 and 1 mean none, hover and full
    (racer.sim.interface.rate_setpoint), and every number is clipped to ±1.
    """
    if space == "velocity":
        named = (
            ("velocity_forward", "m/s", "level"),
            ("velocity_left", "m/s", "level"),
            ("velocity_up", "m/s", "level"),
            ("yaw_rate", "rad/s", "world"),
        )
        return tuple(
            Element(name=name, unit=unit, frame=frame, scale=scale)
            for (name, unit, frame), scale in zip(named, scales, strict=True)
        )
    rates = (
        ("roll_rate", "rad/s"),
        ("pitch_rate", "rad/s"),
        ("yaw_rate", "rad/s"),
        ("thrust", "1"),
    )
    return tuple(
        Element(name=name, unit=unit, frame="body", scale=scale, low=-1.0, high=1.0)
        for (name, unit), scale in zip(rates, scales, strict=True)
    )


def _pole(space: ActionSpace, number: int) -> tuple[Element, ...]:
    """The nearest pole (number 1) or a farther one."""
    name, level = f"pole_{number}", space == "velocity"
    offset = _vector(name, "m", "level" if level else "body", 0.5, low=-2.0, high=2.0)
    clearance = Element(name=f"{name}_clearance", unit="m", frame="world", scale=1.0, high=2.0)
    return (*(offset[:2] if level else offset), clearance)


def _vector(
    name: str,
    unit: str,
    frame: str,
    scale: float,
    *,
    low: float | None = None,
    high: float | None = None,
) -> tuple[Element, ...]:
    """Three components along forward (for a gate: ahead of it), left and up."""
    along = ("ahead" if frame == "gate" else "forward", "left", "up")
    return tuple(
        Element(name=f"{name}_{axis}", unit=unit, frame=frame, scale=scale, low=low, high=high)
        for axis in along
    )


def _axes(name: str, unit: str, scale: float) -> tuple[Element, ...]:
    """Three components about the body's axes."""
    return tuple(
        Element(name=f"{name}_{axis}", unit=unit, frame="body", scale=scale) for axis in "xyz"
    )
