"""Peers of the controller that work in a thread of their own."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from types import TracebackType
from typing import Self


class InThread(ABC):
    """Works while the `with` block lasts."""

    def __init__(self) -> None:
        self.stopped = threading.Event()
        self._thread = threading.Thread(target=self.work)

    @abstractmethod
    def work(self) -> None:
        """Until `stopped`."""

    @abstractmethod
    def close(self) -> None:
        """After that."""

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stopped.set()
        self._thread.join()
        self.close()
