"""The console: one page at `/` for the whole job, from a name to a flying drone.

`mount` puts NiceGUI beside the API on the same app. NiceGUI would take every path that no route
matches and answer it with an HTML page; here it gets `/` and its own files, so that the API's 404
and 405 stay the API's. All assets come from this machine.
"""

from __future__ import annotations

from pathlib import Path

from fastapi import FastAPI, Request
from nicegui import app as nicegui_app
from nicegui import background_tasks, core, ui
from starlette.routing import Match, Mount
from starlette.types import Scope

from racer.console.backend import Backend
from racer.console.camera_panel import CameraPanel
from racer.console.flight_panel import FlightPanel, Outcome
from racer.console.layout import Chip, card, text
from racer.console.pilot_form import PilotForm
from racer.console.session import open_streams
from racer.console.setup_panel import ModelCard, SetupPanel
from racer.console.sockets import PARENT, count_sessions
from racer.console.telemetry_panel import TelemetryPanel
from racer.console.training_panel import TrainingPanel

LOOK_S = 10.0  # how often a page asks whether its pilot is still signed in
_STYLE = Path(__file__).with_name("console.css")
# Two gates in a row and the line flown through them.
_MARK = (
    '<svg viewBox="0 0 32 32" fill="none" xmlns="http://www.w3.org/2000/svg">'
    '<rect x="2.5" y="5.5" width="17" height="17" rx="3" stroke="#ffb347" stroke-width="3"/>'
    '<rect x="18" y="12" width="11.5" height="11.5" rx="2.5" stroke="#43d6a8" stroke-width="2.5"/>'
    '<path d="M2 29c8 0 7-13 13-13s5 4 16 2" stroke="#e8eef5" stroke-width="2"/></svg>'
)


class _ConsoleMount(Mount):
    """NiceGUI's mount at the root, confined to the paths that are NiceGUI's."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        path = scope.get("path", "")
        if path in {"/", "/favicon.ico"} or path.startswith("/_nicegui"):
            match, child_scope = super().matches(scope)
            return match, {**child_scope, PARENT: scope["app"]}
        return Match.NONE, {}


def mount(app: FastAPI) -> None:
    """Serve the console at `/` of `app`, whose state holds the services when it runs."""

    @ui.page("/", title="Toledo Racer", dark=True, language="en-US")
    def console(request: Request) -> None:
        address = request.client.host if request.client else ""
        build(Backend.of(request.scope[PARENT], address))

    # A second app in one process (tests) mounts the same NiceGUI: its middleware must not pile up.
    nicegui_app.user_middleware.clear()
    nicegui_app.middleware_stack = None

    ui.run_with(
        app,
        title="Toledo Racer",
        favicon=_MARK,
        dark=True,
        tailwind=False,
        binding_refresh_interval=None,
        show_welcome_message=False,
    )
    mounted = app.routes.pop()
    if not isinstance(mounted, Mount):
        raise TypeError("NiceGUI no longer mounts itself as the last route: adapt mount().")
    app.routes.append(_ConsoleMount("/", app=mounted.app, name="console"))
    count_sessions(core.sio)


def build(backend: Backend) -> None:
    """Lay the page out and connect its panels. Runs once for each client.

    Where everybody signs in there is nothing but the form until somebody has: what is not built
    cannot be seen or pressed.
    """
    ui.add_css(_STYLE)
    link_chip = _top_bar()
    ui.context.client.on_delete(backend.leave)
    if not backend.required:
        _deck(backend, link_chip)
        return
    link_chip.set_visibility(False)
    gate = ui.element("main").classes("gate")
    content = ui.context.client.content

    async def enter(pilot: str) -> None:
        gate.delete()
        link_chip.set_visibility(True)
        with content:
            _deck(backend, link_chip, pilot=pilot)

    with gate, card("Sign in"):
        PilotForm(backend, on_enter=enter)


def _deck(backend: Backend, link_chip: Chip, *, pilot: str | None = None) -> None:
    """All the panels; `pilot` is signed in already."""

    async def send(command: str) -> Outcome:
        """Who takes off or races wants to see the vehicle, not the flight recorded in training."""
        if command.startswith(("takeoff", "fly_policy")):
            background_tasks.create(camera.go_live(), name="console go live")
        return await backend.send_command(command)

    async def look_for_policy() -> None:
        await flight.race.look()

    with ui.element("main").classes("deck"):
        with ui.element("div").classes("left"):
            left = ui.element("div").classes("left-setup")
            training = TrainingPanel(
                start=backend.start_training,
                follow=backend.follow_training,
                cancel=backend.cancel_training,
                status=backend.status,
                on_end=look_for_policy,
            )
        camera = CameraPanel(
            vehicle_stream=backend.vehicle_stream,
            on_start=backend.start_simulation,
            on_stop=backend.stop_simulation,
            is_live=backend.is_live,
        )
        TelemetryPanel(backend.latest_telemetry, link_chip=link_chip)
        flight = FlightPanel(
            send,
            latest=backend.latest_telemetry,
            is_trained=backend.is_trained,
            step_away=backend.step_away,
            on_alive=backend.alive,
        )

    def on_model(model: ModelCard | None) -> None:
        if model is None:
            training.show(None)
        else:
            training.show(model.drone_id, epochs=model.epochs, status=model.status)
        flight.race.show(model.drone_id if model else None)
        camera.show(backend.stream_url())

    with left:
        setup = SetupPanel(backend, on_model=on_model, pilot=pilot)

    async def stay_signed_in() -> None:
        reason = await backend.lapse()
        if reason is not None:
            await setup.leave(reason)
        elif await backend.renew() or (camera.lost and backend.token is not None):
            await open_streams(backend.token)
            camera.reconnect()

    ui.timer(LOOK_S, stay_signed_in)


def _top_bar() -> Chip:
    """Brand, vehicle status, links; returns the status chip."""
    with ui.element("header").classes("topbar"):
        with ui.element("div").classes("brand"):
            ui.html(_MARK, sanitize=False)
            text("Toledo Racer", "h1")
            text("Train, race and fly")
        ui.element("div").classes("spring")
        link_chip = Chip("Connecting", "busy", name="vehicle")
        with ui.element("nav").props('aria-label="Documentation"').classes("row"):
            for label, target in {"API": "/docs", "Reference": "/redoc"}.items():
                text(label, "a").props(f'href="{target}" target="_blank" rel="noopener"')
    return link_chip
