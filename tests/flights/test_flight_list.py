"""`GET /users/{username}/flights`: recordings on the disk, read by the real program."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import update

from models import User
from racer.accounts.routes import router as accounts
from racer.flights import service
from racer.flights.routes import router as flights
from racer.flights.service import FlightService
from racer.settings import Settings
from racer.web.app import assemble, spine
from tests.flight.recorded import ADA, BOB, Recorder
from tests.training.conftest import play

T0 = 2_000_000_000.0


@asynccontextmanager
async def serving(settings: Settings, *names: str) -> AsyncIterator[httpx.AsyncClient]:
    """A service with these accounts, numbered from 1, made long before every flight."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with spine(app), FlightService(settings) as app.state.flights:
            yield

    app = assemble(settings, routers=(accounts, flights), lifespan=lifespan)
    transport = httpx.ASGITransport(app=app)
    async with (
        lifespan(app),
        httpx.AsyncClient(transport=transport, base_url="http://localhost") as http,
    ):
        for name in names:
            (await http.post("/users/", json={"username": name})).raise_for_status()
        yield http


def record(settings: Settings, at_s: float, account: dict[str, Any], seconds: float = 1.0) -> str:
    recorder = Recorder(settings.data_dir / "flights", at_s=at_s)
    recorder.take(account)
    recorder.hover((0.0, 0.0, 2.5), seconds)
    return recorder.close()


@pytest.fixture
def sqlite_settings(tmp_path: Path, migrated_sqlite_url: str) -> Settings:
    return Settings(_env_file=None, data_dir=tmp_path, database_url=migrated_sqlite_url)


def test_an_accounts_flights_are_listed_the_newest_first(settings: Settings) -> None:
    async def story() -> None:
        async with serving(settings, "ada", "bob") as http:
            assert (await http.get("/users/eve/flights")).status_code == 404
            nothing = {"flights": [], "next": None, "unread": 0}
            assert (await http.get("/users/ada/flights")).json() == nothing  # no folder yet
            first = record(settings, T0, ADA, 1.0)
            second = record(settings, T0 + 100.0, BOB)
            third = record(settings, T0 + 200.0, ADA, 2.0)
            page = (await http.get("/users/ada/flights")).json()
            assert [row["id"] for row in page["flights"]] == [third, first]
            newest = page["flights"][0]
            assert newest["flown_s"] == pytest.approx(2.0, abs=0.1)
            assert (newest["drone"], newest["airframe"]) == (1, "x500")
            assert newest["wind_speed_m_s"] == 0.0
            began = datetime.fromisoformat(newest["began_at"])
            assert began == datetime.fromtimestamp(T0 + 200.0, UTC)
            theirs = (await http.get("/users/bob/flights")).json()
            assert [row["id"] for row in theirs["flights"]] == [second]

            page = (await http.get("/users/ada/flights?limit=1")).json()
            assert ([row["id"] for row in page["flights"]], page["next"]) == ([third], third)
            page = (await http.get(f"/users/ada/flights?limit=1&before={third}")).json()
            assert ([row["id"] for row in page["flights"]], page["next"]) == ([first], None)
            for wrong in ("limit=0", "limit=201", f"before={'x' * 101}"):
                assert (await http.get(f"/users/ada/flights?{wrong}")).status_code == 422

    play(story())


def test_a_later_account_of_the_same_name_and_number_has_none_of_them(
    sqlite_settings: Settings,
) -> None:
    async def story() -> None:
        async with serving(sqlite_settings, "ada", "bob") as http:
            record(sqlite_settings, T0, ADA)
            record(sqlite_settings, T0 + 100.0, {"id": 2, "username": "ada"})  # a name passed on
            page = (await http.get("/users/ada/flights")).json()
            assert len(page["flights"]) == 1
            app: Any = http._transport.app  # type: ignore[attr-defined]
            later = datetime.fromtimestamp(T0, UTC) + timedelta(seconds=1)
            with app.state.database.session() as session:
                session.execute(update(User).values(created_at=later))
            assert (await http.get("/users/ada/flights")).json()["flights"] == []
            assert (await http.get("/users/bob/flights")).json()["flights"] == []

    play(story())


def test_who_asks_does_not_wait_for_ever_and_one_process_reads(
    sqlite_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The list says how many recordings wait; the reading goes on and ends with the service."""
    pids = sqlite_settings.data_dir / "pids"
    hung = sqlite_settings.data_dir / "hung"
    hung.write_text(f"#!/bin/sh\necho $$ >> {pids}\nexec sleep 1000\n")
    hung.chmod(0o700)

    async def story() -> None:
        monkeypatch.setattr(service, "_PATIENCE_S", 0.5)
        async with serving(sqlite_settings, "ada") as http:
            record(sqlite_settings, T0, ADA)
            monkeypatch.setattr(service.sys, "executable", str(hung))
            for _ in range(3):
                page = (await http.get("/users/ada/flights")).json()
                assert page == {"flights": [], "next": None, "unread": 1}
        [pid] = pids.read_text().split()
        with pytest.raises(ProcessLookupError):
            os.kill(int(pid), 0)

    play(story())


def test_recordings_that_cannot_be_read_now_hide_no_others(
    sqlite_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story() -> None:
        async with serving(sqlite_settings, "ada") as http:
            first = record(sqlite_settings, T0, ADA)
            assert len((await http.get("/users/ada/flights")).json()["flights"]) == 1
            record(sqlite_settings, T0 + 100.0, ADA)
            monkeypatch.setattr(service.sys, "executable", "/bin/false")
            page = (await http.get("/users/ada/flights")).json()
            assert [row["id"] for row in page["flights"]] == [first]
            assert page["unread"] == 1

    play(story())
