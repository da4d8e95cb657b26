"""Which messages are acted on: each id once, nothing that is old, nobody without the right to fly.

Pure but for what it remembers; times are monotonic seconds of this machine. `stop` and `land` are
let through whoever sends them and however late they come: they are what a vehicle does anyway when
nobody flies it.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from dataclasses import dataclass

from racer.errors import InvalidInputError
from racer.flight.authority import Authority, Lease
from racer.flight.commands import (
    Command,
    CommandRequest,
    CommandResult,
    Order,
    StickRequest,
    lease_of,
)

STALE_S = 2.0  # a command that took longer to come here is not flown any more
STALE_STICKS_S = 0.5
_THAW_S = 1.0  # after our own stop, messages that waited meanwhile come in
_REMEMBERED = 1000  # ids with their answers
OPEN = frozenset({Command.STOP, Command.LAND})


@dataclass(slots=True)
class _Entry:
    order: Order
    result: CommandResult | None = None


class Repeated(Exception):  # noqa: N818 - no error: it was asked before
    """An id that was used before; `result` is its answer, None while it is still being flown."""

    def __init__(self, result: CommandResult | None) -> None:
        super().__init__("asked before")
        self.result = result


class Admission:
    """Remembers ids and answers; asks the authority who may fly."""

    def __init__(self, authority: Authority) -> None:
        self._authority = authority
        self._book: OrderedDict[str, _Entry] = OrderedDict()
        self._thawed_s = float("-inf")

    def thawed(self, now_s: float) -> None:
        """This process was stopped until now: what it hears next may be old."""
        self._thawed_s = now_s

    def admit(self, request: CommandRequest, now_s: float) -> str | None:
        """Why the command is not flown; None if it is, which the authority is told.

        Raises Repeated when its id was used before for the same order.
        """
        if request.command in OPEN:  # doing it twice is what its sender wants
            self._tell_open(request, now_s)
            return None
        order = Order(request.command, request.policy)
        if (entry := self._book.get(request.id or "")) is not None:
            if entry.order != order:
                return f"The id {request.id!r} was used before, for {entry.order}."
            raise Repeated(entry.result)
        why = self._stale(request, now_s, STALE_S)
        why = why or self._authority.refusal(request.lease, now_s)
        if why is None:
            self._authority.commanded(request.lease, now_s)
        if request.id:
            self._book[request.id] = _Entry(order)
            while len(self._book) > _REMEMBERED:
                self._book.popitem(last=False)
        return why

    def answered(self, result: CommandResult) -> None:
        """Keep the answer for whoever repeats the question."""
        if (entry := self._book.get(result.id or "")) is not None:
            entry.result = result

    def admit_sticks(self, request: StickRequest, now_s: float) -> str | None:
        """Why the sticks may not steer; None if they may. Who lets them steer calls `steered`."""
        why = self._stale(request, now_s, STALE_STICKS_S)
        return why or self._authority.refusal(request.lease, now_s)

    def steered(self, request: StickRequest, now_s: float) -> None:
        """The sticks steer: who holds them is the pilot."""
        self._authority.commanded(request.lease, now_s, for_s=STALE_STICKS_S)

    def _tell_open(self, request: CommandRequest, now_s: float) -> None:
        """Anybody may stop and land. Only who could fly as well is the pilot by that, and nobody
        of the bare topic: a vehicle that waits for its landing still lands."""
        authority, lease = self._authority, request.lease
        if request.command is Command.LAND:
            authority.landing()
        elif lease is not None and authority.refusal(lease, now_s) is None:
            authority.commanded(lease, now_s)

    def _stale(
        self, request: CommandRequest | StickRequest, now_s: float, limit_s: float
    ) -> str | None:
        age_s = None if request.sent is None else request.sent.age_s(now_s)
        if age_s is not None and age_s > limit_s:
            return f"It was sent {age_s:.1f} s ago (limit {limit_s:g} s) and is not flown any more."
        if age_s is None and now_s - self._thawed_s < _THAW_S:
            return "The controller was stopped meanwhile: this may be old. Send it again."
        return None


def parse_presence(text: str) -> tuple[Lease, bool]:
    """Understand `{"lease": {…}, "present": true}` from a bridge. Raises InvalidInputError."""
    try:
        fields = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidInputError("A bridge's word on its pilot must be JSON.") from error
    given = fields if isinstance(fields, dict) else {}
    lease, present = lease_of(given.get("lease")), given.get("present")
    if lease is None or not isinstance(present, bool):
        raise InvalidInputError('Expected {"lease": {"token": 7, "holder": "…"}, "present": true}.')
    return lease, present
