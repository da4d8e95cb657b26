"""What every command needs of the vehicle: to see facts come true in time, to hold, to be steered.

Nothing here believes that a request was carried out because it was accepted: the heartbeat says so.
"""

from __future__ import annotations

from collections.abc import Callable

from racer.flight.autopilot import Autopilot, AutopilotError
from racer.flight.commands import Setpoint
from racer.flight.monitor import FlightMonitor

_ASKS, _ASK_S = 5, 0.3  # for the heartbeat: a poor link loses the request or the answer


class Watch:
    """An autopilot's requests together with the facts that confirm them."""

    def __init__(self, autopilot: Autopilot, monitor: FlightMonitor) -> None:
        self._autopilot = autopilot
        self._monitor = monitor

    async def seen(self, predicate: Callable[[], bool], timeout_s: float) -> bool:
        """Whether the vehicle reported `predicate` in time; losing the link ends the command."""

        def check() -> bool:
            if not self._monitor.state.connected:
                raise AutopilotError("The connection to the vehicle was lost.")
            return predicate()

        return await self._monitor.wait_for(check, timeout_s=timeout_s)

    async def demand(self, predicate: Callable[[], bool], timeout_s: float, complaint: str) -> None:
        """Raises AutopilotError with the complaint unless `predicate` was seen in time."""
        if not await self.seen(predicate, timeout_s):
            raise AutopilotError(f"{complaint} within {timeout_s:g} s; it is in {self.where()}.")

    async def hold(self) -> None:
        """Have the vehicle hold its place; done when its heartbeat says so."""
        await self._autopilot.hold()
        await self._confirm(lambda: self._monitor.state.mode == "HOLD", "Hold")

    async def offboard(self, setpoint: Setpoint) -> None:
        """Steer with this setpoint; done when the heartbeat says Offboard. Else it is left in Hold,
        or MAVSDK would go on sending setpoints, and AutopilotError says why."""
        autopilot, state = self._autopilot, self._monitor.state
        refusals = autopilot.mode_refusals

        def in_offboard() -> bool:
            if autopilot.mode_refusals != refusals:
                raise AutopilotError(f"The vehicle refused Offboard; it is in {self.where()}.")
            return self._monitor.state.mode == "OFFBOARD"

        try:
            await autopilot.fly(setpoint)
            if state.mode == "OFFBOARD" and in_offboard():
                return
            await self._confirm(in_offboard, "Offboard")
        except AutopilotError:
            await autopilot.hold()
            raise

    async def _confirm(self, predicate: Callable[[], bool], mode: str) -> None:
        """Ask for the mode until `predicate` sees it; AutopilotError if it does not."""
        for _ in range(_ASKS):
            await self._autopilot.request_heartbeat()
            if await self.seen(predicate, _ASK_S):
                return
        raise AutopilotError(
            f"The vehicle did not go to {mode} within {_ASKS * _ASK_S:g} s; "
            f"it is in {self.where()}."
        )

    def where(self) -> str:
        """Mode and phase of the vehicle, in words."""
        state = self._monitor.state
        return f"{state.mode} ({state.phase.replace('_', ' ')})"
