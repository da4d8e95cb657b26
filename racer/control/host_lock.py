"""Which stack on this host runs vehicle number i: asked and answered without a file.

A Linux abstract socket name belongs to one process, vanishes with it even after `kill -9`, lives in
the same network namespace as the UDP ports it stands for, and shows whose it is. Free UDP ports
alone would let two stacks that start at the same moment each win one half.

Finding out who holds what reads all of /proc, so that happens in a thread: pilots are not kept
waiting while STACK=auto asks again every two seconds.
"""

from __future__ import annotations

import asyncio
import errno
import socket

import psutil

from racer.errors import ConfigurationError
from racer.flight.ports import port_conflict

_ADVICE = "Stop it, or set STACK=external to fly what is running there."


class HostLock:
    """The right to run the embedded stack of one vehicle instance."""

    def __init__(self, instance: int) -> None:
        self._instance = instance
        self._address = f"\0toledo-racer-stack-{instance}"
        self._socket: socket.socket | None = None

    async def acquire(self) -> None:
        """Take it. Raises ConfigurationError that says which process has it."""
        if self._socket is not None:
            return
        candidate = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            candidate.bind(self._address)
        except OSError as error:
            candidate.close()
            if error.errno != errno.EADDRINUSE:
                raise
            holder = await asyncio.to_thread(self._holder)
            raise ConfigurationError(
                f"Vehicle {self._instance} is already run by {holder}. {_ADVICE} "
                "Another VEHICLE_INSTANCE gives this one its own vehicle."
            ) from error
        self._socket = candidate

    def release(self) -> None:
        """Give it back; harmless if it was never taken."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _holder(self) -> str:
        shown = "@" + self._address[1:]
        try:
            for connection in psutil.net_connections(kind="unix"):
                if str(connection.laddr) == shown and connection.pid is not None:
                    command = " ".join(psutil.Process(connection.pid).cmdline())
                    return f"process {connection.pid} ({command})"
        except psutil.Error:  # it ended meanwhile, or may not be looked at
            return "another process"
        return "a process of another user"


async def check_ports(*ports: int) -> None:
    """Raise ConfigurationError that says who holds one of these UDP ports."""
    for port in ports:
        conflict = await asyncio.to_thread(port_conflict, f"udpin://0.0.0.0:{port}")
        if conflict is not None:
            raise ConfigurationError(f"{conflict} STACK=external uses what is already running.")
