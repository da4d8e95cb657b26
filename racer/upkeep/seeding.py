"""Sample data for a first look: an open account whose drone models show what can be configured."""

from __future__ import annotations

from sqlalchemy.orm import Session

import crud
from models import User
from racer.errors import ConflictError
from schemas import DroneDetails, DroneModelCreate

SAMPLES: tuple[tuple[str, str, dict[str, str]], ...] = (
    ("First laps", "Everything as it comes: PPO, the Toledo course.", {}),
    (
        "Careful in the wind",
        "Gusts around 5 m/s, and no faster than 6 m/s.",
        {"enableWind": "true", "windSpeed": "5", "velocityLimit": "6"},
    ),
    ("Eights", "Another course.", {"track": "figure_eight"}),
)
_NAMES = ("sample-pilot", "sample-pilot-2")  # the second where somebody protected the first


def sow(session: Session) -> tuple[str, str]:
    """Add what is missing of the samples; the account's name and its first model's drone_id.

    Twice is as good as once. Raises ConflictError when both names are somebody's own.
    """
    user = _open_account(session)
    models = {model.title: model for model in user.drone_models}
    for title, description, details in SAMPLES:
        if title not in models:
            wanted = DroneModelCreate(
                title=title,
                description=description,
                drone_details=DroneDetails.model_validate(details),
            )
            models[title] = crud.create_drone_model(session, user, wanted)
    return user.username, models[SAMPLES[0][0]].drone_id


def _open_account(session: Session) -> User:
    for name in _NAMES:
        user = crud.find_user(session, name) or crud.create_user(session, name, password_hash=None)
        if user.password_hash is None:
            return user
    raise ConflictError(f"The accounts {' and '.join(_NAMES)} have passwords: nothing was seeded.")
