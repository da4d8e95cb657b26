"""The button that races the chosen drone model's policy, and why it cannot be pressed now."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from nicegui import background_tasks, ui

from racer.console.layout import action, text

PERIOD_S = 0.5  # how often the vehicle is looked at
# A click without a connection would wait in the socket's buffer and fly the drone later.
CONNECTED_ONLY = "() => window.socket?.connected && emit()"


def obstacle(
    telemetry: Mapping[str, Any] | None, *, chosen: bool, trained: bool, racing: bool
) -> str | None:
    """Why no race can begin now, in words that say what to do; None if it can."""
    if not chosen:
        return "Choose a drone model first."
    if not trained:
        return "Train this model to its end first."
    if telemetry is None or not telemetry.get("connected"):
        return "There is no vehicle."
    if racing or telemetry.get("phase") == "policy":
        return "Racing. Stop ends it."
    if not telemetry.get("in_air"):
        return "Take off first."
    return None


class RaceButton:
    """Bound to one drone model at a time by `show`; the timer lives and dies with the page."""

    def __init__(
        self,
        *,
        latest: Callable[[], Mapping[str, Any] | None],
        is_trained: Callable[[str], Awaitable[bool]],
        race: Callable[[str], Awaitable[None]],
    ) -> None:
        """`latest` telemetry; `is_trained(drone_id)`: whether it has a policy; `race(drone_id)`
        flies that and returns when it has ended."""
        self._latest, self._is_trained, self._race = latest, is_trained, race
        self._drone_id: str | None = None
        self._trained = False
        self.racing = False  # this page's own race is not over yet
        with ui.element("div").classes("race"):
            self._button = action("Race this policy", icon="sports_score", classes="primary")
            self._button.props("data-race")
            self._reason = text("", "span").classes("hint").props("data-race-reason role=status")
        self._button.on("click", self._press, js_handler=CONNECTED_ONLY)
        self._refresh()
        ui.timer(PERIOD_S, self._refresh)

    def show(self, drone_id: str | None) -> None:
        """Race this model's policy from now on."""
        self._drone_id, self._trained = drone_id, False
        self._refresh()
        if drone_id is not None:
            background_tasks.create(self.look(), name="console policy")

    async def look(self) -> None:
        """See whether the model has a policy by now."""
        drone_id = self._drone_id
        if drone_id is None:
            return
        trained = await self._is_trained(drone_id)
        if drone_id == self._drone_id and not self._button.is_deleted:
            self._trained = trained
            self._refresh()

    def _refresh(self) -> None:
        why = self._obstacle()
        self._button.set_enabled(why is None)
        self._reason.set_text(why or "To the start, then through the gates.")

    def _obstacle(self) -> str | None:
        chosen = self._drone_id is not None
        return obstacle(self._latest(), chosen=chosen, trained=self._trained, racing=self.racing)

    async def _press(self) -> None:
        """Once for each race: a second click that was on its way already begins no second one."""
        drone_id = self._drone_id
        if drone_id is None or self._obstacle():
            return
        self.racing = True
        self._refresh()
        try:
            await self._race(drone_id)
        finally:
            self.racing = False
            if not self._button.is_deleted:
                self._refresh()
