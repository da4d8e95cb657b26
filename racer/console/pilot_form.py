"""Who flies: one click for an open account, a name and a password for the others, or a new one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol

from nicegui import app, ui

from racer.console.layout import action, text
from racer.console.model_form import FormError
from racer.console.session import open_streams
from racer.errors import RacerError

QUICK_PICKS = 5
NOTICE = "console_notice"  # in the tab's storage: what a page that loads itself anew has to say
_OPTIONAL = "Without a password the account is open to everyone on this machine."
_REQUIRED = "A new account needs a password of 8 to 72 bytes."
_REMEMBERED = "console_pilot"  # in the tab's storage: a reload keeps an open account signed in


class Accounts(Protocol):
    """What the form needs. Failures are RacerErrors; names come back as they are stored."""

    @property
    def required(self) -> bool:
        """Whether everybody needs a password."""

    @property
    def token(self) -> str | None:
        """Of an account with a password, once it is signed in."""

    async def open_pilots(self, limit: int) -> list[str]:
        """Names of the newest accounts without a password."""

    async def sign_in(self, username: str, password: str) -> str:
        """Raises NotFoundError, UnauthorizedError or TooManyRequestsError."""

    async def create_pilot(self, username: str, password: str) -> str:
        """Raises AlreadyExistsError or FormError."""


class PilotForm:
    """Calls `on_enter(name)` once the account has let its pilot in."""

    def __init__(self, accounts: Accounts, *, on_enter: Callable[[str], Awaitable[None]]) -> None:
        self._accounts = accounts
        self._on_enter = on_enter
        required = accounts.required
        self._root = ui.element("form").classes("stack").props('aria-label="Pilot"')
        # Enter in a field opens the account; the browser's own submission would reload the page.
        self._root.on("submit.prevent", self._open)
        with self._root:
            self._picks = ui.element("div").classes("picks")
            with ui.element("div").classes("form"):
                self._name = _field("Pilot name", "username", placeholder="ada")
                self._password = _field(
                    "Password", "password", placeholder="" if required else "optional", hide=True
                )
            self._problem = text("", "p").classes("problem").props("role=alert")
            with ui.element("div").classes("row"):
                create = action("Create pilot", icon="person_add")
                create.on_click(self._create)
                enter = action("Sign in" if required else "Open", icon="login")
                (enter if required else create).classes("primary")
                enter.props("type=submit")
            text(_REQUIRED if required else _OPTIONAL, "p").classes("hint")
        ui.timer(0, self._begin, once=True)

    async def show(self) -> None:
        """Empty, with the accounts that are one click away."""
        app.storage.tab.pop(_REMEMBERED, None)
        self._root.set_visibility(True)
        await self._offer_pilots()

    async def _begin(self) -> None:
        """The page has connected: go on where this tab was, or offer the accounts."""
        if notice := app.storage.tab.pop(NOTICE, None):
            self._problem.set_text(str(notice))
        if self._accounts.required:
            return
        name = app.storage.tab.get(_REMEMBERED)
        if name is not None and await self._try_open(str(name), ""):
            return
        self._problem.set_text("")
        await self._offer_pilots()

    async def _offer_pilots(self) -> None:
        names = await self._accounts.open_pilots(QUICK_PICKS)
        self._picks.clear()
        with self._picks:
            for name in names:
                pick = action(name, icon="person")
                pick.on_click(lambda name=name: self._try_open(name, ""))

    async def _open(self) -> None:
        await self._try_open(*self._typed())

    async def _try_open(self, name: str, password: str) -> bool:
        try:
            stored = await self._accounts.sign_in(name, password)
        except RacerError as error:
            self._problem.set_text(error.message if name else "Type the pilot's name.")
            return False
        await self._enter(stored)
        return True

    async def _create(self) -> None:
        try:
            stored = await self._accounts.create_pilot(*self._typed())
        except FormError as error:
            self._name.error = error.fields.get("username")
            self._password.error = error.fields.get("password")
            self._problem.set_text(error.general)
        except RacerError as error:
            self._problem.set_text(error.message)
        else:
            await self._enter(stored)

    def _typed(self) -> tuple[str, str]:
        self._name.error = self._password.error = None
        self._problem.set_text("")
        return str(self._name.value or "").strip(), str(self._password.value or "")

    async def _enter(self, name: str) -> None:
        self._name.value = self._password.value = ""
        self._problem.set_text("")
        self._root.set_visibility(False)
        app.storage.tab[_REMEMBERED] = name
        if self._accounts.token is not None:
            await open_streams(self._accounts.token)
        await self._on_enter(name)


def _field(label: str, name: str, *, placeholder: str, hide: bool = False) -> ui.input:
    field = ui.input(label, placeholder=placeholder, password=hide)
    return field.props(f'outlined dense stack-label data-field="{name}" autocomplete=off')
