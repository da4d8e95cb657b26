"""Entering copies files: beside everybody else's work, all of it or nothing, within a bound."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from sqlalchemy import select, text

from database import Database
from models import Race, RaceEntry
from racer.races.pinned import Copies
from racer.settings import Settings
from tests.races.rig import Rig, serving
from tests.support import REPOSITORY, small_disk
from tests.training.conftest import play

PATIENCE_S = 30.0


class SlowDisk:
    """Once it is slow, the first to wait for it waits until it goes on."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self._patch, self._sync = patch, os.fsync
        self._asked, self._goes_on = threading.Event(), threading.Event()

    def slows_down(self) -> None:
        self._patch.setattr(os, "fsync", self._wait)

    def _wait(self, file: int) -> None:
        first = not self._asked.is_set()
        self._asked.set()
        if first:
            assert self._goes_on.wait(PATIENCE_S)
        self._sync(file)

    async def is_waited_for(self) -> None:
        assert await asyncio.to_thread(self._asked.wait, PATIENCE_S)

    def goes_on(self) -> None:
        self._goes_on.set()


@pytest.fixture
def slow_disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[SlowDisk]:
    disk = SlowDisk(monkeypatch)
    yield disk
    disk.goes_on()


def test_others_write_while_a_policy_is_copied(settings: Settings, slow_disk: SlowDisk) -> None:
    async def story() -> None:
        async with serving(settings, executes=False) as rig:
            await rig.account("ada")
            race, policy = await rig.race(), rig.keep("ada", 5.0)
            slow_disk.slows_down()
            entering = asyncio.create_task(rig.enter(race["id"], policy))
            await slow_disk.is_waited_for()
            async with asyncio.timeout(8.0):  # SQLite's writers give up after ten
                await rig.race(name="Another")
            assert not entering.done()
            slow_disk.goes_on()
            assert (await entering).status_code == 201
            assert rig.staged() == []
            assert rig.counted(race["id"]) == rig.measured(race["id"]) > 0

    play(story())


async def _start(rig: Rig, race_id: str, _policy: str) -> None:
    assert (await rig.http.post(f"/races/{race_id}/start")).status_code == 202


async def _cancel(rig: Rig, race_id: str, _policy: str) -> None:
    assert (await rig.http.post(f"/races/{race_id}/cancel")).status_code == 204


async def _delete_race(rig: Rig, race_id: str, _policy: str) -> None:
    assert (await rig.http.delete(f"/races/{race_id}")).status_code == 204


async def _delete_policy(rig: Rig, _race_id: str, policy: str) -> None:
    assert (await rig.http.delete(f"/policies/{policy}")).status_code == 204


@pytest.mark.parametrize(
    ("change", "status", "words"),
    [
        (_start, 409, "running"),
        (_cancel, 409, "cancelled"),
        (_delete_race, 404, "no race"),
        (_delete_policy, 404, "no policy"),
    ],
)
def test_what_changed_while_it_was_copied_counts(
    settings: Settings,
    slow_disk: SlowDisk,
    change: Callable[[Rig, str, str], Awaitable[None]],
    status: int,
    words: str,
) -> None:
    async def story() -> None:
        async with serving(settings, executes=False) as rig:
            await rig.account("ada")
            race, policy = await rig.race(), rig.keep("ada", 5.0)
            first = await rig.enter(race["id"], rig.keep("ada", 4.0))
            slow_disk.slows_down()
            entering = asyncio.create_task(rig.enter(race["id"], policy))
            await slow_disk.is_waited_for()
            await change(rig, race["id"], policy)
            slow_disk.goes_on()
            answer = await entering
            assert (answer.status_code, words in answer.json()["detail"]) == (status, True)
            with rig.app.state.database.session(read_only=True) as session:
                entries = session.scalars(select(RaceEntry.id).join(Race)).all()
            assert set(entries) <= {first.json()["id"]}
            assert set(rig.copies(race["id"])) <= {first.json()["id"]}
            assert rig.staged() == []

    play(story())


def test_a_full_disk_leaves_neither_row_nor_folder(sqlite_settings: Settings) -> None:
    with small_disk(sqlite_settings.data_dir / "races", "64k"):

        async def story() -> None:
            async with serving(sqlite_settings, executes=False) as rig:
                await rig.account("ada")
                race = await rig.race()
                answers = []
                for step in range(8):
                    answers.append(await rig.enter(race["id"], rig.keep("ada", 4.0 + step / 8)))
                full = [answer for answer in answers if answer.status_code == 503]
                assert full
                assert len(full) < len(answers)
                assert "Make room" in full[0].json()["detail"]
                entries = (await rig.http.get(f"/races/{race['id']}")).json()["entries"]
                assert len(entries) == len(answers) - len(full)
                assert rig.copies(race["id"]) == sorted(entry["id"] for entry in entries)
                assert rig.staged() == []
                assert rig.counted(race["id"]) == rig.measured(race["id"])
                place = f"/races/{race['id']}/entries/{entries[0]['id']}"
                assert (await rig.http.delete(place)).status_code == 204
                assert (await rig.enter(race["id"], rig.keep("ada", 6.0))).status_code == 201

        play(story())


def test_a_disk_that_fills_up_at_the_last_step_leaves_neither(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settle = Copies.settle

    def settle_and_fail(copies: Copies, staged: Path, race_id: str, entry_id: str) -> None:
        settle(copies, staged, race_id, entry_id)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    async def story() -> None:
        async with serving(settings, executes=False) as rig:
            await rig.account("ada")
            race = await rig.race()
            monkeypatch.setattr(Copies, "settle", settle_and_fail)
            full = await rig.enter(race["id"], rig.keep("ada", 5.0))
            assert full.status_code == 503
            assert (await rig.http.get(f"/races/{race['id']}")).json()["entries"] == []
            assert (rig.copies(race["id"]), rig.staged()) == ([], [])
            assert rig.counted(race["id"]) == 0

    play(story())


def test_a_full_disk_of_the_database_leaves_neither(tmp_path: Path) -> None:
    database = tmp_path / "database"
    url = f"sqlite:///{database / 'test.db'}"
    settings = Settings(_env_file=None, data_dir=tmp_path / "data", database_url=url)
    with small_disk(database, "4m"):

        async def story() -> None:
            async with serving(settings, executes=False) as rig:
                await rig.account("ada")
                race = await rig.race()
                policy = rig.keep("ada", 5.0)
                fill_up(database / "other")
                full = await rig.enter(race["id"], policy)
                assert full.status_code == 507, full.text
                assert (rig.copies(race["id"]), rig.staged()) == ([], [])
                assert (await rig.http.get(f"/races/{race['id']}")).json()["entries"] == []
                (database / "other").unlink()
                assert (await rig.enter(race["id"], policy)).status_code == 201

        play(story())


def fill_up(file: Path) -> None:
    with file.open("wb", buffering=0) as written, suppress(OSError):
        while written.write(bytes(4096)):
            pass


def test_when_nobody_knows_whether_it_was_entered_the_next_start_looks(
    postgres_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connection breaks before the commit: to remove the copy could be to lose an entry's."""
    settings = Settings(_env_file=None, data_dir=tmp_path, database_url=postgres_url)
    settle = Copies.settle

    def settle_and_cut(copies: Copies, staged: Path, race_id: str, entry_id: str) -> None:
        settle(copies, staged, race_id, entry_id)
        other = Database(postgres_url)
        with other.engine.begin() as connection:
            connection.execute(
                text(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                    "WHERE datname = current_database() AND pid <> pg_backend_pid()"
                )
            )
        other.dispose()

    async def story() -> str:
        async with serving(settings, executes=False) as rig:
            await rig.account("ada")
            race = await rig.race()
            with monkeypatch.context() as patch:
                patch.setattr(Copies, "settle", settle_and_cut)
                assert (await rig.enter(race["id"], rig.keep("ada", 5.0))).status_code == 503
            assert len(rig.copies(race["id"])) == 1
            race_id: str = race["id"]
            return race_id

    async def next_start(race_id: str) -> None:
        async with serving(settings, executes=False) as rig:
            assert rig.copies(race_id) == []

    play(next_start(play(story())))


KILLED = """
import asyncio, os, signal, sys
from pathlib import Path
from racer.races.pinned import Copies
from racer.settings import Settings
from tests.races.rig import serving

settle = Copies.settle

def killed(copies, staged, race_id, entry_id):
    if sys.argv[2] == "after":
        settle(copies, staged, race_id, entry_id)
    os.kill(os.getpid(), signal.SIGKILL)

async def story():
    data = Path(sys.argv[1])
    settings = Settings(_env_file=None, data_dir=data, database_url=f"sqlite:///{data}/test.db")
    async with serving(settings, executes=False) as rig:
        await rig.account("ada")
        race = await rig.race()
        (await rig.enter(race["id"], rig.keep("ada", 4.0))).raise_for_status()
        Copies.settle = killed
        await rig.enter(race["id"], rig.keep("ada", 5.0))

asyncio.run(story())
"""


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_kill_while_entering_leaves_what_the_next_start_removes(
    sqlite_settings: Settings, moment: str
) -> None:
    """Before and after the rename, in both cases before the commit."""
    command = [sys.executable, "-c", KILLED, str(sqlite_settings.data_dir), moment]
    died = subprocess.run(command, cwd=REPOSITORY, capture_output=True, timeout=60, check=False)
    assert died.returncode == -signal.SIGKILL, died.stderr.decode()
    folder = sqlite_settings.data_dir / "races"
    assert len([*folder.glob(".staged-*"), *folder.glob("*/*/")]) == 2  # rubbish and the first one

    async def story() -> None:
        async with serving(sqlite_settings, executes=False) as rig:
            (race,) = (await rig.http.get("/races")).json()["races"]
            (entry,) = (await rig.http.get(f"/races/{race['id']}")).json()["entries"]
            assert rig.copies(race["id"]) == [entry["id"]]
            assert rig.staged() == []
            assert rig.counted(race["id"]) == rig.measured(race["id"])

    play(story())
