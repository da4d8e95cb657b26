"""Who takes part in a race: a policy that loads, of the race's airframe, at sensible rates, or who
flew by hand. No JAX."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from racer.errors import RacerError
from racer.policy.loading import load_policy
from racer.policy.manifest import MAX_POLICY_BYTES, POLICY_FILE, Manifest, read_limited
from racer.racing.config import Entry
from racer.racing.flight import Flight
from racer.racing.rules import check_manifest
from racer.sim.airframe import Airframe


@dataclasses.dataclass(frozen=True)
class Entrant:
    """One who flies."""

    id: int
    name: str
    manifest: Manifest
    network: bytes  # the ONNX file


@dataclasses.dataclass(frozen=True, eq=False)
class Pilot:
    """One who flew already, by hand."""

    id: int
    name: str
    flights: tuple[Flight, ...]  # all attempts, one at least


@dataclasses.dataclass(frozen=True)
class Refused:
    """One who does not, and why, for a person."""

    id: int
    name: str
    reason: str


def admit(entry: Entry, airframe: Airframe, policies: Path = Path()) -> Entrant | Refused:
    """Load and check an entry's policy. It is flown with the race's airframe, not with its own.

    `policies`: the folder in which the entry's own lies.
    """
    folder = policies / entry.policy
    try:
        policy = load_policy(folder)
        check_manifest(policy.manifest, airframe.name)
        content = read_limited(folder / POLICY_FILE, MAX_POLICY_BYTES)
    except RacerError as error:
        reason = error.message.replace(str(folder), "its folder")  # our paths are nobody's business
        return Refused(entry.id, entry.name, reason)
    return Entrant(entry.id, entry.name, policy.manifest, content)
