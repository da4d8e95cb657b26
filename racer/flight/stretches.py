"""Who flew, and when, in a flight as it was recorded: pure, no file, no clock.

A *stretch* is flown by one account alone, by hand, without a break. It lasts while the heartbeat of
the lease names that account, the controller says that this lease's pilot is there (so that it
refuses everybody else's commands but `stop` and `land`), the vehicle is in the air in a mode that
those commands fly, and no policy flies. Whoever else takes the controls, a policy, a silence, a gap
in the telemetry or a jump of the position ends it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from math import dist, isfinite
from typing import Any, NamedTuple

from racer.errors import InvalidInputError
from racer.flight.authority import Account, Lease
from racer.flight.commands import lease_of
from racer.flight.envelope import MAX_BLIND_S, MAX_JUMP_M
from racer.flight.px4 import Quaternion, Vector
from racer.flight.state import OUR_MODES, Phase

BY_HAND = (*OUR_MODES, "TAKEOFF")  # modes in which the pilot's commands fly it
_PACE = (0.8, 1.25)  # of the vehicle's clock; a slow motion is no race


class Sample(NamedTuple):
    """Telemetry as it is judged later: world ENU."""

    stamp_s: float  # the vehicle's clock
    wall_s: float  # Unix time of the recording
    position: Vector  # m
    velocity: Vector  # m/s
    quaternion: Quaternion  # (w, x, y, z), body to world


@dataclass
class Stretch:
    """Flown by one account; at least two samples."""

    account: Account
    samples: list[Sample] = field(default_factory=list)

    @property
    def seconds(self) -> float:
        """How long it is, by the vehicle's clock."""
        return self.samples[-1].stamp_s - self.samples[0].stamp_s

    @property
    def in_real_time(self) -> bool:
        """Whether the vehicle's clock ran about as fast as ours: a simulation may be told not to,
        which would make it another race."""
        wall_s = self.samples[-1].wall_s - self.samples[0].wall_s
        return _PACE[0] * wall_s <= self.seconds <= _PACE[1] * wall_s


class StretchFinder:
    """Told what was recorded, in its order; `found` are the stretches that have ended."""

    def __init__(self) -> None:
        self.found: list[Stretch] = []
        self._told: tuple[Lease, Account] | None = None  # by the last heartbeat
        self._steers: Lease | None = None  # by the controller's last word
        self._open: Stretch | None = None

    @property
    def waits(self) -> bool:
        """Whether the next sample would be somebody's; of others nobody need know where it is."""
        return self._told is not None and self._told[0] == self._steers

    def presence(self, text: str) -> None:
        """A bridge's heartbeat. One that is not understood says that nobody known is there."""
        told = _presence(text)
        if told != self._told:
            self.end()
        self._told = told

    def state(self, text: str) -> None:
        """The controller's word on the flight."""
        steers = _steers(text)
        if steers is None or steers != self._steers:
            self.end()
        self._steers = steers

    def sample(self, sample: Sample) -> None:
        """Telemetry."""
        if self._told is None or not self.waits:
            self.end()
            return
        if self._open is not None and not _follows(self._open.samples[-1], sample):
            self.end()
        if self._open is None:
            self._open = Stretch(self._told[1])
        self._open.samples.append(sample)

    def end(self) -> None:
        """The recording is over, or the stretch is."""
        if self._open is not None and len(self._open.samples) > 1:
            self.found.append(self._open)
        self._open = None


def _follows(before: Sample, after: Sample) -> bool:
    """Whether the vehicle flew from one to the other, rather than was set there."""
    passed_s = after.stamp_s - before.stamp_s
    if not 0.0 < passed_s <= MAX_BLIND_S:
        return False
    expected = [p + passed_s * v for p, v in zip(before.position, before.velocity, strict=True)]
    return dist(expected, after.position) <= MAX_JUMP_M


def _presence(text: str) -> tuple[Lease, Account] | None:
    """Whose pilot is there by which lease; None: nobody's."""
    fields = _object(text)
    lease, account = _lease(fields.get("lease")), fields.get("account")
    if lease is None or fields.get("present") is not True or not isinstance(account, dict):
        return None
    number, username = account.get("id"), account.get("username")
    if type(number) is not int or not isinstance(username, str):
        return None
    return lease, Account(number, username)


def _steers(text: str) -> Lease | None:
    """By which lease the vehicle is flown by hand; None where it is not."""
    fields = _object(text)
    given = fields.get("lease")
    if (
        fields.get("in_air") is not True
        or fields.get("flight_mode") not in BY_HAND
        or fields.get("phase") == Phase.POLICY
        or not isinstance(given, dict)
        or given.get("present") is not True
    ):
        return None
    return _lease(given)


def _lease(given: object) -> Lease | None:
    try:
        return lease_of(given)
    except InvalidInputError:
        return None


def _object(text: str) -> dict[str, Any]:
    """Anybody on the topics may say anything; what is no JSON object says nothing."""
    try:
        fields = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return fields if isinstance(fields, dict) else {}


def is_sane(sample: Sample) -> bool:
    """Whether all of it are numbers."""
    numbers = (sample.stamp_s, *sample.position, *sample.velocity, *sample.quaternion)
    return all(map(isfinite, numbers))
