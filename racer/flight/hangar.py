"""Where the controller finds trained policies."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from racer.errors import UnavailableError
from racer.flight.plan import RacePlan, load_plan, run_folder


class Hangar:
    """Where the policies are, and which airframe the vehicle is."""

    def __init__(self, runs: Path, airframe: str) -> None:
        """`runs`: a folder with one folder a training run, named by its id."""
        self._runs = runs
        self._airframe = airframe
        # Not the event loop's threads: setpoints pass through those, and a disk may hang.
        self._loader = ThreadPoolExecutor(1, thread_name_prefix="policies")

    async def fetch(self, policy: str) -> RacePlan:
        """The policy of that run. Raises RacerError; checks and loads off the event loop."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._loader, self._fetch, policy)

    def _fetch(self, policy: str) -> RacePlan:
        try:
            return load_plan(run_folder(self._runs, policy), airframe=self._airframe)
        except OSError as error:
            raise UnavailableError(f"The policy cannot be read: {error.strerror}.") from error
