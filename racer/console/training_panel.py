"""Training one drone model: the button, the curve drawing itself, and what went wrong.

The panel follows the training service's messages (the same objects that `/ws/train` sends); the
service owns the training, so leaving the page or choosing another model stops nothing.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any

from nicegui import background_tasks, ui

from racer.console.layout import Chip, action, card, text
from racer.console.training_chart import Epoch, options
from racer.errors import ConflictError, RacerError

STATUSES = {
    "initializing": ("Not trained", ""),
    "starting": ("Starting", "busy"),
    "training": ("Training", "busy"),
    "finished": ("Finished", "good"),
    "failed": ("Failed", "bad"),
    "cancelled": ("Cancelled", "bad"),
}
_IDLE_HINT = "Choose a drone model, then train it: twenty epochs take about a minute."
_STARTING_HINT = "The simulator is being compiled: the first epoch takes the longest."


class TrainingPanel:
    """Bound to one model at a time by `show`."""

    def __init__(
        self,
        *,
        start: Callable[[str], Awaitable[None]],
        follow: Callable[[str], AsyncIterator[Mapping[str, Any]]],
        cancel: Callable[[str], Awaitable[None]],
        status: Callable[[str], Awaitable[str]],
        on_end: Callable[[], Awaitable[None]],
    ) -> None:
        """`follow` raises ConflictError for a model that was never trained. `on_end` is called when
        a training has ended, however it did."""
        self._on_end = on_end
        self._start = start
        self._status = status
        self._follow = follow
        self._cancel = cancel
        self._drone_id: str | None = None
        self._total = 0
        self._epochs: list[Epoch] = []
        self._task: asyncio.Task[None] | None = None
        self._build()
        ui.context.client.on_delete(self._stop_following)
        self.show(None)

    def _build(self) -> None:
        with card("Train", step=2, classes="training") as (section, head):
            self._slot = section
            with head:
                self._chip = Chip("Not trained", name="training")
                self._cancel_button = action("Cancel", icon="close", classes="quiet")
                self._train_button = action("Train", icon="model_training", classes="primary")
            with ui.element("div").classes("numbers"):
                self._epoch = _number("Epoch", "epoch")
                self._loss = _number("Loss", "loss")
                self._accuracy = _number("Accuracy", "accuracy")
            self._problem = text("", "p").classes("problem").props("role=alert")
            self._hint = text(_IDLE_HINT, "p").classes("hint")
            self._chart = ui.echart(options([], total=20)).props(
                'role=img aria-label="Loss and accuracy by epoch"'
            )
        self._train_button.on_click(self._on_train)
        self._cancel_button.on_click(self._on_cancel)

    def show(self, drone_id: str | None, *, epochs: int = 20, status: str = "initializing") -> None:
        """Bind to this model and, if it has been trained or is training, draw its curve."""
        self._stop_following()
        self._drone_id = drone_id
        self._total = epochs
        self._epochs = []
        self._draw()
        self._set_status(status)
        self._hint.set_text(_IDLE_HINT if drone_id is None else "")
        self._problem.set_text("")
        if drone_id is not None:
            self._begin_following(drone_id)

    async def _on_train(self) -> None:
        """Start, then follow; a refused start is told beside the button."""
        drone_id = self._drone_id
        if drone_id is None:
            return
        self._train_button.disable()
        try:
            await self._start(drone_id)
        except RacerError as error:
            self._fail(error.message)
            return
        if drone_id == self._drone_id:  # the pilot may have chosen another one meanwhile
            self.show(drone_id, epochs=self._total, status="starting")
            self._hint.set_text(_STARTING_HINT)

    async def _on_cancel(self) -> None:
        if self._drone_id is None:
            return
        self._cancel_button.disable()
        try:
            await self._cancel(self._drone_id)
        except RacerError as error:
            self._problem.set_text(error.message)
        finally:
            self._cancel_button.enable()

    def _begin_following(self, drone_id: str) -> None:
        self._task = background_tasks.create(
            self._pump(drone_id), name=f"console follow {drone_id}", context=self._slot
        )

    def _stop_following(self) -> None:
        if self._task is not None:
            self._task.cancel()
            self._task = None

    async def _pump(self, drone_id: str) -> None:
        """Draw messages until the training ends, this page closes or another model is chosen."""
        try:
            async for message in self._follow(drone_id):
                if "epoch" in message:
                    self._add(message)
                elif message.get("done"):
                    await self._end(drone_id, message)
        except ConflictError:
            return  # never trained: there is nothing to follow
        except RacerError as error:
            self._fail(error.message)

    async def _end(self, drone_id: str, message: Mapping[str, Any]) -> None:
        """The last message; a cancelled training is told from a failed one by its status."""
        if "error" in message:
            self._fail(str(message["error"]))
        else:
            self._hint.set_text(str(message.get("message", "")))
        self._set_status(await self._status(drone_id))
        await self._on_end()

    def _add(self, message: Mapping[str, Any]) -> None:
        epoch = Epoch(
            int(message["epoch"]),
            float(message.get("loss", math.nan)),
            float(message.get("accuracy", math.nan)),
        )
        if not self._epochs:
            self._hint.set_text("")
            self._set_status("training")
        self._epochs.append(epoch)
        self._draw()

    def _draw(self) -> None:
        last = self._epochs[-1] if self._epochs else None
        self._epoch.set_text(f"{last.number if last else 0} / {self._total}")
        self._loss.set_text(f"{last.loss:.4f}" if last else "–")
        self._accuracy.set_text(f"{100 * last.accuracy:.0f} %" if last else "–")
        self._chart.options.update(options(self._epochs, total=self._total))

    def _fail(self, message: str) -> None:
        self._set_status("failed")
        self._problem.set_text(message)

    def _set_status(self, status: str) -> None:
        label, tone = STATUSES.get(status, (status, ""))
        self._chip.set(label, tone)
        running = status in {"starting", "training"}
        self._cancel_button.set_visibility(running)
        self._train_button.set_visibility(not running)
        self._train_button.set_enabled(self._drone_id is not None)
        again = status in {"finished", "failed", "cancelled"}
        self._train_button.set_text("Train again" if again else "Train")


def _number(label: str, name: str) -> ui.label:
    with ui.element("div").classes(f"number {name}").props(f'data-number="{name}"'):
        text(label)
        return ui.label("–")
