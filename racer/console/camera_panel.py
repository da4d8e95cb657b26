"""The picture of the drone: an MJPEG stream in an <img>, and the simulation behind it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from nicegui import ui

from racer.console.layout import action, card, text

LOOK_S = 1.0


class CameraPanel:
    """Shows the stream of the chosen model's drone; starts and stops its simulation."""

    def __init__(
        self,
        *,
        vehicle_stream: str,
        on_start: Callable[[], Awaitable[dict[str, Any]]],
        on_stop: Callable[[], Awaitable[dict[str, Any]]],
        is_live: Callable[[], bool],
    ) -> None:
        """`vehicle_stream`: where the vehicle itself is seen. `is_live` tells whether the chosen
        model's simulation runs, whoever started it."""
        self._vehicle_stream = vehicle_stream
        self._connections = 0
        self._on_start = on_start
        self._on_stop = on_stop
        self._is_live = is_live
        with card("Watch", step=3, classes="watch") as (_section, head):
            with head:
                self._message = text("", "p").classes("hint").props("role=status")
                self._start_button = action("Start simulation", icon="play_arrow")
                self._stop_button = action("Stop simulation", icon="stop")
            with ui.element("div").classes("screen"):
                self._empty = text("", "p")
                self._empty.classes("empty")
                self._image = ui.element("img").props('alt="Live view of the drone"')
                self._image.on("error", self._lost)
        self._start_button.on_click(self._start)
        self._stop_button.on_click(self._stop)
        self.show(None)
        ui.timer(LOOK_S, self._show_buttons)

    def show(self, stream_url: str | None) -> None:
        """Show the chosen model's stream; None = none is chosen, so show the vehicle itself."""
        self._chosen = stream_url is not None
        self._stream_url = stream_url or self._vehicle_stream
        self._connect()
        self._start_button.set_enabled(self._chosen)
        self._show_buttons()
        self.say("")

    async def go_live(self) -> None:
        """Start the chosen model's simulation, if one is chosen."""
        if self._chosen:
            await self._start()

    def reconnect(self) -> None:
        """Open the stream anew: by a fresh cookie, or after it was lost."""
        self._connections += 1
        self._connect()

    @property
    def lost(self) -> bool:
        """Whether the stream has ended."""
        return "src" not in self._image.props

    def say(self, message: str, *, ok: bool = True) -> None:
        """A line or two beside the title; the whole of it as the tooltip."""
        self._message.set_text(message)
        self._message.props["title"] = message
        self._message.classes(replace="hint" if ok else "problem")

    def _show_buttons(self) -> None:
        """The one of the two that makes sense now; another page may have used the other."""
        live = self._is_live()
        self._start_button.set_visibility(not live)
        self._stop_button.set_visibility(live)

    def _connect(self) -> None:
        again = f"connection={self._connections}" if self._connections else ""
        mark = "&" if "?" in self._stream_url else "?"
        self._image.props["src"] = self._stream_url + (mark + again if again else "")
        self._empty.set_visibility(False)

    def _lost(self) -> None:
        """The stream answered with an error, or ended."""
        self._image.props(remove="src")
        self._empty.set_text("There is no picture now. Start the simulation to try again.")
        self._empty.set_visibility(True)

    async def _start(self) -> None:
        self._start_button.disable()
        answer = await self._on_start()
        if self._image.is_deleted:  # it takes seconds; the page may be gone
            return
        self._start_button.set_enabled(self._chosen)
        self._report(answer)
        if "src" not in self._image.props:
            self._connect()

    async def _stop(self) -> None:
        self._report(await self._on_stop())

    def _report(self, answer: dict[str, Any]) -> None:
        self.say(str(answer.get("message", "")), ok=answer.get("status") != "error")
        self._show_buttons()
