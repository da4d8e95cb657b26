"""Who flies, and which drone model: pick one or make one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from nicegui import app, ui

from racer.console.layout import Chip, action, card, facts, text
from racer.console.model_form import FormError, ModelForm
from racer.console.pilot_form import NOTICE, Accounts, PilotForm
from racer.console.session import open_streams
from racer.errors import RacerError


@dataclass(frozen=True)
class ModelCard:
    """What the page shows of a drone model; `facts` are label and value, ready to show."""

    drone_id: str
    title: str
    epochs: int
    status: str
    facts: dict[str, str] = field(default_factory=dict)


class Roster(Accounts, Protocol):
    """Accounts and drone models, as the panel needs them. Failures are RacerErrors."""

    async def sign_out(self) -> None:
        """Forget the pilot."""

    async def models(self) -> list[ModelCard]:
        """The pilot's drone models, newest first."""

    async def create_model(self, body: dict[str, Any]) -> ModelCard:
        """Raises FormError with a message for each field that is wrong."""

    async def delete_model(self, drone_id: str) -> None:
        """With its trainings."""

    async def choose(self, drone_id: str | None) -> None:
        """Act on this drone model from now on."""


class SetupPanel:
    """`on_model(card | None)` tells the rest of the page what is chosen."""

    def __init__(
        self,
        roster: Roster,
        *,
        on_model: Callable[[ModelCard | None], None],
        pilot: str | None = None,
    ) -> None:
        """`pilot`: who has signed in before there was this panel; then the page ends with them."""
        self._roster = roster
        self._on_model = on_model
        self._models: dict[str, ModelCard] = {}
        with card("Pilot and drone", step=1, classes="setup") as (_section, head):
            with head:
                self._chip = Chip("", "good", name="pilot")
                label = "Switch" if pilot is None else "Sign out"
                self._leave_button = action(label, classes="quiet").on_click(self._leave)
            self._pilot_form = None if pilot else PilotForm(roster, on_enter=self._enter)
            self._model_box = ui.element("div").classes("stack")
            with self._model_box:
                self._build_models()
        self._show_pilot(pilot)
        if pilot is not None:
            ui.timer(0, lambda: self._enter(pilot), once=True)

    def _build_models(self) -> None:
        with ui.element("div").classes("row") as self._model_row:
            self._select = ui.select({}, label="Drone model", on_change=self._on_select)
            self._select.classes("grow").props(
                'outlined dense stack-label options-dense data-field="drone-model"'
            )
            action("New", icon="add").on_click(self._open_form)
            bin_ = action("", icon="delete", classes="quiet").on_click(self._delete)
            bin_.props('aria-label="Delete this drone model"').tooltip("Delete this drone model")
        self._facts = ui.element("div")
        self._form = ModelForm(submit=self._save_model, on_close=self._close_form)
        self._form.close()
        with ui.dialog() as self._confirm, ui.card():
            self._question = text("")
            with ui.element("div").classes("row"):
                action("Keep it").on_click(lambda: self._confirm.submit(False))
                action("Delete it", classes="quiet").on_click(lambda: self._confirm.submit(True))

    async def _enter(self, name: str) -> None:
        """The pilot is known: show what is theirs."""
        models = await self._roster.models()
        self._show_pilot(name)
        self._models = {model.drone_id: model for model in models}
        if models:
            self._choose(models[0])
        else:
            self._open_form()

    async def _leave(self) -> None:
        await self.leave()

    async def leave(self, reason: str = "") -> None:
        """The pilot signs out, or has been signed out for this reason."""
        if self._roster.token is not None:
            await open_streams(None)
        await self._roster.sign_out()
        if self._pilot_form is None:
            app.storage.tab[NOTICE] = reason
            ui.navigate.reload()
            return
        self._models = {}
        self._choose(None)
        self._show_pilot(None)
        await self._pilot_form.show()
        if reason:
            ui.notify(reason, type="warning")

    def _show_pilot(self, name: str | None) -> None:
        self._model_box.set_visibility(name is not None)
        self._chip.set(name or "", "good")
        self._chip.set_visibility(name is not None)
        self._leave_button.set_visibility(name is not None)

    def _choose(self, model: ModelCard | None) -> None:
        """Offer the models there are, with this one chosen; the rest follows in `_on_select`."""
        choices = {each.drone_id: each.title for each in self._models.values()}
        self._select.set_options(choices, value=model.drone_id if model else None)

    async def _on_select(self) -> None:
        """Another model (or none) is chosen; the last choice wins."""
        chosen = self._select.value
        model = self._models.get(str(chosen))
        try:
            await self._roster.choose(model.drone_id if model else None)
        except RacerError as error:  # it was deleted meanwhile
            ui.notify(error.message, type="negative")
            model = None
        if self._select.value != chosen:
            return
        self._facts.clear()
        if model is not None:
            self._close_form()
            with self._facts:
                facts(model.facts)
        self._on_model(model)

    async def _delete(self) -> None:
        """The chosen one, if the pilot says so once more."""
        model = self._models.get(str(self._select.value))
        if model is None:
            return
        self._question.set_text(
            f"Delete {model.title!r} with its trainings? Policies that were kept stay."
        )
        if not await self._confirm:
            return
        try:
            await self._roster.delete_model(model.drone_id)
        except RacerError as error:
            ui.notify(error.message, type="negative")
            return
        self._models.pop(model.drone_id, None)
        self._choose(next(iter(self._models.values()), None))
        if not self._models:
            self._open_form()

    def _open_form(self) -> None:
        self._model_row.set_visibility(False)
        self._facts.set_visibility(False)
        self._form.open(can_cancel=bool(self._models))

    def _close_form(self) -> None:
        self._form.close()
        self._model_row.set_visibility(True)
        self._facts.set_visibility(True)

    async def _save_model(self, body: dict[str, Any]) -> None:
        """Called by the form; a FormError of the roster goes back to it."""
        try:
            model = await self._roster.create_model(body)
        except RacerError as error:
            raise FormError({}, error.message) from error
        self._models = {model.drone_id: model, **self._models}
        self._choose(model)
