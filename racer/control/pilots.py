"""Pilots at this service: who sits there, who has the controls, and telling the controller so.

Each socket or page is one pilot. Ten times a second the controller hears whether the one who has
the controls is there; it holds the vehicle when it hears nothing, or that they left.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import contextmanager
from math import inf
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import structlog

from racer.control.events import Events
from racer.control.lease import Controls, Holder
from racer.control.take_overs import TakeOver
from racer.errors import ConflictError, NotFoundError, UnauthorizedError, UnavailableError
from racer.flight.authority import Account, Lease
from racer.flight.ratekeeper import Ratekeeper

if TYPE_CHECKING:
    from collections.abc import Iterator

log = structlog.get_logger(__name__)

HEARTBEAT_HZ = 10.0
_FROZEN_S = 1.0  # without a beat: this process was stopped
_THAW_S = 1.0  # afterwards, what waited for us meanwhile comes in
BEAT_S = 1.0  # a client that sends heartbeats is gone after so long without any word

TellPresence = Callable[[Lease, bool, Account | None], None]


class Pilot:
    """One client. What it sends is a sign of life."""

    def __init__(self, holder: Holder, clock: Callable[[], float]) -> None:
        self.holder = holder
        self._clock = clock
        self._beats = False
        self.away = False  # a page whose connection is lost, and may come back
        self.suspended: str | None = None  # why they may not fly: their sign-in has ended

    @property
    def id(self) -> str:
        """Tells pilots of one name apart."""
        return self.holder.id

    def seen(self, *, beat: bool = False) -> None:
        """A word of theirs. From the first heartbeat on, more are expected."""
        self.holder.seen_s = self._clock()
        self._beats = self._beats or beat

    @property
    def present(self) -> bool:
        """Whether they are there, as far as one can tell: a client without heartbeats is there as
        long as its socket is open."""
        silent = self._beats and self._clock() - self.holder.seen_s > BEAT_S
        return not (self.away or silent)


class Pilots:
    """All of them, and the lease between them. Belongs to one event loop."""

    def __init__(
        self,
        events: Events,
        tell: TellPresence,
        took_over: Callable[[TakeOver], None] | None = None,
    ) -> None:
        """`tell` the controller whether the lease's pilot is there, and whose account that is;
        `took_over` is told when somebody gets the controls from somebody else."""
        self._events, self._tell = events, tell
        self._took_over = took_over
        self._clock = asyncio.get_running_loop().time
        self._controls = Controls(uuid4().hex)
        self._pilots: dict[str, Pilot] = {}
        self._ran_s: float | None = None  # when it was last seen to run, from the first beat on
        self._thawed_s = -inf

    def join(self, name: str, account: Account | None = None) -> Pilot:
        """A client that comes; `account` has been checked by who calls."""
        pilot = Pilot(Holder(uuid4().hex, name, self._clock(), account), self._clock)
        self._pilots[pilot.id] = pilot
        return pilot

    def leave(self, pilot: Pilot) -> None:
        """It is gone for good. Who leaves at the controls leaves a vehicle that holds."""
        if self._pilots.pop(pilot.id, None) is not None:
            self.release(pilot)

    @contextmanager
    def pilot(self, name: str, account: Account | None = None) -> Iterator[Pilot]:
        """A client, until the end of the block."""
        pilot = self.join(name, account)
        try:
            yield pilot
        finally:
            self.leave(pilot)

    def step_away(self, pilot: Pilot, *, away: bool) -> None:
        """A page lost its connection, or has it again; it keeps the controls meanwhile."""
        pilot.away = away
        if self.lease_of(pilot) is not None:
            self._tell_of(pilot)

    def fly_as(self, pilot: Pilot, account: Account | None) -> None:
        """Whose this client's flights are from now on; `account` has been checked by who calls."""
        pilot.holder.account = account
        if self.lease_of(pilot) is not None:
            self._tell_of(pilot)

    def suspend(self, pilot: Pilot, reason: str) -> None:
        """They may not fly any more; who has the controls leaves a vehicle that holds."""
        pilot.suspended = reason
        self.release(pilot)

    def resume(self, pilot: Pilot) -> None:
        """They may fly again, and have to take the controls first."""
        pilot.suspended = None

    @property
    def flying(self) -> Pilot | None:
        """Who has the controls."""
        holder = self._controls.holder
        return None if holder is None else self._pilots.get(holder.id)

    def acquire(self, pilot: Pilot) -> Lease:
        """The lease by which this pilot flies.

        Raises ConflictError while somebody else does and for a pilot who has left,
        UnauthorizedError when they are suspended, UnavailableError right after this process was
        stopped: what waited for it meanwhile is old, and the controller cannot see that.
        """
        if pilot.id not in self._pilots:  # nobody would beat for the lease, nor give it back
            raise ConflictError("That pilot has left.")
        if pilot.suspended is not None:
            raise UnauthorizedError(pilot.suspended)
        pilot.seen()
        self._notice_freeze()
        if self._clock() - self._thawed_s < _THAW_S:
            raise UnavailableError("The service was stopped meanwhile: this may be old. Try again.")
        if (flying := self.flying) is not None and flying is not pilot and flying.away:
            self.release(flying)  # a page without its connection keeps nobody waiting
        if self._controls.acquire(pilot.holder, self._clock()):
            self._changed()
            self._passed("lease.take", flying, pilot)
        return self._controls.lease

    def lease_of(self, pilot: Pilot) -> Lease | None:
        """Their lease, if they have the controls."""
        return self._controls.lease if self._controls.holder is pilot.holder else None

    def release(self, pilot: Pilot) -> None:
        """Give the controls back; no harm by one who has none."""
        lease = self._controls.lease
        if self._controls.release(pilot.holder):
            self._tell(lease, False, pilot.holder.account)
            self._changed()

    def ask(self, pilot: Pilot) -> None:
        """Tell everyone that this pilot wants the controls; who has them may hand them over."""
        self._events.broadcast({"type": "lease_requested", **_named(pilot)})

    def hand_over(self, pilot: Pilot, to: str) -> None:
        """Give the controls to the pilot of that id.

        Raises ConflictError without the controls, NotFoundError when nobody is called so.
        """
        if self._controls.holder is not pilot.holder:
            raise ConflictError("You do not have the controls.")
        if to not in self._pilots:
            raise NotFoundError("That pilot is not here any more.")
        if self._pilots[to].suspended is not None:
            raise ConflictError("That pilot has to sign in again first.")
        self._controls.hand_over(pilot.holder, self._pilots[to].holder, self._clock())
        self._changed()
        self._passed("lease.hand_over", pilot, self._pilots[to])

    def knows(self, pilot_id: str) -> bool:
        """Whether a pilot of that id is here."""
        return pilot_id in self._pilots

    def status(self) -> dict[str, Any]:
        """Who flies, for whoever asks."""
        flying = self.flying
        return {"pilot": None, "pilot_id": None} if flying is None else _named(flying)

    def heard(self, lease: Lease | None, *, present: bool) -> None:
        """What the controller says about the newest lease that it knows."""
        flying = self.flying
        if self._controls.heard(lease, present=present):
            self._changed()
            self._passed("lease.lose", flying, None)

    async def beat(self) -> None:
        """Tell the controller of its pilot, for ever."""
        keeper = Ratekeeper(HEARTBEAT_HZ, self._clock)
        self._ran_s = self._clock()
        while True:
            await keeper.wait()
            self._notice_freeze()
            if (flying := self.flying) is not None:
                self._tell_of(flying)

    def _notice_freeze(self) -> None:
        """Whether this process was stopped (SIGSTOP, a suspended machine): the first to run again
        notices."""
        if self._ran_s is None:  # the service is still starting, which may take a while
            return
        now_s = self._clock()
        stopped_s, self._ran_s = now_s - self._ran_s, now_s
        if stopped_s > _FROZEN_S:
            log.warning("this process was stopped", for_s=round(stopped_s, 1))
            self._thawed_s = now_s

    def _tell_of(self, flying: Pilot) -> None:
        self._tell(self._controls.lease, flying.present, flying.holder.account)

    def _passed(self, action: str, loser: Pilot | None, winner: Pilot | None) -> None:
        """The controls did, from one pilot to another."""
        if self._took_over is not None and loser is not None and loser is not winner:
            account = None if winner is None else winner.holder.account
            self._took_over(TakeOver(action, loser.holder.account, account))

    def _changed(self) -> None:
        if (flying := self.flying) is not None:
            self._tell_of(flying)
        self._events.broadcast({"type": "lease", **self.status()})


def _named(pilot: Pilot) -> dict[str, Any]:
    return {"pilot": pilot.holder.name, "pilot_id": pilot.id}


async def cancelled(task: asyncio.Task[None]) -> None:
    """End a task that runs for ever."""
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
