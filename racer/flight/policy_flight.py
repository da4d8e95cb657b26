"""A policy's folder flown from Python or the command line, without ROS 2.

    report = await fly_policy_folder(Path("data/runs/…"), url="udpin://0.0.0.0:14540")

The same pilot, loop and envelope as `fly_policy` on the control channel.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

from racer.errors import ConflictError, UnavailableError
from racer.flight.commands import Command
from racer.flight.connect import open_vehicle
from racer.flight.pilot import Pilot
from racer.flight.plan import RacePlan, load_plan
from racer.flight.report import RaceReport
from racer.flight.state import OUR_MODES, no_vehicle

_PATIENCE_S = 30.0  # for a vehicle to be heard; PX4 boots in five


async def fly_policy_folder(
    folder: Path,
    *,
    url: str,
    airframe: str = "x500",
    flights: int = 1,
    land: bool = True,
    patience_s: float = _PATIENCE_S,
) -> list[RaceReport]:
    """Race the policy in `folder` on the vehicle at the MAVSDK connection `url`, `flights` times.

    Takes off if need be and lands at the end unless told not to. A race that the safety envelope
    or the judge ended is a report like any other; it says why. A vehicle that somebody or something
    else took over (another mode) is left to them: the reports end there and nothing lands it.
    Raises RacerError when nothing can be flown: no such policy, another `airframe`, no vehicle, a
    vehicle that refuses.
    """
    plan = await asyncio.to_thread(load_plan, Path(folder), airframe=airframe)
    async with open_vehicle(url) as (pilot, monitor):
        if not await monitor.wait_for(
            lambda: monitor.state.connected and monitor.odometry is not None, timeout_s=patience_s
        ):
            raise UnavailableError(no_vehicle(url))
        reports: list[RaceReport] = []
        taken_over = False
        try:
            while len(reports) < flights and not taken_over:
                reports.append(await _race(pilot, plan))
                taken_over = monitor.state.mode not in OUR_MODES
        finally:
            if land and not taken_over:
                await pilot.execute(Command.LAND)
            await pilot.leave()
        return reports


async def _race(pilot: Pilot, plan: RacePlan) -> RaceReport:
    async def loaded() -> RacePlan:
        return plan

    before = pilot.race
    result = await pilot.execute(Command.FLY_POLICY, load=loaded)
    if pilot.race is None or pilot.race is before:
        raise ConflictError(result.message)
    return pilot.race
