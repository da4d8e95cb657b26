"""One pilot has the controls, and how they pass on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from racer.control.events import Events
from racer.control.lease import LEASE_S, Controls, Holder
from racer.control.pilots import BEAT_S, HEARTBEAT_HZ, Pilots, cancelled
from racer.errors import ConflictError, NotFoundError, UnavailableError
from racer.flight.authority import Lease
from tests.control.rig import until


@pytest.fixture
def controls() -> Controls:
    return Controls("here")


def ada() -> Holder:
    return Holder("a", "Ada", 0.0)


def grace() -> Holder:
    return Holder("g", "Grace", 0.0)


def test_the_first_has_them_and_every_lease_has_a_higher_token(controls: Controls) -> None:
    one, two = ada(), grace()
    assert controls.acquire(one, 1.0)
    assert not controls.acquire(one, 2.0)  # a renewal
    assert controls.lease == Lease(1, "here")
    with pytest.raises(ConflictError, match="Ada has the controls"):
        controls.acquire(two, 3.0)
    assert controls.release(one)
    assert not controls.release(one)
    assert controls.acquire(two, 4.0)
    assert controls.lease == Lease(2, "here")


def test_silence_loses_them_only_to_somebody_who_wants_them(controls: Controls) -> None:
    one, two = ada(), grace()
    controls.acquire(one, 0.0)
    assert not controls.acquire(one, 2 * LEASE_S)
    with pytest.raises(ConflictError):
        controls.acquire(two, 3 * LEASE_S - 0.1)
    assert controls.acquire(two, 3 * LEASE_S)
    assert controls.holder is two


def test_they_are_handed_over_by_who_has_them(controls: Controls) -> None:
    one, two = ada(), grace()
    controls.acquire(one, 0.0)
    with pytest.raises(ConflictError, match="do not have"):
        controls.hand_over(two, two, 1.0)
    controls.hand_over(one, two, 1.0)
    assert (controls.holder, controls.lease.token) == (two, 2)


def test_another_services_lease_ends_ours_and_is_respected(controls: Controls) -> None:
    one = ada()
    controls.acquire(one, 0.0)
    assert not controls.heard(Lease(1, "here"), present=True)
    assert controls.heard(Lease(8, "there"), present=True)
    assert controls.holder is None
    with pytest.raises(ConflictError, match="another service"):
        controls.acquire(one, 1.0)
    controls.heard(Lease(8, "there"), present=False)
    assert controls.acquire(one, 2.0)
    assert controls.lease == Lease(9, "here")


def test_a_restarted_service_goes_on_from_the_controllers_token(controls: Controls) -> None:
    controls.heard(Lease(41, "before"), present=False)
    controls.acquire(ada(), 0.0)
    assert controls.lease == Lease(42, "here")
    assert not controls.heard(Lease(41, "before"), present=False)  # said before it heard of ours
    assert not controls.heard(None, present=False)  # or a new controller, which knows nothing


class Room:
    """Pilots, and what the controller and everybody is told."""

    def __init__(self) -> None:
        self.told: list[tuple[int, bool]] = []
        self.events = Events()
        self.heard = self.events.subscribe()
        self.pilots = Pilots(
            self.events, lambda lease, here, _: self.told.append((lease.token, here))
        )

    async def event(self) -> dict[str, Any]:
        return await asyncio.wait_for(anext(self.heard), 1.0)


def story(main: Callable[[Room], Coroutine[Any, Any, None]]) -> None:
    async def run() -> None:
        await main(Room())

    asyncio.run(run())


def test_everybody_hears_who_flies_and_the_controller_first() -> None:
    async def main(room: Room) -> None:
        pilots = room.pilots
        with pilots.pilot("Ada") as ada, pilots.pilot("Grace") as grace:
            assert pilots.acquire(ada).token == 1
            assert await room.event() == {"type": "lease", "pilot": "Ada", "pilot_id": ada.id}
            pilots.ask(grace)
            asked = await room.event()
            assert (asked["type"], asked["pilot_id"]) == ("lease_requested", grace.id)
            with pytest.raises(NotFoundError):
                pilots.hand_over(ada, "nobody")
            pilots.hand_over(ada, grace.id)
            assert (await room.event())["pilot"] == "Grace"
            assert pilots.lease_of(ada) is None
            assert pilots.lease_of(grace) == pilots.acquire(grace)
        assert await room.event() == {"type": "lease", "pilot": None, "pilot_id": None}
        assert room.told == [(1, True), (2, True), (2, False)]

    story(main)


@pytest.mark.parametrize("freezes", [False, True], ids=["starts slowly", "was stopped"])
def test_what_waited_for_a_stopped_service_is_refused_but_not_after_a_slow_start(
    freezes: bool,
) -> None:
    async def main(room: Room) -> None:
        now_s = asyncio.get_running_loop().time()
        room.pilots._clock = lambda: now_s
        beating = asyncio.create_task(room.pilots.beat())
        if freezes:
            await asyncio.sleep(0.0)  # the first beat
        now_s += 5.0
        with room.pilots.pilot("Ada") as ada:
            for _ in range(2 if freezes else 0):
                with pytest.raises(UnavailableError, match="was stopped meanwhile"):
                    room.pilots.acquire(ada)
                now_s += 0.6
            assert room.pilots.acquire(ada).token == 1
        await cancelled(beating)

    story(main)


def test_the_controller_hears_a_heartbeat_until_the_client_freezes() -> None:
    async def main(room: Room) -> None:
        with room.pilots.pilot("Ada") as pilot:
            beating = asyncio.create_task(room.pilots.beat())
            room.pilots.acquire(pilot)
            pilot.seen(beat=True)
            began = asyncio.get_running_loop().time()
            await until("the freeze", lambda: not room.told[-1][1])
            frozen_s = asyncio.get_running_loop().time() - began
            assert frozen_s >= BEAT_S
            assert len(room.told) >= 0.7 * BEAT_S * HEARTBEAT_HZ
            pilot.seen()
            await until("the thaw", lambda: room.told[-1][1])
            await cancelled(beating)

    story(main)


def test_a_client_without_heartbeats_is_there_as_long_as_it_is_connected() -> None:
    async def main(room: Room) -> None:
        with room.pilots.pilot("Ada") as pilot:
            room.pilots.acquire(pilot)
            await asyncio.sleep(1.2 * BEAT_S)
            assert pilot.present
            room.pilots.step_away(pilot, away=True)
            assert room.told[-1] == (1, False)
            room.pilots.step_away(pilot, away=False)
            assert room.told[-1] == (1, True)

    story(main)


def test_who_has_left_gets_no_controls() -> None:
    """A command may have waited for its turn meanwhile."""

    async def main(room: Room) -> None:
        gone = room.pilots.join("Ada")
        room.pilots.acquire(gone)
        room.pilots.leave(gone)
        with pytest.raises(ConflictError, match="has left"):
            room.pilots.acquire(gone)
        with room.pilots.pilot("Grace") as grace:
            room.pilots.acquire(grace)

    story(main)
