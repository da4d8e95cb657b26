"""Where the controller finds trained policies."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from racer.errors import UnavailableError
from racer.flight.plan import RacePlan, load_plan, policy_folder


class Hangar:
    """Where the policies are, and which airframe the vehicle is."""

    def __init__(self, places: Sequence[Path], airframe: str) -> None:
        """`places`: folders with one folder a training run or kept policy, named by its id."""
        self._places = tuple(places)
        self._airframe = airframe
        # Not the event loop's threads: setpoints pass through those, and a disk may hang.
        self._loader = ThreadPoolExecutor(1, thread_name_prefix="policies")

    async def fetch(self, policy: str) -> RacePlan:
        """The policy of that id. Raises RacerError; checks and loads off the event loop."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._loader, self._fetch, policy)

    def _fetch(self, policy: str) -> RacePlan:
        try:
            return load_plan(policy_folder(self._places, policy), airframe=self._airframe)
        except OSError as error:
            raise UnavailableError(f"The policy cannot be read: {error.strerror}.") from error
