"""Pilots made by hand, and one folder of compiled programs for every race of a test run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from racer.learning.compile_cache import keep_compiled_programs
from racer.racing.config import Entry, RaceConfig
from racer.racing.entrants import Entrant, admit
from racer.sim.airframe import load_airframe
from tests.racing.pilots import write_pilot

TOLEDO = (Path("racer/sim/tracks/toledo.toml")).read_text(encoding="utf-8")
SPEEDS = (3.0, 5.0, 6.0, 9.0)  # the first runs out of time, the last hits a frame

MakeRace = Callable[..., RaceConfig]


@pytest.fixture(scope="session")
def pilots(tmp_path_factory: pytest.TempPathFactory) -> dict[float, Path]:
    """Folders of policies by the speed they fly at, m/s."""
    home = tmp_path_factory.mktemp("pilots")
    folders = {speed: home / f"{speed:g}" for speed in SPEEDS}
    for speed, folder in folders.items():
        write_pilot(folder, speed)
    return folders


@pytest.fixture(scope="session")
def entrants(pilots: dict[float, Path]) -> dict[float, Entrant]:
    """The same, loaded."""
    found = {}
    for number, (speed, folder) in enumerate(pilots.items()):
        entrant = admit(Entry(id=number, name=f"{speed:g} m/s", policy=str(folder)), X500)
        assert isinstance(entrant, Entrant)
        found[speed] = entrant
    return found


@pytest.fixture(scope="session")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The folder of compiled programs, in use from here on."""
    folder = tmp_path_factory.mktemp("race_programs")
    keep_compiled_programs(folder)
    return str(folder)


@pytest.fixture(scope="session")
def make_race(pilots: dict[float, Path], compiled: str) -> MakeRace:
    """A race on the shipped course; `changes` to its configuration, `speeds` of its entrants."""

    def make(speeds: tuple[float, ...] = SPEEDS, **changes: object) -> RaceConfig:
        entries = tuple(
            Entry(id=10 + number, name=f"{speed:g} m/s", policy=str(pilots[speed]))
            for number, speed in enumerate(speeds)
        )
        given = {
            "format": "time_trial",
            "track": TOLEDO,
            "airframe": "x500",
            "seed": 7,
            "entrants": entries,
            "attempts": 2,
        }
        return RaceConfig.model_validate(given | changes)

    return make


X500 = load_airframe("x500")
