"""Sample data, seeded once or twice."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import func, select

import crud
from database import Database
from models import TrainingRun, User, UserDroneModel
from racer.errors import ConflictError
from racer.settings import Settings
from racer.upkeep.seeding import SAMPLES, sow
from tests.program import running, said
from tests.support import claim_slot, wait_for


def test_twice_is_as_good_as_once(settings: Settings) -> None:
    database = Database(settings.effective_database_url)
    database.upgrade()
    for _ in range(2):
        with database.session() as session:
            name, drone_id = sow(session)
        with database.session(read_only=True) as session:
            models = crud.get_user(session, name).drone_models
            assert [model.title for model in models] == [title for title, _, _ in SAMPLES]
            assert models[0].drone_id == drone_id
    database.dispose()


def test_somebodys_own_account_is_left_alone(settings: Settings) -> None:
    database = Database(settings.effective_database_url)
    database.upgrade()
    with database.session() as session:
        crud.create_user(session, "sample-pilot", password_hash="theirs")
        name, _ = sow(session)
        assert name == "sample-pilot-2"
        crud.get_user(session, name).password_hash = "theirs, too"
    with pytest.raises(ConflictError, match="passwords"), database.session() as session:
        sow(session)
    with database.session(read_only=True) as session:
        assert session.scalar(select(func.count()).select_from(User)) == 2
        assert session.scalar(select(func.count()).select_from(UserDroneModel)) == len(SAMPLES)
        assert session.scalar(select(func.count()).select_from(TrainingRun)) == 0
    database.dispose()


@pytest.mark.slow
def test_a_start_with_seed_db_trains_a_model(tmp_path: Path) -> None:
    with claim_slot(tmp_path / "data") as slot, running(slot | {"SEED_DB": "true"}) as (client, _):
        model = said(client.get("/users/sample-pilot"))["drone_models"][0]
        path = f"/users/sample-pilot/drone-models/{model['drone_id']}"

        def trains() -> bool:
            return said(client.get(path))["status"] in ("training", "finished")

        wait_for("its training", trains, timeout_s=60)
