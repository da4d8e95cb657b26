"""The disk of the database is full: reading goes on, writing says why it does not."""

from __future__ import annotations

from pathlib import Path

from tests.program import running, said
from tests.support import claim_slot, fill, small_disk

MODEL = {"title": "x", "description": "d" * 9_000, "drone_details": {}}


def test_a_full_disk_refuses_writes_with_words_and_goes_on_reading(tmp_path: Path) -> None:
    with (
        small_disk(tmp_path / "disk", "16m") as disk,
        claim_slot(disk) as slot,
        running(slot) as (client, process),
    ):
        said(client.post("/users/", json={"username": "ada"}))
        fill(disk / "filler")
        while (refused := client.post("/users/ada/drone-models/", json=MODEL)).is_success:
            pass
        assert refused.status_code == 507
        assert refused.headers["Content-Type"] == "application/problem+json"
        assert "disk" in refused.json()["detail"]
        models = said(client.get("/users/ada"))["drone_models"]
        assert said(client.get("/readyz"))["parts"]["database"] is True
        assert client.post("/users/", json={"username": "bob"}).status_code in {200, 507}

        (disk / "filler").unlink()
        said(client.post("/users/ada/drone-models/", json=MODEL))
        assert len(said(client.get("/users/ada"))["drone_models"]) == len(models) + 1
        assert process.poll() is None
