"""Who may fly a race: a policy that loads, of the race's airframe, at sensible rates. No JAX."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from racer.errors import InvalidInputError, RacerError
from racer.policy.loading import load_policy
from racer.policy.manifest import MAX_POLICY_BYTES, POLICY_FILE, Manifest, read_limited
from racer.racing.config import Entry
from racer.sim.airframe import Airframe

CONTROL_HZ = (10.0, 200.0)  # as trainings may have it
PHYSICS_HZ = (100.0, 2000.0)  # coarser steps would not be physics, finer ones cost for nothing


@dataclasses.dataclass(frozen=True)
class Entrant:
    """One who flies."""

    id: int
    name: str
    manifest: Manifest
    network: bytes  # the ONNX file


@dataclasses.dataclass(frozen=True)
class Refused:
    """One who does not, and why, for a person."""

    id: int
    name: str
    reason: str


def admit(entry: Entry, airframe: Airframe) -> Entrant | Refused:
    """Load and check an entry's policy. It is flown with the race's airframe, not with its own."""
    folder = Path(entry.policy)
    try:
        policy = load_policy(folder)
        check_manifest(policy.manifest, airframe.name)
        content = read_limited(folder / POLICY_FILE, MAX_POLICY_BYTES)
    except RacerError as error:
        return Refused(entry.id, entry.name, error.message)
    return Entrant(entry.id, entry.name, policy.manifest, content)


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
