"""Writing a reward function: a code editor in a dialog, checked while one types.

The text is checked in this process by the same front end that refuses or compiles it later; it is
never executed. One check runs at a time, always on the newest text.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from nicegui import background_tasks, ui

from racer.console.layout import action, text
from racer.rewards.check import check
from racer.rewards.diagnostics import Diagnostic
from racer.rewards.parameters import PARAMETERS

EXAMPLE = '''\
class Memory:
    progress = None


def reward_function(params):
    """Gain on the course, pass gates, do not crash."""
    reward = 0.0
    if Memory.progress is not None:
        reward = params["progress"] - Memory.progress
    Memory.progress = params["progress"]
    if params["gate_passed"]:
        reward += 1.0
    if params["is_crashed"]:
        reward -= 1.0
    return reward
'''


class RewardEditor:
    """The form's row `Reward`, and the dialog that it opens."""

    def __init__(self) -> None:
        self._source = ""
        self._wanted: str | None = None
        self._checking = False
        with ui.element("div").classes("row wide reward-row"):
            text("Reward").classes("grow")
            self._button = action("", icon="code", classes="quiet").on_click(self._open)
            self._button.props('data-field="rewardFunction"')
        self._build_dialog()
        self.clear()

    @property
    def source(self) -> str:
        """What is sent: "" for the built-in reward."""
        return self._source

    def clear(self) -> None:
        """Back to the built-in reward."""
        self._use("")

    def _build_dialog(self) -> None:
        with ui.dialog() as self._dialog, ui.card().classes("reward-dialog"):
            text("Reward function", "h2")
            text("Python that is compiled for the training, and never run.", "p").classes("hint")
            with ui.element("div").classes("reward-columns"):
                self._editor = ui.codemirror(
                    EXAMPLE, language="Python", theme="oneDark", on_change=self._changed
                )
                self._editor.classes("reward-code").props('aria-label="Reward function"')
                _parameter_list()
            self._problems = ui.element("ul").classes("reward-problems").props("aria-live=polite")
            with ui.element("div").classes("row"):
                action("Use this reward", icon="check", classes="primary").on_click(self._accept)
                action("Built-in reward", classes="quiet").on_click(self._decline)

    def _open(self) -> None:
        self._editor.value = self._source or self._editor.value or EXAMPLE
        self._dialog.open()
        self._changed()

    def _accept(self) -> None:
        self._use(str(self._editor.value or ""))
        self._dialog.close()

    def _decline(self) -> None:
        self._use("")
        self._dialog.close()

    def _use(self, source: str) -> None:
        self._source = source if source.strip() else ""
        self._button.set_text("Your own function" if self._source else "Built in")

    def _changed(self) -> None:
        self._wanted = str(self._editor.value or "")
        if not self._checking:
            self._checking = True
            background_tasks.create(self._check(), name="console reward check")

    async def _check(self) -> None:
        """Check the newest text until there is none that was not checked."""
        try:
            while (source := self._wanted) is not None:
                self._wanted = None
                _, diagnostics = await asyncio.to_thread(check, source)
                self._show(diagnostics)
        finally:
            self._checking = False

    def _show(self, diagnostics: Sequence[Diagnostic]) -> None:
        self._problems.clear()
        with self._problems:
            if not diagnostics:
                text("No complaints.", "li").classes("fine")
            for item in diagnostics:
                text(str(item), "li").classes(item.severity)


def _parameter_list() -> None:
    """Every entry of params, beside the code that uses them."""
    with ui.element("div").classes("reward-parameters").props("tabindex=0"):
        for parameter in PARAMETERS:
            with ui.element("div"):
                text(parameter.name, "code")
                unit = f", {parameter.unit}" if parameter.unit else ""
                text(f"{parameter.type_text}{unit}: {parameter.meaning}")
