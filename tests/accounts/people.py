"""Accounts with passwords, and who signs in to them."""

from __future__ import annotations

from typing import Any

from sqlalchemy import update
from starlette.testclient import TestClient

from models import Role, User

PASSWORD = "correct horse"


def sign_up(client: TestClient, name: str, *, role: Role = Role.PILOT) -> dict[str, str]:
    """The headers of the signed-in owner of a new protected account."""
    answer = client.post("/users/", json={"username": name, "password": PASSWORD})
    assert answer.status_code == 200, answer.text
    if role is not Role.PILOT:
        app: Any = client.app
        with app.state.database.session() as session:
            session.execute(update(User).where(User.username == name).values(role=role))
    return bearer(sign_in(client, name, PASSWORD).json()["access_token"])


def sign_in(client: TestClient, name: str, password: str) -> Any:
    """The answer."""
    return client.post("/token", data={"username": name, "password": password})


def bearer(token: str) -> dict[str, str]:
    """The header that says who asks."""
    return {"Authorization": f"Bearer {token}"}
