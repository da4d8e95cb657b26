"""The picture of the drone: an MJPEG stream in an <img>, and the simulation behind it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from nicegui import ui

from racer.console.layout import action, card, text


class CameraPanel:
    """Shows the stream of the chosen model's drone; starts and stops its simulation."""

    def __init__(
        self,
        *,
        on_start: Callable[[], Awaitable[dict[str, Any]]],
        on_stop: Callable[[], Awaitable[dict[str, Any]]],
    ) -> None:
        self._on_start = on_start
        self._on_stop = on_stop
        with card("Watch", step=3, classes="watch") as (_section, head):
            with head:
                self._start_button = action("Start simulation", icon="play_arrow")
                self._stop_button = action("Stop", icon="stop", classes="quiet")
            with ui.element("div").classes("screen"):
                self._empty = text("Choose a drone model to see its drone here.", "p")
                self._empty.classes("empty")
                self._image = ui.element("img").props('alt="Live view of the drone"')
                self._image.on("error", self._lost)
            self._message = text("", "p").classes("hint").props("role=status")
        self._start_button.on_click(self._start)
        self._stop_button.on_click(self._stop)
        self._stream_url: str | None = None
        self.show(None)

    def show(self, stream_url: str | None) -> None:
        """Show this stream; None = no drone chosen. Setting the source anew reconnects."""
        self._stream_url = stream_url
        self._empty.set_text("Choose a drone model to see its drone here.")
        self._connect()
        self._start_button.set_enabled(stream_url is not None)
        self._stop_button.set_enabled(stream_url is not None)
        self.say("")

    def say(self, message: str, *, ok: bool = True) -> None:
        """One line below the picture."""
        self._message.set_text(message)
        self._message.classes(replace="hint" if ok else "problem")

    def _connect(self) -> None:
        if self._stream_url is None:
            self._image.props(remove="src")
        else:
            self._image.props["src"] = self._stream_url
        self._empty.set_visibility(self._stream_url is None)

    def _lost(self) -> None:
        """The stream answered with an error, or ended."""
        self._image.props(remove="src")
        self._empty.set_text("There is no picture now. Start the simulation to try again.")
        self._empty.set_visibility(True)

    async def _start(self) -> None:
        self._start_button.disable()
        try:
            self._report(await self._on_start())
        finally:
            self._start_button.enable()
        if "src" not in self._image.props:
            self._connect()

    async def _stop(self) -> None:
        self._report(await self._on_stop())

    def _report(self, answer: dict[str, Any]) -> None:
        self.say(str(answer.get("message", "")), ok=answer.get("status") != "error")
