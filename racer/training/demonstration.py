"""The built-in demonstration model, for who opens `/ws/train` before making an account.

It is an ordinary row of an ordinary open account, made when somebody first asks for it: its
training is stored, followed and replayed like any other.
"""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from models import User, UserDroneModel

_TITLE = "Demonstration"
_DESCRIPTION = "Made by the server: the default settings on the Toledo course."
_DETAILS = {
    "raceType": "time-trial",
    "algorithm": "ppo",
    "flightAltitude": "",
    "velocityLimit": "",
    "yawLimit": "",
    "enableWind": "",
    "windSpeed": "",
}
# The second name serves where somebody protected an account called demo with a password.
_NAMES = ("demo", "toledo-demo")


def demonstration_drone(session: Session) -> str | None:
    """The demonstration model's drone_id, made if need be; None when both names are protected."""
    for name in _NAMES:
        user = session.scalar(select(User).where(User.username == name).with_for_update())
        if user is None:
            user = User(username=name)
            session.add(user)
        if user.password_hash is not None:
            continue
        model = session.scalar(
            select(UserDroneModel)
            .where(UserDroneModel.user_id == user.id, UserDroneModel.title == _TITLE)
            .order_by(UserDroneModel.id)
            .limit(1)
        )
        if model is None:
            model = UserDroneModel(
                user=user, title=_TITLE, description=_DESCRIPTION, drone_details=dict(_DETAILS)
            )
            session.add(model)
        session.flush()
        return model.drone_id
    return None
