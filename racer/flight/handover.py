"""A controller that somebody starts by hand takes the place of a supervised one.

Whoever supervises a controller and would give it up listens on an abstract Unix socket named after
the vehicle; `drone_controller.py` asks there when it finds its UDP port held. The supervised
controller is ended as always, so the vehicle holds its place in between. Only the same user is
listened to: the kernel says who asks.
"""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from collections.abc import Awaitable, Callable

TAKE_OVER_S = 3.0  # a supervised controller leaves within a second, or is killed
_FREE = b"free\n"


def _address(instance: int) -> str:
    return f"\0toledo-racer-controller-{instance}"


async def offer(instance: int, step_aside: Callable[[], Awaitable[None]]) -> asyncio.Server:
    """Listen for a take-over of vehicle `instance`; `step_aside` ends our controller.

    Raises OSError if another process already offers this vehicle's controller.
    """

    async def asked(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if _user_of(writer) == os.getuid():
            await step_aside()
            writer.write(_FREE)
        writer.close()
        await writer.wait_closed()

    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(_address(instance))
    return await asyncio.start_unix_server(asked, sock=listener)


async def take_over(instance: int) -> bool:
    """Ask for vehicle `instance`; True when its supervised controller has gone."""
    try:
        async with asyncio.timeout(TAKE_OVER_S):
            reader, writer = await asyncio.open_unix_connection(_address(instance))
            try:
                return await reader.readline() == _FREE
            finally:
                writer.close()
    except (OSError, TimeoutError):  # nobody offers, or it does not answer: the port tells who
        return False


def _user_of(writer: asyncio.StreamWriter) -> int:
    """User id of the process at the other end."""
    peer = writer.get_extra_info("socket")
    credentials = peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    _, user, _ = struct.unpack("3i", credentials)
    return int(user)
