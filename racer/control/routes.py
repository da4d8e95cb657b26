"""The control slice's routes: two sockets, the newest state, a model's simulation."""

from __future__ import annotations

import math
from typing import Annotated, Any

from fastapi import APIRouter, Depends, WebSocket

import crud
from auth import NamedAccount, VisitorDep
from database import SessionDep
from models import UserDroneModel
from racer.control.accounts import account_named
from racer.control.dependencies import ControlDep
from racer.control.schemas import DroneOut, SimulationOut, Telemetry
from racer.control.simulation import SimulationAnswer
from racer.control.sockets import ControlSession, stream_telemetry
from racer.control.telemetry import MAX_HZ, MIN_HZ
from racer.errors import NotFoundError, UnavailableError
from racer.flight.authority import Account
from racer.web.openapi import errors
from racer.web.sockets import Goodbye, converse
from racer.web.tokens import Admission, signed_in

router = APIRouter(tags=["flying"])
_BAD_PARAMETER = 1008
_UNKNOWN = errors(s404="No such user, model or drone.")
_NO_TELEMETRY = errors(s503="No telemetry yet.")
_PROTECTED = errors(s401="Sign in first, or the token is wrong or expired.")


def _own_model(user: NamedAccount, drone_id: str, session: SessionDep) -> UserDroneModel:
    """A model that the visitor may fly. Ends the transaction before anybody waits for a vehicle."""
    model = crud.get_users_drone_model(session, user, drone_id)
    session.commit()
    return model


OwnModel = Annotated[UserDroneModel, Depends(_own_model, scope="function")]


@router.websocket("/ws/control")
async def control_socket(
    websocket: WebSocket, control: ControlDep, pilot: str = "", username: str = ""
) -> None:
    """Fly: plain text commands or sticks in, JSON answers out; `pilot` is a name for the others,
    `username` the account whose flights these are."""

    async def fly(admission: Admission[Account | None]) -> Goodbye | None:
        return await ControlSession(websocket, control, admission, pilot).run()

    await converse(websocket, account_named(username), fly)


@router.websocket("/ws/telemetry")
async def telemetry_socket(websocket: WebSocket, control: ControlDep, hz: str = "10") -> None:
    """Watch: the newest telemetry, `hz` times a second."""
    rate = _rate(hz)

    async def watch(admission: Admission[None]) -> Goodbye | None:
        if rate is None:
            reason = f"hz must be a number from {MIN_HZ} to {MAX_HZ:.0f}, for example ?hz=10."
            return Goodbye(_BAD_PARAMETER, reason)
        return await stream_telemetry(websocket, control, rate, admission)

    await converse(websocket, signed_in, watch)


def _rate(text: str) -> float | None:
    try:
        rate = float(text)
    except ValueError:
        return None
    return rate if math.isfinite(rate) and MIN_HZ <= rate <= MAX_HZ else None


@router.get("/drones", summary="Which drones are here, and who flies them?", responses=_PROTECTED)
async def drones(control: ControlDep, _visitor: VisitorDep) -> list[DroneOut]:
    """One, so far: several drones are several services, each with its own VEHICLE_INSTANCE."""
    topics = control.topics
    here = {"drone": topics.drone, "commands_topic": topics.commands}
    connected = control.telemetry.connected
    return [DroneOut(**here, connected=connected, **control.pilots.status())]


@router.get(
    "/drones/{drone}/state",
    summary="Where is the drone, and what does it do?",
    response_model=Telemetry,
    responses=_UNKNOWN | _PROTECTED | _NO_TELEMETRY,
)
async def drone_state(drone: str, control: ControlDep, _visitor: VisitorDep) -> dict[str, Any]:
    """The newest telemetry, as `/ws/telemetry` sends it."""
    if drone != str(control.drone):
        here = f"this service flies drone {control.drone}"
        raise NotFoundError(f"There is no drone {drone[:64]!r} here; {here}.")
    latest = control.telemetry.latest()
    if latest is None:
        raise UnavailableError(
            "The vehicle has not told its position yet. Try again in a few seconds; "
            "/readyz says which part is missing."
        )
    return latest


@router.post(
    "/users/{username}/drone-models/{drone_id}/start-simulation",
    summary="Lend the vehicle to a drone model",
    response_model=SimulationOut,
    responses=_UNKNOWN | _PROTECTED,
)
async def start_simulation(model: OwnModel, control: ControlDep) -> SimulationAnswer:
    """Waits until the vehicle is live; every control socket hears how it goes."""
    return await control.start_simulation(model)


@router.post(
    "/users/{username}/drone-models/{drone_id}/stop-simulation",
    summary="Take the vehicle back from a drone model",
    response_model=SimulationOut,
    responses=_UNKNOWN | _PROTECTED,
)
async def stop_simulation(model: OwnModel, control: ControlDep) -> SimulationAnswer:
    """The vehicle holds where it is."""
    return await control.stop_simulation(model)
