"""What a policy must be to take part, and how long everybody has. No JAX, no network is loaded."""

from __future__ import annotations

import math

import numpy as np

from racer.errors import InvalidInputError
from racer.policy.manifest import Manifest
from racer.policy.rates import check_rates
from racer.sim.track import Track

LONGEST_FLIGHT_S = 327  # as trainings fly at most with their usual 25 actions a second


def check_manifest(manifest: Manifest, airframe: str) -> None:
    """Raises InvalidInputError when a policy cannot take part in a race of that airframe."""
    own = manifest.load_airframe().name
    if own != airframe:
        raise InvalidInputError(
            f"The policy flies '{own}' and the race is for '{airframe}': enter a policy that was "
            "trained for that airframe."
        )
    check_rates(manifest.control_hz, manifest.substeps)


def time_limit_s(track: Track) -> int:
    """How long everybody has from the own start, s: all laps of the centre line at 3 m/s and ten
    seconds more, whatever a policy's rates and limits are. Whole seconds are whole steps of it."""
    line = track.centre_line()
    length = track.laps * float(np.linalg.norm(np.diff(line, axis=0), axis=1).sum())
    return min(math.ceil(length / 3.0 + 10.0), LONGEST_FLIGHT_S)
