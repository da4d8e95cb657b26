"""Who got the controls from whom is in the audit log."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from models import AuditEntry
from racer.control import lease as leases
from racer.control import take_overs
from racer.control.take_overs import TakeOver, TakeOverLog
from racer.flight.authority import Account, Lease
from racer.settings import Settings
from tests.control.rig import Rig, heard, run, serving, slot_settings, until


@pytest.fixture
def settings(tmp_path: Path) -> Iterator[Settings]:
    with slot_settings(tmp_path) as settings:
        yield settings


def told(rig: Rig) -> list[tuple[str, str, str]]:
    """The log's entries on leases, the oldest first."""
    with rig.app.state.database.session(read_only=True) as session:
        entries = session.scalars(select(AuditEntry).order_by(AuditEntry.number))
        lines = [(entry.actor, entry.action, entry.target) for entry in entries]
    return [line for line in lines if line[1].startswith("lease.")]


async def say(socket: Any, kind: str, **fields: object) -> None:
    await socket.send(json.dumps({"type": kind, **fields}))


def test_take_overs_are_audited_with_both_accounts(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story() -> None:
        async with serving(settings) as rig:
            for name in ("ada", "grace"):
                await rig.http.post("/users/", json={"username": name})
            async with (
                rig.socket("/ws/control?pilot=A&username=ada") as ada,
                rig.socket("/ws/control?pilot=G&username=grace") as grace,
                rig.socket("/ws/control?pilot=password1") as guest,
            ):
                await say(ada, "acquire")
                await heard(ada, "lease")
                await say(ada, "renew")
                await heard(ada, "lease")
                await say(grace, "request")
                asked = await heard(ada, "lease_requested")
                await say(ada, "hand_over", to=asked["pilot_id"])
                expected = [("ada", "lease.hand_over", "drone {}: ada -> grace")]

                def as_expected() -> bool:
                    drone = rig.control.drone
                    return told(rig) == [(a, b, c.format(drone)) for a, b, c in expected]

                await until("the hand-over", as_expected)
                monkeypatch.setattr(leases, "LEASE_S", 0.0)  # everybody is silent at once
                await say(guest, "acquire")
                expected.append(("", "lease.take", "drone {}: grace -> no account"))
                await until("the first taking", as_expected)
                await say(ada, "acquire")
                expected.append(("ada", "lease.take", "drone {}: no account -> ada"))
                await until("the second taking", as_expected)
                token = rig.control.pilots._controls.lease.token
                rig.control.pilots.heard(Lease(token + 1, "elsewhere"), present=True)
                expected.append(("", "lease.lose", "drone {}: ada -> another service"))
                await until("the loss", as_expected)
            entries = (await rig.http.get("/audit")).status_code
            assert entries == 401  # not everybody's to read

    run(story())


def test_pilots_who_throw_the_controls_to_and_fro_fill_no_log(settings: Settings) -> None:
    """A hundred wait, one a second is written meanwhile, and the rest at the end."""
    pilots = [Account(number, f"pilot {number}") for number in range(250)]

    async def story() -> None:
        async with serving(settings) as rig:
            began_s = time.monotonic()
            async with TakeOverLog(rig.app.state.database, drone=7) as log:
                for giver, taker in itertools.product(pilots[:2], pilots):
                    for _ in range(3):
                        log.tell(TakeOver("lease.hand_over", giver, taker))
                await until("the first", lambda: told(rig))
                written, gone_s = len(told(rig)), time.monotonic() - began_s
                assert written <= 1 + gone_s / take_overs._PACE_S
            assert told(rig) == [
                ("", "lease.hand_over", f"drone 7: pilot 0 -> pilot {number + 1}")
                for number in range(take_overs._MOST_WAITING)
            ]

    run(story())
