"""Kills a controller whose event loop hangs, so that the vehicle's own failsafe takes over.

MAVSDK repeats the last setpoint from a thread of its own: a controller that hangs would fly on for
ever. The watchdog is a forked process that hears a beat through a pipe and ends with the pipe.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import time

from racer.process import fork_companion

STALL_S = 1.5  # without a beat; PX4 notices the missing setpoints a second later


class Watchdog:
    """The beating end. `beat` is called by the loop that must not hang."""

    def __init__(self, pipe: int) -> None:
        self._pipe = pipe

    def beat(self) -> None:
        """Still alive. Never blocks: a full pipe holds enough beats."""
        try:
            os.write(self._pipe, b".")
        except BlockingIOError:
            return
        except BrokenPipeError:
            return  # the watchdog was killed; the controller flies on without it

    def close(self) -> None:
        """The loop ends as it should: the watchdog ends, too."""
        os.close(self._pipe)


def fork_watchdog(stall_s: float = STALL_S) -> Watchdog:
    """Fork it. It counts from the first beat on, so that a slow start is no stall."""
    hears, speaks = os.pipe()
    watched = os.getpid()
    fork_companion("watchdog", hears, lambda: _watch(hears, watched, stall_s))
    os.close(hears)
    os.set_blocking(speaks, False)
    return Watchdog(speaks)


def _watch(hears: int, watched: int, stall_s: float) -> None:
    """Read beats until the pipe ends; kill `watched` when one is late."""
    if not os.read(hears, 4096):
        return
    while True:
        began_s = time.monotonic()
        ready, _, _ = select.select([hears], [], [], stall_s)
        if ready:
            if not os.read(hears, 4096):
                return
        elif time.monotonic() - began_s < stall_s + 0.5:  # or we were stopped ourselves, with it
            os.kill(watched, signal.SIGKILL)  # before anything that may fail
            print(f"drone_controller: its loop hung for {stall_s:g} s; PX4 holds.", file=sys.stderr)
            return
