"""What a policy must be to take part, and how long everybody has. No JAX, no network is loaded."""

from __future__ import annotations

import math

import numpy as np

from racer.errors import InvalidInputError
from racer.policy.manifest import Manifest
from racer.sim.track import Track

CONTROL_HZ = (10.0, 200.0)  # as trainings may have it
PHYSICS_HZ = (100.0, 2000.0)  # coarser steps would not be physics, finer ones cost for nothing
LONGEST_FLIGHT_S = 327  # as trainings fly at most with their usual 25 actions a second


def check_manifest(manifest: Manifest, airframe: str) -> None:
    """Raises InvalidInputError when a policy cannot take part in a race of that airframe.

    The rates are the policy's own, so they have limits here: at ten physics steps a second a
    vehicle would gain speed from rounding, and fly from gate to gate in one straight step.
    """
    own = manifest.load_airframe().name
    if own != airframe:
        raise InvalidInputError(
            f"The policy flies '{own}' and the race is for '{airframe}': enter a policy that was "
            "trained for that airframe."
        )
    physics = manifest.control_hz * manifest.substeps
    for what, value, (low, high) in (
        ("actions", manifest.control_hz, CONTROL_HZ),
        ("steps of the simulation", physics, PHYSICS_HZ),
    ):
        if not low <= value <= high:
            raise InvalidInputError(
                f"The policy asks for {value:g} {what} per second; in a race it may be {low:g} to "
                f"{high:g}. Train it at such a rate."
            )


def time_limit_s(track: Track) -> int:
    """How long everybody has from the own start, s: all laps of the centre line at 3 m/s and ten
    seconds more, whatever a policy's rates and limits are. Whole seconds are whole steps of it."""
    line = track.centre_line()
    length = track.laps * float(np.linalg.norm(np.diff(line, axis=0), axis=1).sum())
    return min(math.ceil(length / 3.0 + 10.0), LONGEST_FLIGHT_S)
