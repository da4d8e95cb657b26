"""The page's few building blocks: card, chip, fact. They know the look and nothing else."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from nicegui import ui
from nicegui.elements.mixins.text_element import TextElement

_TONES = "good busy warn bad"


class Chip:
    """A small status: text and tone."""

    def __init__(self, content: str, tone: str = "", *, name: str) -> None:
        """`name` becomes `data-chip`, the handle for tests."""
        self._shown = (content, tone)
        self._label = text(content).classes(f"chip {tone}")
        self._label.props(f'data-chip="{name}" role="status"')

    def set(self, content: str, tone: str = "") -> bool:
        """Show this; whether it was news."""
        if self._shown == (content, tone):
            return False
        self._shown = (content, tone)
        self._label.set_text(content)
        self._label.classes(remove=_TONES, add=tone)
        return True

    def set_visibility(self, visible: bool) -> None:
        """Show or hide the whole chip."""
        self._label.set_visibility(visible)


@contextmanager
def card(
    title: str, *, step: int | None = None, classes: str = ""
) -> Iterator[tuple[ui.element, ui.element]]:
    """A titled section; yields (section, head) with the section open for content."""
    with ui.element("section").classes(f"card {classes}") as section:
        with ui.element("div").classes("card-head") as head:
            if step is not None:
                text(str(step)).classes("step").props("aria-hidden=true")
            text(title, "h2")
        yield section, head


def text(content: str, tag: str = "span") -> TextElement:
    """Plain text in any HTML tag; the browser escapes it."""
    return TextElement(tag=tag, text=content)


def facts(values: Mapping[str, str]) -> None:
    """Small label-over-value pairs in a grid."""
    with ui.element("div").classes("facts"):
        for name, value in values.items():
            with ui.element("div").classes("fact"):
                text(name)
                text(value, "b")


def action(label: str, *, icon: str | None = None, classes: str = "") -> ui.button:
    """A button in the house look."""
    return ui.button(label, icon=icon, color=None).props("unelevated").classes(f"act {classes}")
