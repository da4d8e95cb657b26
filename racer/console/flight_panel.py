"""Flying: seven buttons, the keyboard, a race, and a log of what became of every command.

A button sends its command once and the drone keeps doing it, as the commands are defined. A key
flies only while it is held. Whatever this page set in motion, it stops when it goes away, and when
it freezes.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from nicegui import background_tasks, ui

from racer.console.dead_man import DeadMan
from racer.console.elements import FlightKeys
from racer.console.layout import card, text
from racer.console.race_button import CONNECTED_ONLY, RaceButton

HOLD_TIMEOUT_S = 1.0  # four missed beats of flight_keys.js
RACE_TIMEOUT_S = 3.0  # a policy flies: browsers slow the beats of a page that nobody looks at
LOG_LINES = 6
MOTIONS = {"move_forward", "move_backward", "turn_left", "turn_right"}


@dataclass(frozen=True)
class Outcome:
    """What became of a command."""

    ok: bool
    message: str
    replaced: bool = False  # by another command: no success, and nothing to worry about
    refused: bool = False  # it was never sent: nothing moves by it


SendCommand = Callable[[str], Awaitable[Outcome]]


@dataclass(frozen=True)
class _Button:
    command: str
    label: str
    icon: str
    key: str
    look: str = ""


_PAD = (
    _Button("takeoff", "Take off", "flight_takeoff", "T", "up"),
    _Button("move_forward", "Forward", "arrow_upward", "↑"),
    _Button("land", "Land", "flight_land", "L", "down"),
    _Button("turn_left", "Turn left", "rotate_left", "←"),
    _Button("stop", "Stop", "pan_tool", "Space", "halt"),
    _Button("turn_right", "Turn right", "rotate_right", "→"),
    None,
    _Button("move_backward", "Backward", "arrow_downward", "↓"),
    None,
)


class _LogLine:
    """A command on its way, then with its result."""

    def __init__(self, command: str) -> None:
        self._root = ui.element("div").classes("log-line pending").props("data-result=pending")
        with self._root:
            text(time.strftime("%H:%M:%S"), "time")
            text(command.replace("_", " "), "b")
            self._message = text("Sent", "p")
        self._root.move(target_index=0)

    def finish(self, outcome: Outcome) -> None:
        """Show what became of it, unless the line or the page has gone meanwhile."""
        if self._root.is_deleted:
            return
        result = "ok" if outcome.ok else "replaced" if outcome.replaced else "failed"
        self._root.classes(replace=f"log-line {result}").props(f"data-result={result}")
        self._message.set_text(outcome.message or ("Done" if outcome.ok else "Failed"))

    def delete(self) -> None:
        """Make room."""
        self._root.delete()


class FlightPanel:
    """The pad of one page. `send` reports failures in its outcome, it does not raise."""

    def __init__(
        self,
        send: SendCommand,
        *,
        latest: Callable[[], Mapping[str, Any] | None],
        is_trained: Callable[[str], Awaitable[bool]],
        step_away: Callable[[bool], None],
        on_alive: Callable[[], None],
    ) -> None:
        """`latest` telemetry and `is_trained(drone_id)` tell whether a race can begin;
        `step_away(True)` is called when the page loses its connection, with False when it has it
        again; `on_alive` when the browser says that it is there."""
        self._send, self._on_alive = send, on_alive
        self._latest, self._is_trained = latest, is_trained
        self._moving = False
        self._lines: deque[_LogLine] = deque()
        self._dead_man = DeadMan(self._lost_touch, timeout_s=HOLD_TIMEOUT_S)
        with card("Fly", step=4, classes="fly") as (_section, head):
            with head:
                self._keys = FlightKeys(on_command=self._on_key, on_alive=self._alive)
            with ui.element("div").classes("fly-body"):
                self._build_pad()
                self._build_log()
        client = ui.context.client

        def lost() -> None:
            if not client.has_socket_connection:  # or an older one ended, after a new one began
                step_away(True)
                self._on_leave()

        client.on_connect(lambda: step_away(False))
        client.on_disconnect(lost)
        client.on_delete(self._on_leave)

    def _build_pad(self) -> None:
        pad = ui.element("div").classes("pad").props("data-flight-pad role=group")
        pad.props('aria-label="Flight commands"')
        with pad:
            for button in _PAD:
                if button is None:
                    ui.element("span").classes("pad-gap")
                else:
                    self._build_key(button)

    def _build_key(self, button: _Button) -> None:
        """`data-command` lets flight_keys.js light the button of a held key."""

        async def press() -> None:
            await self._command(button.command)

        key = ui.button(color=None).props("unelevated")
        key.on("click", press, js_handler=CONNECTED_ONLY)
        key.classes(f"key {button.look}")
        key.props(f'data-command="{button.command}" aria-label="{button.label}"')
        key.props(f'title="{button.label} ({button.key})"')
        with key:
            ui.icon(button.icon).props("aria-hidden=true")
            text(button.label)
            text(button.key, "kbd").props("aria-hidden=true")

    def _build_log(self) -> None:
        with ui.element("div").classes("log"):
            self.race = RaceButton(
                latest=self._latest, is_trained=self._is_trained, race=self._fly_policy
            )
            text("Commands", "h3")
            self._log = ui.element("div").classes("stack log-lines").props("role=log")
            with self._log:
                self._empty = text(
                    "Take off first. Hold an arrow key to move, let go to stop. "
                    "A button keeps the drone moving until Stop.",
                    "p",
                ).classes("hint")

    async def _on_key(self, command: str, held: bool, released: bool) -> None:
        """A press, a release or a tap from the keyboard. Whose key moves nothing, because somebody
        else flies, stops nothing by letting go of it."""
        if released and not self._moving:
            return
        await self._command(command, held=held)

    async def _command(self, command: str, *, held: bool = False) -> None:
        """Send it and log the result; what moves is remembered at once, not when it answered."""
        self._watch(HOLD_TIMEOUT_S if held or command in MOTIONS else None)
        line = self._add_line(command)
        outcome = await self._send(command)
        if outcome.refused:
            self._watch(None)
        line.finish(outcome)

    def _alive(self) -> None:
        self._dead_man.feed()
        self._on_alive()

    async def _fly_policy(self, drone_id: str) -> None:
        """Race the model's policy, which takes the place of what this page set in motion."""
        self._watch(RACE_TIMEOUT_S)
        line = self._add_line("race")
        outcome = await self._send(f"fly_policy {drone_id}")
        if not outcome.replaced:
            self._watch(None)
        line.finish(outcome)

    def _watch(self, timeout_s: float | None) -> None:
        """Something moves, and the page has to say every `timeout_s` that it is alive; or not."""
        self._moving = timeout_s is not None
        if not self._keys.is_deleted:
            self._keys.watch(self._moving)
        if self._moving:
            self._dead_man.arm(timeout_s)
        else:
            self._dead_man.disarm()

    def _add_line(self, command: str) -> _LogLine:
        self._empty.set_visibility(False)
        with self._log:
            line = _LogLine(command)
        self._lines.appendleft(line)
        while len(self._lines) > LOG_LINES:
            self._lines.pop().delete()
        return line

    def _lost_touch(self) -> None:
        """The browser has gone silent while the drone moves."""
        background_tasks.create(self._command("stop"), name="console dead man")

    def _on_leave(self) -> None:
        """The page lost its connection: nobody is left to stop what it started."""
        if self._moving or self.race.racing:
            self._watch(None)
            background_tasks.create(self._send("stop"), name="console pilot left")
