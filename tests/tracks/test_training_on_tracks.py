"""A drone model names a track, and its run is trained on what the track was then."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from racer.cameras.replay import flown_on
from racer.errors import NotFoundError
from racer.policy.manifest import read_manifest
from racer.settings import Settings
from racer.sim.track import load_track, parse_track, shipped_text
from racer.tracks.courses import canonical
from racer.tracks.service import content_of, find
from tests.tracks.texts import LOOP, loop
from tests.training.conftest import play, until
from tests.training.rig import Rig, serving

SMALL_WORKER = (sys.executable, "-m", "tests.training.small_worker")
PASSWORD = "correct horse"
TOML = {"Content-Type": "application/toml"}
OTHER = loop("loop").replace("[6.0, 0.0, 2.0]", "[7.0, 0.0, 2.0]")


@pytest.fixture
def sqlite_settings(sqlite_url: str, tmp_path: Path) -> Settings:
    return Settings(_env_file=None, data_dir=tmp_path, database_url=sqlite_url, secret_key="")


async def post(rig: Rig, username: str, content: str = LOOP, **headers: str) -> str:
    """The new track's path."""
    await rig.http.post("/users/", json={"username": username})
    answer = await rig.http.post(
        f"/users/{username}/tracks", content=content, headers=TOML | headers
    )
    assert answer.status_code == 201, answer.text
    return f"/tracks/{answer.json()['id']}"


async def start(rig: Rig, drone_id: str, username: str = "ada", **headers: str) -> Any:
    return await rig.http.post(
        f"/users/{username}/drone-models/{drone_id}/start-training", headers=headers
    )


async def newest_run(rig: Rig, drone_id: str) -> dict[str, Any]:
    runs = (await rig.http.get("/runs", params={"drone_id": drone_id})).json()["runs"]
    found: dict[str, Any] = runs[0]
    return found


def test_a_run_keeps_the_course_as_it_was_at_its_start(settings: Settings) -> None:
    async def scenario() -> None:
        async with serving(settings, hold_after=1) as rig:
            path = await post(rig, "ada")
            drone_id = await rig.new_model("ada", track="ada/loop")
            assert (await start(rig, drone_id)).status_code == 200
            run = await newest_run(rig, drone_id)
            folder = settings.data_dir / "runs" / run["id"]
            await until((folder / "holding").exists)
            assert (await rig.http.put(path, content=OTHER, headers=TOML)).status_code == 200
            assert (await rig.http.delete(path)).status_code == 204
            (folder.parent / "go").touch()
            async with rig.socket(f"/ws/train?drone_id={drone_id}&run={run['id']}") as socket:
                async with asyncio.timeout(20):
                    messages = [json.loads(text) async for text in socket]
            assert messages[-1]["done"] is True
            assert "error" not in messages[-1]

            told = json.loads((folder / "config.json").read_text())
            assert told["track"] == canonical(parse_track(LOOP))
            assert told["altitude_m"] is None
            run = await newest_run(rig, drone_id)
            assert (run["config"]["track"], run["sent"]["track"]) == (told["track"], "ada/loop")
            course = flown_on(folder / "flight.npz")
            assert course is not None
            assert course.gates[0].position[0] == 6.0

            gone = await start(rig, drone_id)
            assert gone.status_code == 404
            assert "There is no track 'ada/loop', or its owner" in gone.json()["detail"]
            assert (await newest_run(rig, drone_id))["id"] == run["id"]

    play(scenario())


def test_only_ones_own_and_shared_tracks_can_be_named(settings: Settings) -> None:
    async def scenario() -> None:
        async with serving(settings) as rig:
            await rig.http.post("/users/", json={"username": "ada", "password": PASSWORD})
            ada = await rig.signed_in("ada", PASSWORD)
            path = await post(rig, "ada", **ada)
            own = await rig.new_model("ada", password=PASSWORD, track="ada/loop")
            assert (await start(rig, own, **ada)).status_code == 200
            theirs = await rig.new_model("bob", track=" ada/loop ")
            by_id = await rig.new_model("bob", track=path.removeprefix("/tracks/").upper())
            for drone_id in (theirs, by_id):
                refused = await start(rig, drone_id, "bob")
                assert refused.status_code == 404
                async with rig.socket(f"/ws/train?drone_id={drone_id}") as socket:
                    message = json.loads(await socket.recv())
                assert message == {"error": refused.json()["detail"], "done": True}
            await rig.http.patch(path, json={"shared": True}, headers=ada)
            for drone_id in (theirs, by_id):
                assert (await start(rig, drone_id, "bob")).status_code == 200
                run = await newest_run(rig, drone_id)
                assert run["config"]["track"] == canonical(parse_track(LOOP))
            with rig.app.state.database.session(read_only=True) as session:
                assert content_of(session, "ada/loop", "bob") == LOOP
                assert content_of(session, "toledo", "bob") == shipped_text("toledo")
                assert find(session, path.removeprefix("/tracks/")).full_name == "ada/loop"
                for wrong in ("nobody/loop", "ada/none", "/", "ada/", "ada/loop/", "ada/é", "\0/x"):
                    with pytest.raises(NotFoundError):
                        content_of(session, wrong, "bob")

    play(scenario())


@pytest.mark.parametrize(
    ("details", "track", "altitude_m"),
    [
        ({}, "toledo", 2.5),
        ({"track": "", "flightAltitude": "4"}, "toledo", 4.0),
        ({"track": "toledo"}, "toledo", None),
        ({"track": " swift ", "flightAltitude": "4"}, "swift", 4.0),
        ({"track": "bob/loop", "flightAltitude": "5"}, canonical(parse_track(LOOP)), 5.0),
    ],
)
def test_a_shipped_track_is_named_and_an_empty_altitude_leaves_it(
    sqlite_settings: Settings, details: dict[str, str], track: str, altitude_m: float | None
) -> None:
    async def scenario() -> None:
        async with serving(sqlite_settings) as rig:
            await post(rig, "bob")
            drone_id = await rig.new_model("bob", **details)
            assert (await start(rig, drone_id, "bob")).status_code == 200
            config = (await newest_run(rig, drone_id))["config"]
            assert (config["track"], config["altitude_m"]) == (track, altitude_m)

    play(scenario())


def test_what_cannot_be_flown_is_refused_at_once(sqlite_settings: Settings) -> None:
    narrow = LOOP.replace("size_m = 1.5", "size_m = 0.3")

    async def scenario() -> None:
        async with serving(sqlite_settings) as rig:
            await post(rig, "bob", narrow)
            for track, status, told in (
                ("bob/loop", 422, "lets no airframe through"),
                ("monza", 404, "Shipped ones: figure_eight"),
                ("/etc/passwd", 404, "no track '/etc/passwd'"),
                ("racer/sim/tracks/toledo.toml", 404, "no track"),
            ):
                drone_id = await rig.new_model("bob", track=track)
                answer = await start(rig, drone_id, "bob")
                assert answer.status_code == status, answer.text
                assert told in answer.json()["detail"]
            sweep = {"variants": [{"track": "swift"}, {"track": "monza"}]}
            answer = await rig.http.post(f"/users/bob/drone-models/{drone_id}/runs", json=sweep)
            assert answer.status_code == 404
            assert (await rig.http.get("/runs")).json()["runs"] == []
            for wrong in ("a\nb", "x" * 161, "\0", 5, {"name": "toledo"}, LOOP):
                body = {"title": "x", "drone_details": {"track": wrong}}
                answer = await rig.http.post("/users/bob/drone-models/", json=body)
                assert answer.status_code == 422, wrong
                assert "drone_details.track: must be" in answer.json()["detail"]

    play(scenario())


@pytest.mark.slow
def test_the_real_training_program_flies_a_users_track(sqlite_settings: Settings) -> None:
    async def scenario() -> None:
        async with serving(sqlite_settings, worker=SMALL_WORKER) as rig:
            await post(rig, "ada")
            drone_id = await rig.new_model("ada", epochs=1, track="ada/loop")
            async with rig.socket(f"/ws/train?drone_id={drone_id}") as socket:
                async with asyncio.timeout(200):
                    messages = [json.loads(text) async for text in socket]
            assert messages[-1] == {"done": True, "message": "Training completed!"}
            run = await newest_run(rig, drone_id)
            assert run["resolved"]["track"] == canonical(parse_track(LOOP))
            folder = sqlite_settings.data_dir / "runs" / run["id"]
            flown = read_manifest(folder).load_track()
            wanted = load_track(LOOP)
            assert flown.name == "loop"
            assert [gate.position.tolist() for gate in flown.gates] == [
                gate.position.tolist() for gate in wanted.gates
            ]

    play(scenario())
