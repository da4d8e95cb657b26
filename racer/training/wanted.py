"""From a drone model's settings to the configuration of its training process."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pydantic import ValidationError
from sqlalchemy.orm import Session, object_session

from models import UserDroneModel
from racer.errors import ConflictError, InvalidInputError, UnavailableError
from racer.policy.weights import read_initial, refuse_others
from racer.sim.airframe import load_airframe
from racer.tracks.service import course_of
from racer.training import queries, run_queries
from racer.training.queries import Wanted
from racer.training.run_files import INITIAL, WEIGHTS, lay_initial
from racer.training.schemas import Sweep
from schemas import DroneDetails

_SEED = 0
_AIRFRAME = "x500"


def configure(model: UserDroneModel) -> Wanted:
    """The worker's configuration of a drone model; the strings in it were checked on entry."""
    return _wanted_run(model, _varied(model, {}), epochs=model.training_epochs, seed=_SEED)


def runs_of(session: Session, drone_id: str, sweep: Sweep) -> list[Wanted]:
    """A run of the model for each seed with each variant.

    Raises NotFoundError for an unknown model or run to continue, InvalidInputError for a variant
    that means nothing.
    """
    model = queries.get_model(session, drone_id)
    epochs = sweep.training_epochs or model.training_epochs
    wanted = [
        _wanted_run(model, details, epochs=epochs, seed=seed)
        for details in [_varied(model, variant) for variant in sweep.variants]
        for seed in sweep.seeds
    ]
    if sweep.continue_from is None:
        return wanted
    parent = run_queries.get_run(session, sweep.continue_from).id
    return [
        run._replace(config=run.config | {"initial": INITIAL}, parent_run_id=parent)
        for run in wanted
    ]


def lay_weights(folder: Path, runs: Mapping[str, Wanted]) -> None:
    """Copy what those of the runs (by their ids) that continue another one begin with, so that its
    deletion does not hurt them. `folder` holds all runs' folders.

    Raises ConflictError when the other one has no weights, InvalidInputError when they are of
    another kind, UnavailableError when they cannot be copied.
    """
    for run_id, run in runs.items():
        if run.parent_run_id is None:
            continue
        source = folder / run.parent_run_id / WEIGHTS
        try:
            copy = lay_initial(folder / run_id, source)
        except FileNotFoundError as error:
            raise ConflictError(
                "The run to continue has no weights: it has not finished an epoch."
            ) from error
        except OSError as error:
            raise UnavailableError(
                f"The weights to begin with cannot be copied: {error.strerror}."
            ) from error
        refuse_others(read_initial(copy), run.config)


def _varied(model: UserDroneModel, variant: dict[str, str]) -> DroneDetails:
    """The model's settings with some of them changed."""
    if unknown := set(variant) - set(DroneDetails.model_fields):
        raise InvalidInputError(f"droneDetails has no key '{min(unknown)[:64]}'.")
    try:
        return DroneDetails.model_validate(model.drone_details | variant)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise InvalidInputError(f"droneDetails' {where}: {first['msg']}.") from error


def _wanted_run(model: UserDroneModel, details: DroneDetails, *, epochs: int, seed: int) -> Wanted:
    """A run of the model with these settings; its course is part of it from now on.

    Raises NotFoundError for a track that the model's owner may not use, InvalidInputError for one
    that cannot be flown.
    """
    flight = details.flight_settings()
    session = object_session(model)
    assert session is not None  # noqa: S101 - it was just read
    course = course_of(session, details, model.user.username)
    course.track.check_room(load_airframe(_AIRFRAME).body.collision_radius_m)
    config = {
        "algorithm": flight.algorithm,
        "epochs": epochs,
        "seed": seed,
        "track": course.text,
        "airframe": _AIRFRAME,
        "altitude_m": course.altitude_m,
        "velocity_limit_m_s": flight.velocity_limit_m_s,
        "yaw_limit_deg_s": flight.yaw_limit_deg_s,
        "wind_speed_m_s": flight.wind_speed_m_s,
    } | ({} if flight.reward is None else {"reward": flight.reward})
    return Wanted(config, details.as_sent())
