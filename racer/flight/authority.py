"""Who may move the vehicle, and when nobody does any more: pure, no clock, no input or output.

A pilot comes by one of two ways:

- Behind a bridge, with a lease. Its fencing token grows with every lease that is given out, so
  that words of a pilot who lost the controls are told from those of the one who has them, however
  late they arrive. The bridge says ten times a second that the pilot is there.
- By the bare topic, without a bridge (the command line, another node). Whoever it is, it steers as
  long as it speaks.

When a pilot falls silent the vehicle holds. One that a lease's pilot left in the air is landed
after a while. Landing and stopping are nobody's privilege.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

_AGAIN_S = 5.0  # until a landing that failed is tried again


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to fly, as the bridge `holder` gives it out; a later one has a higher token."""

    token: int
    holder: str


@dataclass(frozen=True, slots=True)
class Account:
    """Whose a lease's pilot is, as the bridge has checked. The controller only records it."""

    id: int
    username: str


@dataclass(frozen=True, slots=True)
class Patience:
    """How long silence is borne, s."""

    pilot_s: float = 0.5  # a bridge's heartbeat
    topic_s: float = 5.0  # after the last command of the bare topic
    landing_s: float = 30.0  # after a lease's pilot was lost in the air


class Authority:
    """Told what was heard, with the time it was heard at (monotonic s); asked what is due."""

    def __init__(self, patience: Patience) -> None:
        self._patience = patience
        self.lease: Lease | None = None  # the newest that was heard of
        self._heard_s = -inf  # its pilot's last sign
        self._left = True  # and whether that was a goodbye
        self._steering = False  # its pilot has the vehicle: nobody else commanded it since
        self._topic_until_s = -inf  # a bare topic's pilot steers until then
        self._land_s = inf

    # -- what was heard

    def refusal(self, lease: Lease | None, now_s: float) -> str | None:
        """Why a command (but not stop or land) of that pilot is not flown; None if it is."""
        if lease is None:
            if self.present(now_s):
                return "Somebody else flies, through the web service. `stop` and `land` are open."
            return None
        if self._outdated(lease):
            return "The controls have passed on: this command came with an older lease."
        return None

    def commanded(self, lease: Lease | None, now_s: float, *, for_s: float | None = None) -> None:
        """A command was accepted; without a lease it steers `for_s` (default: topic_s)."""
        self._land_s = inf
        if lease is None:
            self._steering = False
            self._topic_until_s = now_s + (self._patience.topic_s if for_s is None else for_s)
            return
        self._topic_until_s = -inf
        self.lease = lease
        self._heard_s, self._left, self._steering = now_s, False, True

    def landing(self) -> None:
        """It is being landed, or stands: nobody needs to steer any more."""
        self._steering, self._topic_until_s, self._land_s = False, -inf, inf

    def pilot(self, lease: Lease, *, present: bool, now_s: float) -> None:
        """A bridge says whether the holder of this lease is there."""
        if self._outdated(lease):
            return
        self.lease = lease
        self._heard_s, self._left = now_s, not present
        if present and self._land_s < inf:  # it was lost, and is back in time
            self._land_s, self._steering = inf, True

    # -- what is due

    def lost(self, now_s: float, *, busy: bool) -> str | None:
        """Said once, when the pilot who steers has fallen silent: the vehicle is to hold.

        `busy`: a take-off or a policy's flight is under way, which a bare topic's pilot waits for.
        """
        if self._steering and not self.present(now_s):
            self._steering = False
            self._land_s = now_s + self._patience.landing_s
            why = "The pilot left" if self._left else "The pilot's heartbeat was lost"
            return f"{why}: holding, landing in {self._patience.landing_s:.0f} s."
        if now_s > self._topic_until_s > -inf and not busy:
            self._topic_until_s = -inf
            return "No command came any more: holding."
        return None

    def land_again(self, now_s: float) -> None:
        """A landing that nobody watches did not come to its end."""
        self._land_s = now_s + _AGAIN_S

    def landing_due(self, now_s: float) -> bool:
        """True once, when a lost pilot's vehicle is to be landed."""
        if now_s < self._land_s:
            return False
        self._land_s = inf
        return True

    def present(self, now_s: float) -> bool:
        """Whether the pilot of the newest lease is there."""
        return not self._left and now_s - self._heard_s <= self._patience.pilot_s

    def _outdated(self, lease: Lease) -> bool:
        known = self.lease
        if known is None:
            return False
        return lease.token < known.token or (lease.token == known.token and lease != known)
