"""The two browser components that Python alone cannot be: a keyboard and a heartbeat."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from nicegui.element import Element
from nicegui.events import GenericEventArguments

# KeyboardEvent.code: the physical key, so that a layout or Caps Lock changes nothing.
HOLD_KEYS = {
    "ArrowUp": "move_forward",
    "ArrowDown": "move_backward",
    "ArrowLeft": "turn_left",
    "ArrowRight": "turn_right",
}
TAP_KEYS = {"Space": "stop", "KeyT": "takeoff", "KeyL": "land"}


class FlightKeys(Element, component="flight_keys.js"):
    """Listens to the piloting keys of the whole page and shows whether they act now."""

    def __init__(
        self, *, on_command: Callable[[str, bool, bool], Any], on_alive: Callable[[], None]
    ) -> None:
        """`on_command(command, held, released)` on a press, tap or release; `on_alive()` four
        times a second while a key is held or `watch(True)` holds."""
        super().__init__()
        self._props["holds"] = HOLD_KEYS
        self._props["taps"] = TAP_KEYS
        self._props["watched"] = False
        self._props["labels"] = {
            "ready": "Keyboard ready",
            "typing": "Keyboard off while you type",
            "away": "Keyboard off: click this page",
        }
        self._on_command = on_command
        self.on("command", self._command)
        self.on("alive", lambda _: on_alive())

    def watch(self, watched: bool) -> None:
        """Have the page say that it is alive, without a key held."""
        self._props["watched"] = watched
        self.update()

    def _command(self, event: GenericEventArguments) -> Any:
        """Pass on only what the two tables know: the browser is not trusted with more."""
        command, held = event.args.get("command"), event.args.get("held")
        if command in {*HOLD_KEYS.values(), *TAP_KEYS.values()} and isinstance(held, bool):
            return self._on_command(command, held, event.args.get("released") is True)
        return None


class Beat(Element, component="beat.js"):
    """Tells when the browser has drawn what was sent: a slow viewer gets no backlog."""

    def __init__(self) -> None:
        super().__init__()
        self._props["beat"] = 0
        self._sent = 0
        self._drawn = 0
        self.on("drawn", self._on_drawn)

    @property
    def free(self) -> bool:
        """Whether the browser has drawn the last beat."""
        return self._drawn == self._sent

    def send(self) -> None:
        """Mark the end of one batch of updates."""
        self._sent += 1
        self._props["beat"] = self._sent
        self.update()

    def reset(self) -> None:
        """Forget a beat whose answer was lost with the connection."""
        self._drawn = self._sent

    def _on_drawn(self, event: GenericEventArguments) -> None:
        if isinstance(event.args, int):
            self._drawn = event.args
