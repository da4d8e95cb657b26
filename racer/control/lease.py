"""The control lease: one pilot flies the vehicle, everyone else watches. Pure, no clock.

Whoever sends the first command while nobody flies has the controls. They pass on when the pilot
releases them, hands them to somebody who asked, leaves, or has been silent for LEASE_S and somebody
else wants them. Every lease has a higher token than any before it, also than those of other
services that the controller has heard of, so that it can refuse what comes too late.
"""

from __future__ import annotations

from dataclasses import dataclass

from racer.errors import ConflictError
from racer.flight.authority import Account, Lease

LEASE_S = 30.0  # of silence, after which somebody else may take the controls


@dataclass(eq=False, slots=True)
class Holder:
    """A pilot at the controls or beside them."""

    id: str
    name: str
    seen_s: float  # their last word
    account: Account | None = None  # None: a pilot without one


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """The lease that the controller knows, when it is not one of ours."""

    token: int
    present: bool  # its pilot is there


class Controls:
    """Who has the controls of one vehicle."""

    def __init__(self, service: str) -> None:
        """`service` names this process in its leases."""
        self._service = service
        self._token = 0  # the highest known, ours or not
        self._elsewhere = Elsewhere(0, False)
        self.holder: Holder | None = None

    @property
    def lease(self) -> Lease:
        """The newest that was given out here."""
        return Lease(self._token, self._service)

    def heard(self, lease: Lease | None, *, present: bool) -> bool:
        """What the controller says about the newest lease it knows; True when ours is void."""
        if lease is None or lease.holder == self._service:
            self._elsewhere = Elsewhere(0, False)
            return False
        self._elsewhere = Elsewhere(lease.token, present)
        if lease.token < self._token or self.holder is None:
            self._token = max(self._token, lease.token)
            return False
        self._token, self.holder = lease.token, None
        return True

    def acquire(self, pilot: Holder, now_s: float) -> bool:
        """Give `pilot` the controls; True when that changed who has them.

        Raises ConflictError while somebody else flies.
        """
        pilot.seen_s = now_s
        holder = self.holder
        if holder is pilot:
            return False
        if holder is not None and now_s - holder.seen_s < LEASE_S:
            raise ConflictError(
                f"{holder.name} has the controls. Ask for them, or wait: a pilot who is silent for "
                f"{LEASE_S:.0f} s loses them. `stop` and `land` are open to you."
            )
        if holder is None and self._elsewhere.present:
            raise ConflictError("Somebody flies through another service. `stop` and `land` work.")
        self._give(pilot)
        return True

    def release(self, pilot: Holder) -> bool:
        """Nobody has the controls any more; False when `pilot` did not have them."""
        if self.holder is not pilot:
            return False
        self.holder = None
        return True

    def hand_over(self, pilot: Holder, to: Holder, now_s: float) -> None:
        """`pilot` gives the controls to somebody. Raises ConflictError when they have none."""
        if self.holder is not pilot:
            raise ConflictError("You do not have the controls.")
        to.seen_s = now_s
        self._give(to)

    def _give(self, pilot: Holder) -> None:
        self._token += 1
        self.holder = pilot
