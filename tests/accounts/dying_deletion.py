"""Deletes ada's account and dies (kill -9) right after the given step of it, counted from 1.

    python -m tests.accounts.dying_deletion STEP

A step is a commit that changes something, a folder that is renamed or one that is removed. Exits
with 0 when the deletion has fewer steps.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sqlalchemy import event
from sqlalchemy.orm import Session

from racer.settings import Settings
from tests.accounts.test_deletion import serving


class Steps:
    """Counts them, and dies after the last."""

    def __init__(self, most: int) -> None:
        self._left = most
        event.listen(Session, "after_flush", lambda session, _: session.info.update(wrote=True))
        event.listen(Session, "after_commit", self._committed)
        shutil.rmtree = self._counted(shutil.rmtree)  # type: ignore[assignment]
        Path.rename = self._counted(Path.rename)  # type: ignore[method-assign]

    def _committed(self, session: Session) -> None:
        if session.info.pop("wrote", False):
            self._take()

    def _counted(self, work: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*arguments: Any, **options: Any) -> Any:
            done = work(*arguments, **options)
            self._take()
            return done

        return counted

    def _take(self) -> None:
        self._left -= 1
        if self._left == 0:
            os.kill(os.getpid(), signal.SIGKILL)


async def delete(step: int) -> None:
    async with serving(Settings(_env_file=None)) as rig:
        Steps(step)
        answer = await rig.http.delete("/users/ada")
        assert answer.status_code == 204, answer.text
        os._exit(0)  # what the end of the service does is no step


if __name__ == "__main__":
    asyncio.run(delete(int(sys.argv[1])))
