"""The form of a new drone model: seven settings, a reward, a title, a number of epochs.

It sends what the API's clients send: every setting as text, "" where nothing was typed. The
ranges live in the API's schema alone; its complaints come back as text beside the field.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from nicegui import ui

from racer.console.layout import action, text
from racer.console.reward_editor import RewardEditor
from schemas import ALTITUDE, VELOCITY, WIND, YAW, NumberField

ALGORITHMS = {"ppo": "PPO", "sac": "SAC", "apg": "APG (gradients through the flight)"}
RACE_TYPES = {"time-trial": "Time trial"}


class FormError(Exception):
    """What is wrong with the form: a message for each field known, and one for the rest."""

    def __init__(self, fields: Mapping[str, str], general: str = "") -> None:
        super().__init__(general or "; ".join(fields.values()))
        self.fields = dict(fields)
        self.general = general


@dataclass(frozen=True)
class _Setting:
    key: str
    label: str
    number: NumberField


_NUMBERS = (
    _Setting("flightAltitude", "Flight altitude", ALTITUDE),
    _Setting("velocityLimit", "Speed limit", VELOCITY),
    _Setting("yawLimit", "Yaw rate limit", YAW),
)
_WIND = _Setting("windSpeed", "Wind speed", WIND)


class ModelForm:
    """`submit` gets {"title", "description", "training_epochs", "drone_details": {...}}.

    It raises FormError when the API would refuse them.
    """

    def __init__(
        self,
        *,
        submit: Callable[[dict[str, Any]], Awaitable[None]],
        on_close: Callable[[], None],
    ) -> None:
        self._submit = submit
        self._inputs: dict[str, ui.input] = {}
        self._root = ui.element("form").classes("stack model-form")
        self._root.props('aria-label="New drone model"')
        # The browser's own submission would reload the page; Enter in a field still arrives here.
        self._root.on("submit.prevent", self._save)
        with self._root:
            with ui.element("div").classes("form"):
                self._build_fields()
            self._problem = text("", "p").classes("problem").props("role=alert")
            with ui.element("div").classes("row"):
                self._save_button = action("Create drone model", icon="check", classes="primary")
                self._save_button.props("type=submit")
                self._cancel_button = action("Cancel", classes="quiet").on_click(on_close)

    def _build_fields(self) -> None:
        self._inputs["title"] = _input("title", "Title", placeholder="First racer")
        self._inputs["title"].classes("wide")
        self._race = _select("raceType", "Race", RACE_TYPES)
        self._algorithm = _select("algorithm", "Algorithm", ALGORITHMS)
        for setting in _NUMBERS:
            self._inputs[setting.key] = _setting(setting)
        self._inputs["training_epochs"] = _input(
            "training_epochs", "Training epochs", placeholder="20"
        )
        self._wind = ui.switch("Wind").props('data-field="enableWind" color=amber')
        self._inputs[_WIND.key] = _setting(_WIND)
        self._inputs[_WIND.key].bind_enabled_from(self._wind, "value")
        self._reward = RewardEditor()

    def open(self, *, can_cancel: bool) -> None:
        """Show an empty form. The very first model cannot be cancelled: there is nothing else."""
        for field in self._inputs.values():
            field.value = ""
            field.error = None
        self._wind.value = False
        self._reward.clear()
        self._problem.set_text("")
        self._cancel_button.set_visibility(can_cancel)
        self._root.set_visibility(True)

    def close(self) -> None:
        """Hide the form."""
        self._root.set_visibility(False)

    def values(self) -> dict[str, Any]:
        """The request body of a new drone model, as typed."""
        details = {setting.key: self._typed(setting.key) for setting in (*_NUMBERS, _WIND)}
        details |= {
            "raceType": str(self._race.value),
            "algorithm": str(self._algorithm.value),
            "enableWind": "true" if self._wind.value else "false",
        }
        if self._reward.source:
            details["rewardFunction"] = self._reward.source
        body: dict[str, Any] = {"title": self._typed("title") or "First racer", "description": ""}
        if epochs := self._typed("training_epochs"):
            body["training_epochs"] = epochs
        return body | {"drone_details": details}

    def _typed(self, key: str) -> str:
        return str(self._inputs[key].value or "").strip()

    async def _save(self) -> None:
        self._save_button.disable()
        try:
            await self._submit(self.values())
        except FormError as error:
            self._show(error)
        else:
            self._show(FormError({}))
        finally:
            self._save_button.enable()

    def _show(self, error: FormError) -> None:
        """Each complaint beside its field; one about no field of ours goes below."""
        for key, field in self._inputs.items():
            field.error = error.fields.get(key)
        others = [
            f"{key}: {message}" for key, message in error.fields.items() if key not in self._inputs
        ]
        self._problem.set_text(" ".join(filter(None, [error.general, *others])))


def _input(name: str, label: str, *, placeholder: str) -> ui.input:
    field = ui.input(label, placeholder=placeholder)
    field.props(f'outlined dense stack-label data-field="{name}"')
    return field


def _setting(setting: _Setting) -> ui.input:
    number = setting.number
    field = _input(setting.key, setting.label, placeholder=f"{number.default:g}")
    field.props(f'suffix="{number.unit}" inputmode=decimal')
    field.props(f'title="{number.low:g} to {number.high:g} {number.unit}"')
    return field


def _select(name: str, label: str, choices: dict[str, str]) -> ui.select:
    field = ui.select(choices, label=label, value=next(iter(choices)))
    return field.props(f'outlined dense stack-label options-dense data-field="{name}"')
