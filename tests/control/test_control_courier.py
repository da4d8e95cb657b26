"""What happens to a command whose pilot leaves, or whose controller or vehicle dies."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from racer.control.courier import MARGIN_S, YOUNG_S, Courier, Route
from racer.errors import UnavailableError
from racer.flight.authority import Lease
from racer.flight.commands import TIME_LIMITS_S, Command, CommandResult, Order


class Wire:
    """The far end of a courier's route: it notes what is published and answers when asked."""

    def __init__(self) -> None:
        self.up = asyncio.Event()
        self.up.set()
        self.ids: list[str] = []
        self.published: list[Command] = []
        self.courier = Courier(
            Route(flyable=self.up.is_set, wait_flyable=self._wait, publish=self._publish)
        )

    async def _wait(self) -> None:
        await self.up.wait()

    def _publish(self, order: Order, command_id: str, _: Lease | None) -> None:
        self.published.append(order.command)
        self.ids.append(command_id)

    def answer(self, number: int, message: str = "done") -> None:
        command = self.published[number]
        result = CommandResult(command, ok=True, message=message, id=self.ids[number])
        self.courier.on_result(result.to_json())

    def deliver(self, command: Command) -> asyncio.Task[CommandResult]:
        return asyncio.create_task(self.courier.deliver(Order(command)))


def story(main: Callable[[Wire], Coroutine[Any, Any, None]]) -> None:
    async def with_wire() -> None:
        wire = Wire()
        async with asyncio.timeout(5):
            await main(wire)
            await wire.courier.close()

    asyncio.run(with_wire())


async def settled() -> None:
    await asyncio.sleep(0.05)


def test_who_leaves_ends_the_wait_and_not_the_command() -> None:
    async def main(wire: Wire) -> None:
        asked = [wire.deliver(Command.MOVE_FORWARD), wire.deliver(Command.STOP)]
        await asyncio.sleep(0)  # both are accepted; stop has its turn 4 ms later
        for task in asked:
            task.cancel()
        await asyncio.gather(*asked, return_exceptions=True)
        await settled()
        assert wire.published == [Command.MOVE_FORWARD, Command.STOP]
        assert wire.courier.pending == 0

    story(main)


def test_without_a_controller_only_what_ends_a_flight_outlives_its_pilot() -> None:
    async def main(wire: Wire) -> None:
        wire.up.clear()
        asked = [wire.deliver(command) for command in Command]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        for task in asked:
            task.cancel()
        await asyncio.gather(*asked, return_exceptions=True)
        wire.up.set()
        await settled()
        assert set(wire.published) == {Command.LAND, Command.STOP}

    story(main)


@pytest.mark.parametrize("command", Command)
@pytest.mark.parametrize("dies", ["controller", "vehicle"])
def test_after_a_death_only_what_is_safe_twice_is_sent_again(command: Command, dies: str) -> None:
    again = {Command.STOP, Command.LAND} | ({Command.TAKEOFF} if dies == "vehicle" else set())

    async def main(wire: Wire) -> None:
        asking = wire.deliver(command)
        await settled()  # young: a moment ago this was taken for unheard
        wire.courier.controller_died() if dies == "controller" else wire.courier.vehicle_died()
        await settled()
        if command in again:
            assert wire.published == [command, command]
            wire.answer(1)
            assert (await asking).message == "done"
        else:
            with pytest.raises(UnavailableError, match=r"may have begun|on the ground"):
                await asking
            assert wire.published == [command]

    story(main)


def test_what_was_not_published_yet_is_sent_to_the_next_controller() -> None:
    async def main(wire: Wire) -> None:
        asked = [wire.deliver(Command.TURN_LEFT), wire.deliver(Command.TURN_RIGHT)]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert wire.published == [Command.TURN_LEFT]
        wire.courier.controller_died()
        await settled()
        assert wire.published == [Command.TURN_LEFT, Command.TURN_RIGHT]
        wire.answer(1)
        assert (await asked[1]).ok
        with pytest.raises(UnavailableError, match=r"may have begun"):
            await asked[0]

    story(main)


def test_the_controller_answers_what_a_dead_vehicle_was_told_long_ago() -> None:
    async def main(wire: Wire) -> None:
        asking = wire.deliver(Command.TAKEOFF)
        await asyncio.sleep(YOUNG_S + 0.1)
        wire.courier.vehicle_died()
        wire.answer(0, "The vehicle is gone.")
        assert (await asking).message == "The vehicle is gone."

    story(main)


def test_the_pilots_own_time_limit_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    limits: list[float | None] = []
    real_timeout = asyncio.timeout

    def noting(delay: float | None) -> asyncio.Timeout:
        limits.append(delay)
        return real_timeout(delay)

    async def main(wire: Wire) -> None:
        monkeypatch.setattr(asyncio, "timeout", noting)
        for number, command in enumerate(Command):
            asking = wire.deliver(command)
            await settled()
            wire.answer(number)
            await asking
        assert limits == [TIME_LIMITS_S[command] + MARGIN_S for command in Command]

    story(main)


@pytest.mark.parametrize("text", ["", "[]", "{}", "null", json.dumps({"id": 1}), "[" * 100_000])
def test_what_is_no_result_is_a_value_error(text: str) -> None:
    async def main(wire: Wire) -> None:
        with pytest.raises(ValueError, match=r".+"):
            wire.courier.on_result(text)

    story(main)
