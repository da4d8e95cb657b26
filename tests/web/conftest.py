"""The product's users, drone models and tracks on each database, without vehicle and ROS."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from starlette.testclient import TestClient

from racer.accounts.routes import router as accounts
from racer.settings import Settings
from racer.tracks.routes import router as tracks
from racer.web.app import assemble, spine


@pytest.fixture
def client(settings: Settings) -> Iterator[TestClient]:
    """The running app."""
    app = assemble(settings, routers=[accounts, tracks], lifespan=spine)
    with TestClient(app, base_url="http://localhost") as client:
        yield client
