"""What the vehicle says, eight times a second, and never more than the browser can draw."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from nicegui import ui
from nicegui.elements.mixins.text_element import TextElement

from racer.console.elements import Beat
from racer.console.layout import Chip, card, text
from racer.console.telemetry_text import LABELS, NOTHING, Gauge, Readings, readings

PERIOD_S = 0.125
_BIG = {"height", "speed"}


class TelemetryPanel:
    """Gauges bound to `latest()`; the timer lives and dies with the page."""

    def __init__(self, latest: Callable[[], Mapping[str, Any] | None], *, link_chip: Chip) -> None:
        self._latest = latest
        self._link_chip = link_chip
        self._shown: dict[str, Gauge] = {}
        self._boxes: dict[str, tuple[ui.element, TextElement]] = {}
        with card("Telemetry", classes="telemetry") as (self._card, _head):
            with ui.element("div").classes("gauges"):
                for key, label in LABELS.items():
                    self._boxes[key] = _gauge(key, label)
            self._beat = Beat()
        ui.context.client.on_connect(self._beat.reset)
        ui.timer(PERIOD_S, self._refresh)

    def _refresh(self) -> None:
        """One beat: skip it while the browser still draws the last one."""
        if not self._beat.free:
            return
        now = readings(self._latest())
        if self._show(now):
            self._beat.send()

    def _show(self, now: Readings) -> bool:
        """Update what differs; whether anything did."""
        changed = self._link_chip.set(now.link, now.link_tone)
        self._card.classes(add="" if now.fresh else "stale", remove="stale" if now.fresh else "")
        for key, gauge in now.gauges.items():
            if self._shown.get(key) == gauge:
                continue
            box, label = self._boxes[key]
            label.set_text(gauge.value)
            box.classes(remove="good busy warn bad", add=gauge.tone)
            self._shown[key] = gauge
            changed = True
        return changed


def _gauge(key: str, label: str) -> tuple[ui.element, TextElement]:
    """One box; `data-gauge` names it for tests and for scripts in the browser."""
    with ui.element("div").classes("gauge" + (" big" if key in _BIG else "")) as box:
        box.props(f'data-gauge="{key}" role="group" aria-label="{label}"')
        text(label)
        value = text(NOTHING, "b")
    return box, value
