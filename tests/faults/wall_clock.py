"""A wall clock that a test sets while programs run, as NTP or an operator does.

Debian's libfaketime answers for the kernel. As with a real step, monotonic clocks and the times of
files go on as they were.
"""

from __future__ import annotations

from pathlib import Path

import pytest

_LIBRARY = "faketime/libfaketimeMT.so.1"  # the one for programs with threads
_MISSING = (
    "libfaketime is not installed, and this test sets the clock with it. Type:\n"
    "    apt-get install -y --no-install-recommends faketime"
)


class WallClock:
    """Of the processes that are started with its `environment`, from the right time on."""

    def __init__(self, folder: Path) -> None:
        """Keeps its file in the folder."""
        library = next(Path("/usr/lib").glob(f"*/{_LIBRARY}"), None)
        if library is None:
            pytest.fail(_MISSING, pytrace=False)
        self._file = folder / "clock"
        self.off_s = 0
        self.jump(0)
        self.environment = {
            "LD_PRELOAD": str(library),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_CACHE_DURATION": "1",  # s, until each process has seen a jump
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            # It would mend waits by the monotonic clock that this Debian's glibc keeps well, and
            # hang Fast DDS for seconds.
            "FAKETIME_FORCE_MONOTONIC_FIX": "0",
            "NO_FAKE_STAT": "1",
        }

    def jump(self, seconds: int) -> None:
        """Set it forward, or back by a negative number."""
        self.off_s += seconds
        beside = self._file.with_suffix(".new")
        beside.write_text(f"{self.off_s:+d}\n")
        beside.replace(self._file)  # nobody reads a half of it
