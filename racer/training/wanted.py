"""From a drone model's settings to the configuration of its training process."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pydantic import ValidationError
from sqlalchemy.orm import Session, object_session

from auth import Visitor
from models import Policy, TrainingRun, UserDroneModel
from racer.errors import (
    ConflictError,
    InvalidInputError,
    NotFoundError,
    RacerError,
    UnavailableError,
)
from racer.policy.weights import read_initial, refuse_others
from racer.sim.airframe import load_airframe
from racer.tracks.service import course_of
from racer.training import queries
from racer.training.queries import Wanted
from racer.training.run_files import INITIAL, WEIGHTS, lay_initial
from racer.training.schemas import Sweep
from racer.web.ids import is_id
from schemas import DroneDetails

_SEED = 0
_AIRFRAME = "x500"


def configure(model: UserDroneModel) -> Wanted:
    """The worker's configuration of a drone model; the strings in it were checked on entry."""
    return _wanted_run(model, _varied(model, {}), epochs=model.training_epochs, seed=_SEED)


def runs_of(session: Session, drone_id: str, sweep: Sweep, visitor: Visitor) -> list[Wanted]:
    """A run of the model for each seed with each variant.

    Raises NotFoundError for an unknown model, for a run to continue that is not `visitor`'s to use
    or a policy that is not, InvalidInputError for a variant that means nothing.
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
    run_id, policy_id = _parent_of(session, model, sweep.continue_from, visitor)
    return [
        run._replace(
            config=run.config | {"initial": INITIAL},
            parent_run_id=run_id,
            parent_policy_id=policy_id,
        )
        for run in wanted
    ]


def _parent_of(
    session: Session, model: UserDroneModel, given: str, visitor: Visitor
) -> tuple[str | None, str | None]:
    """(the run, the policy) that a new run of the model is to continue: a run that the visitor may
    use, or a policy of the model's owner, whose run may be gone. NotFoundError when it is neither's
    id."""
    policy = session.get(Policy, given) if is_id(given) else None
    if policy is not None and policy.user_id == model.user_id:
        return policy.run_id, policy.id
    run = session.get(TrainingRun, given) if is_id(given) else None
    if run is None or not visitor.may_use(run.drone_model.user):
        raise NotFoundError(
            "There is no run of that id to continue that you may use, nor a policy among those of "
            "the drone model's owner."
        )
    return run.id, None


def lay_weights(data_dir: Path, runs: Mapping[str, Wanted]) -> None:
    """Copy what those of the runs (by their ids) that continue a run or a policy begin with, so
    that its deletion does not hurt them.

    Raises ConflictError when the run has no weights, InvalidInputError when the policy has none or
    they are of another kind, UnavailableError when they cannot be copied.
    """
    for run_id, run in runs.items():
        parent = run.parent_policy_id or run.parent_run_id
        if parent is None:
            continue
        kept = run.parent_policy_id is not None
        source = data_dir / ("policies" if kept else "runs") / parent / WEIGHTS
        try:
            copy = lay_initial(data_dir / "runs" / run_id, source)
        except FileNotFoundError as error:
            raise _without_weights(kept=kept) from error
        except OSError as error:
            raise weights_not_copied(error) from error
        refuse_others(read_initial(copy), run.config)


def weights_not_copied(error: OSError) -> UnavailableError:
    """Says why."""
    return UnavailableError(f"The weights to begin with cannot be copied: {error.strerror}.")


def _without_weights(*, kept: bool) -> RacerError:
    if kept:
        return InvalidInputError(
            f"The policy to continue has no {WEIGHTS}: an uploaded one is a network alone, without "
            "what training goes on from. Continue a run, or a policy that was trained here."
        )
    return ConflictError("The run to continue has no weights: it has not finished an epoch.")


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
