"""The least that FastAPI can do for the same rows, which benchmarks.api compares our service with.

Plain SQL on the same driver, handlers in the thread pool, no middleware, no checks.

    python -m benchmarks.bare_api PORT DATABASE_URL
"""

from __future__ import annotations

import json
import sys
from typing import Any

import uvicorn
from fastapi import FastAPI
from sqlalchemy import create_engine, make_url, text

_USER = text("SELECT id, username FROM users WHERE username = :username")
_MODELS = text(
    "SELECT m.* FROM user_drone_models m JOIN users u ON u.id = m.user_id "
    "WHERE u.username = :username ORDER BY m.id"
)
_MODEL = text(
    "SELECT m.* FROM user_drone_models m JOIN users u ON u.id = m.user_id "
    "WHERE u.username = :username AND m.drone_id = :drone_id"
)


def bare_app(database_url: str) -> FastAPI:
    """Two routes of the product, with the product's answers."""
    url = make_url(database_url)
    if url.drivername == "postgresql":  # the driver that ours has
        url = url.set(drivername="postgresql+psycopg2")
    engine = create_engine(url)
    app = FastAPI()

    @app.get("/users/{username}")
    def read_user(username: str) -> Any:
        with engine.connect() as connection:
            user = connection.execute(_USER, {"username": username}).mappings().one()
            models = connection.execute(_MODELS, {"username": username}).mappings()
            return dict(user) | {"drone_models": [_model(row) for row in models]}

    @app.get("/users/{username}/drone-models/{drone_id}")
    def read_model(username: str, drone_id: str) -> Any:
        wanted = {"username": username, "drone_id": drone_id}
        with engine.connect() as connection:
            return _model(connection.execute(_MODEL, wanted).mappings().one())

    return app


def _model(row: Any) -> dict[str, Any]:
    details = row["drone_details"]  # PostgreSQL's driver has parsed it
    parsed = json.loads(details) if isinstance(details, str) else details
    return dict(row) | {"drone_details": parsed}


if __name__ == "__main__":
    uvicorn.run(bare_app(sys.argv[2]), port=int(sys.argv[1]), log_level="warning", access_log=False)
