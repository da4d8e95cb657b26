"""One page's hold on the services: who is signed in there, which drone model is chosen.

The browser names nothing here. Whatever it triggers acts for the pilot that this object let in, on
the drone model that this pilot owns. Database work runs in threads, one short transaction each.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any, Concatenate, ParamSpec, TypeVar
from urllib.parse import quote

from fastapi import FastAPI
from nicegui import background_tasks
from pydantic import BaseModel, ValidationError
from sqlalchemy.orm import Session

import auth
import crud
from database import Database
from models import UserDroneModel
from racer.accounts.service import check_reward
from racer.console.flight_panel import Outcome
from racer.console.model_form import ALGORITHMS, RACE_TYPES, FormError
from racer.console.queries import open_usernames
from racer.console.session import PageSession
from racer.console.setup_panel import ModelCard
from racer.control.service import ControlService
from racer.errors import ConflictError, NotFoundError, RacerError, UnauthorizedError
from racer.flight.commands import PREEMPTED
from racer.rewards.diagnostics import InvalidRewardError
from racer.training.service import TrainingService
from schemas import DroneDetails, DroneModelCreate, UserCreate

_EVERYBODY_HAS_ONE = "Everybody has a password here: 8 to 72 bytes."

P = ParamSpec("P")
T = TypeVar("T")
M = TypeVar("M", bound=BaseModel)


class Backend:
    """Implements what the panels ask for; see their constructors for the contracts."""

    def __init__(
        self,
        session: PageSession,
        *,
        database: Database,
        control: ControlService,
        training: TrainingService,
    ) -> None:
        self._session = session
        self._database = database
        self._control = control
        self._training = training
        self._drone_id: str | None = None
        self._seat = control.pilots.join("The console")
        self._keep_nobody_out()

    @classmethod
    def of(cls, app: FastAPI, address: str) -> Backend:
        """A fresh one, signed in as nobody, on the running app's services; `address` of the
        browser."""
        state = app.state
        return cls(
            PageSession(state, address),
            database=state.database,
            control=state.control,
            training=state.training,
        )

    # accounts

    @property
    def required(self) -> bool:
        """Whether nobody sees or flies anything here before signing in."""
        return self._session.required

    @property
    def token(self) -> str | None:
        """Of an account with a password, for the cookie of its streams."""
        return self._session.token

    async def open_pilots(self, limit: int) -> list[str]:
        """Names of the newest accounts that anybody may use."""
        return [] if self.required else await self._read(open_usernames, limit)

    async def sign_in(self, username: str, password: str) -> str:
        """Let the pilot in and return the name as stored.

        Raises NotFoundError for an unknown name, UnauthorizedError for a wrong password,
        TooManyRequestsError after several.
        """
        account = await self._session.begin(username, password)
        self._control.pilots.fly_as(self._seat, account)
        self._control.pilots.resume(self._seat)
        return account.username

    async def create_pilot(self, username: str, password: str) -> str:
        """A new account, signed in. Raises FormError, AlreadyExistsError, TooManyRequestsError."""
        wanted = _parse(UserCreate, {"username": username, "password": password or None})
        if wanted.password is None and self.required:
            raise FormError({"password": _EVERYBODY_HAS_ONE})
        await self._session.slow_down(wanted.username)
        password_hash = (
            await auth.in_bcrypt_thread(auth.hash_password, wanted.password)
            if wanted.password is not None
            else None
        )
        await self._write(crud.create_user, wanted.username, password_hash=password_hash)
        return await self.sign_in(wanted.username, password)

    async def sign_out(self) -> None:
        """Forget the pilot and the drone model."""
        self._drone_id = None
        self._keep_nobody_out()
        await self._session.end()

    async def lapse(self) -> str | None:
        """Why the pilot is not signed in any more; they fly no more then."""
        reason = await self._session.lapse()
        if reason is not None:
            self._control.pilots.suspend(self._seat, reason)
        return reason

    async def renew(self) -> bool:
        """Stay signed in; whether there is a fresh token."""
        return await self._session.renew()

    def _keep_nobody_out(self) -> None:
        self._control.pilots.fly_as(self._seat, None)
        if self.required:
            self._control.pilots.suspend(self._seat, "Sign in first.")
        else:
            self._control.pilots.resume(self._seat)

    # drone models

    async def models(self) -> list[ModelCard]:
        """The pilot's drone models, newest first."""

        def read(session: Session, username: str) -> list[ModelCard]:
            models = crud.get_user(session, username).drone_models
            return [_card(model) for model in reversed(models)]

        return await self._read(read, self._pilot)

    async def create_model(self, body: dict[str, Any]) -> ModelCard:
        """A new drone model. Raises FormError with a message for each field that is wrong."""
        wanted = _parse(DroneModelCreate, body)
        pilot = self._pilot
        try:
            await asyncio.to_thread(check_reward, wanted.drone_details)
        except InvalidRewardError as error:
            raise FormError({"rewardFunction": error.message}) from error

        def create(session: Session) -> ModelCard:
            return _card(crud.create_drone_model(session, crud.get_user(session, pilot), wanted))

        return await self._write(create)

    async def delete_model(self, drone_id: str) -> None:
        """Delete one of the pilot's, with its trainings. Raises NotFoundError, and ConflictError
        while one of them lasts or the vehicle flies for it."""
        await self._session.delete_model(drone_id)

    async def choose(self, drone_id: str | None) -> None:
        """Act on this drone model from now on. Raises NotFoundError if it is not the pilot's."""
        if drone_id is not None:
            await self._read(_own_model, self._pilot, drone_id)
        self._drone_id = drone_id

    async def status(self, drone_id: str) -> str:
        """The stored training status of one of the pilot's drone models."""
        model = await self._read(_own_model, self._pilot, drone_id)
        return model.status.value

    # training

    async def start_training(self, drone_id: str) -> None:
        """Train the model, anew if it has been trained before."""
        await self._read(_own_model, self._pilot, drone_id)
        await self._training.start(drone_id, again=True)

    async def cancel_training(self, drone_id: str) -> None:
        """End the model's training."""
        await self._read(_own_model, self._pilot, drone_id)
        await self._training.cancel(drone_id)

    def follow_training(self, drone_id: str) -> AsyncIterator[Mapping[str, Any]]:
        """The messages of `/ws/train`."""
        return self._training.follow(drone_id)

    # flying

    def latest_telemetry(self) -> Mapping[str, Any] | None:
        """The newest telemetry, or None before the first."""
        return self._control.telemetry.latest()

    async def send_command(self, command: str) -> Outcome:
        """Send it and wait for the controller's answer; failures come back as words."""
        if self._seat.suspended is not None:  # what is open to every pilot is not open to nobody
            return Outcome(ok=False, message=self._seat.suspended, refused=True)
        try:
            result = await self._control.send_command(command, self._seat)
        except ConflictError as error:
            return Outcome(ok=False, message=error.message, refused=True)
        except RacerError as error:
            return Outcome(ok=False, message=error.message)
        replaced = not result.ok and result.message.startswith(PREEMPTED)
        return Outcome(ok=result.ok, message=result.message, replaced=replaced)

    def step_away(self, away: bool) -> None:
        """The page lost its connection, or has it again."""
        self._control.pilots.step_away(self._seat, away=away)

    def alive(self) -> None:
        """The browser says that its pilot is there."""
        self._seat.seen()

    def leave(self) -> None:
        """The page is gone for good, and its session with it."""
        self._control.pilots.leave(self._seat)
        background_tasks.create(self._session.end(), name="console sign out")

    async def is_trained(self, drone_id: str) -> bool:
        """Whether a training of this drone model has finished and left a policy."""
        try:
            await self._training.policy_run(drone_id)
        except NotFoundError:
            return False
        return True

    @property
    def vehicle_stream(self) -> str:
        """The MJPEG stream of the vehicle, whoever flies it."""
        return f"/drones/{self._control.drone}/stream"

    def stream_url(self) -> str | None:
        """The MJPEG stream of the chosen drone."""
        account = self._session.account
        if account is None or self._drone_id is None:
            return None
        return f"/gazebo-stream/{self._drone_id}?username={quote(account.username, safe='')}"

    def is_live(self) -> bool:
        """Whether the vehicle flies for the chosen drone model."""
        return self._drone_id is not None and self._control.active_drone_id == self._drone_id

    async def start_simulation(self) -> dict[str, Any]:
        """`{"status", "message"}` as the API answers it."""
        return await self._simulate(self._control.start_simulation)

    async def stop_simulation(self) -> dict[str, Any]:
        """`{"status", "message"}` as the API answers it."""
        return await self._simulate(self._control.stop_simulation)

    async def _simulate(self, action: Callable[[UserDroneModel], Any]) -> dict[str, Any]:
        if self._drone_id is None:
            return {"status": "error", "message": "Choose a drone model first."}
        try:
            model = await self._read(_own_model, self._pilot, self._drone_id)
            answer = await action(model)
        except RacerError as error:
            return {"status": "error", "message": error.message}
        return dict(answer)

    @property
    def _pilot(self) -> str:
        account = self._session.account
        if account is None:
            raise UnauthorizedError("Choose a pilot first.")
        return account.username

    async def _read(
        self, work: Callable[Concatenate[Session, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        def transaction() -> T:
            with self._database.session(read_only=True) as session:
                return work(session, *args, **kwargs)

        return await asyncio.to_thread(transaction)

    async def _write(
        self, work: Callable[Concatenate[Session, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        def transaction() -> T:
            with self._database.session() as session:
                return work(session, *args, **kwargs)

        return await asyncio.to_thread(transaction)


def _own_model(session: Session, pilot: str, drone_id: str) -> UserDroneModel:
    return crud.get_users_drone_model(session, crud.get_user(session, pilot), drone_id)


def _parse(kind: type[M], body: dict[str, Any]) -> M:
    """The API's own check of a request body, its complaints by field."""
    try:
        return kind.model_validate(body)
    except ValidationError as error:
        messages = {
            str(problem["loc"][-1]) if problem["loc"] else "": _sentence(problem["msg"])
            for problem in error.errors(include_url=False, include_context=False)
        }
        raise FormError(messages) from error


def _sentence(message: str) -> str:
    message = message.removeprefix("Value error, ")
    return message[:1].upper() + message[1:].rstrip(".") + "."


def _card(model: UserDroneModel) -> ModelCard:
    details = DroneDetails.model_validate(model.drone_details)
    flight = details.flight_settings()
    altitude = "As the track has it" if flight.altitude_m is None else f"{flight.altitude_m:g} m"
    wind = f"{flight.wind_speed_m_s:g} m/s" if flight.wind_speed_m_s else "Off"
    return ModelCard(
        drone_id=model.drone_id,
        title=model.title,
        epochs=model.training_epochs,
        status=model.status.value,
        facts={
            "Race": RACE_TYPES.get(flight.race_type, flight.race_type),
            "Algorithm": ALGORITHMS[flight.algorithm],
            "Epochs": str(model.training_epochs),
            "Wind": wind,
            "Reward": "Your own" if flight.reward else "Built in",
            "Altitude": altitude,
            "Speed limit": f"{flight.velocity_limit_m_s:g} m/s",
            "Yaw limit": f"{flight.yaw_limit_deg_s:g} °/s",
        },
    )
