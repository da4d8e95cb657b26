"""Who else is there: ground stations and onboard computers, known by their heartbeats.

PX4 says when the last of a kind falls silent and when one is back. With NAV_DLL_ACT = 0, PX4's
default, nothing else follows. Texts go to `say`; time comes in as an argument.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

from racer.autopilot.modes import Severity
from racer.autopilot.parameters import Parameters

# PX4's link takes a sender for present until 2.5 s after its heartbeat and looks every 1.25 s;
# 1.4 and 2.1 s were measured.
_PRESENT_S: Final = 1.8


class _Kind(NamedTuple):
    """What is said of senders with one MAV_TYPE. `aboard`: only with the vehicle's system id."""

    parameter: str  # s until they count as lost
    severity: Severity
    lost: str
    regained: str
    aboard: bool = False


_KINDS: Final = {
    6: _Kind(
        "COM_DL_LOSS_T",
        Severity.INFO,
        "Connection to ground station lost\t",
        "GCS connection regained\t",
    ),
    18: _Kind(
        "COM_OBC_LOSS_T",
        Severity.CRITICAL,
        "Connection to mission computer lost\t",
        "Onboard controller regained\t",
        aboard=True,
    ),
}


class Companions:
    """`hear` every heartbeat; `update` each tick."""

    def __init__(self, parameters: Parameters, say: Callable[[Severity, str], None]) -> None:
        self._parameters = parameters
        self._say = say
        self._heard_at_s: dict[int, float] = {}
        self._lost: set[int] = set()

    def hear(self, kind: int, now: float, *, aboard: bool = False) -> None:
        """A heartbeat with this MAV_TYPE; `aboard`: with the vehicle's own system id."""
        if kind not in _KINDS or (_KINDS[kind].aboard and not aboard):
            return
        self._heard_at_s[kind] = now
        if kind in self._lost:
            self._lost.remove(kind)
            self._say(Severity.INFO, _KINDS[kind].regained)

    def update(self, now: float) -> None:
        """Who has been silent for too long is lost."""
        for kind, heard_at_s in self._heard_at_s.items():
            what = _KINDS[kind]
            limit = self._parameters[what.parameter] + _PRESENT_S
            if kind not in self._lost and now - heard_at_s > limit:
                self._lost.add(kind)
                self._say(what.severity, what.lost)
