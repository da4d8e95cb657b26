"""Somebody flies the embedded vehicle by hand through the web service, and races a policy with it:
`main.py` serves and runs vehicle and controller, the rest is a socket and HTTP."""

from __future__ import annotations

import json
from math import dist
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from websockets.sync.client import ClientConnection, connect

from tests.control.test_control_stack import parts, service, state
from tests.races.test_race_day import said, uploaded
from tests.support import wait_for

pytestmark = pytest.mark.slow
# North of the place of take-off, which is the start; a vehicle that is switched on looks there.
COURSE = """
name = "ahead"
laps = 1
[start]
position = [0.0, 0.0, 2.5]
yaw_deg = 90.0
[bounds]
min = [-10.0, -10.0, 0.0]
max = [10.0, 25.0, 10.0]
[[gates]]
position = [0.0, 4.0, 2.5]
yaw_deg = 90.0
size_m = 2.5
[[gates]]
position = [0.0, 8.0, 2.5]
yaw_deg = 90.0
size_m = 2.5
"""
ACCOUNT = {"username": "ada", "password": "correct horse"}


def commanded(socket: ClientConnection, command: str) -> None:
    """Fly one command to its end."""
    socket.send(command)
    while (frame := json.loads(socket.recv(timeout=70)))["type"] != "command_result":
        assert frame["type"] in ("command_sent", "lease"), frame
    assert frame["ok"], frame


def flown(process: Any, address: str, token: str) -> None:
    """Take off, through both gates and beyond, and land."""
    with connect(
        f"ws://{address}/ws/control?username=ada",
        additional_headers={"Authorization": f"Bearer {token}"},
    ) as pilot:
        commanded(pilot, "takeoff")

        def rests_at_the_start() -> bool:
            told = state(process)
            near = dist(told["position"], (0.0, 0.0, 2.5)) < 0.4
            return near and dist(told["velocity"], (0.0, 0.0, 0.0)) < 0.2

        wait_for("a rest at the start", rests_at_the_start, timeout_s=20)
        commanded(pilot, "move_forward")
        wait_for("both gates", lambda: state(process)["position"][1] > 9.5, timeout_s=30)
        commanded(pilot, "stop")
        commanded(pilot, "land")


def test_a_flight_by_hand_races_a_policy(tmp_path: Path, compile_cache: Path) -> None:
    # A machine that starts several processes may keep the service from its heartbeat for a moment.
    with service(tmp_path, compile_cache, PILOT_SILENCE_S="2") as (process, address, _):
        wait_for("the vehicle", lambda: parts(address).get("vehicle"), timeout_s=90)
        with httpx.Client(base_url=f"http://{address}", timeout=60) as client:
            said(client.post("/users/", json=ACCOUNT))
            token = said(client.post("/token", data=ACCOUNT))["access_token"]
            ada = {"Authorization": f"Bearer {token}"}
            flown(process, address, token)
            flights = wait_for(
                "the recording",
                lambda: said(client.get("/users/ada/flights", headers=ada))["flights"],
                timeout_s=60,
                every_s=1.0,
            )
            assert [flight["airframe"] for flight in flights] == ["x500"]
            assert flights[0]["flown_s"] > 5.0

            policy = uploaded(client, "bob", 3.0, tmp_path / "bob")
            text = {"content": COURSE, "headers": ada | {"Content-Type": "application/toml"}}
            said(client.post("/users/ada/tracks", **text))
            wanted = {"name": "Cup", "format": "time_trial", "track": "ada/ahead", "attempts": 1}
            race = said(client.post("/races", json=wanted, headers=ada))
            path = f"/races/{race['id']}"
            said(client.post(f"{path}/entries", json={"policy_id": policy}))
            flight = {"flight": flights[0]["id"]}
            said(client.post(f"{path}/entries", json=flight, headers=ada))
            said(client.post(f"{path}/start", headers=ada))
            over = ("finished", "failed", "cancelled")
            wait_for("the end", lambda: said(client.get(path))["status"] in over, timeout_s=200)

            ranking = said(client.get(f"{path}/results"))["ranking"]
            assert {row["flown"] for row in ranking} == {"hand", "policy"}
            [row] = [row for row in ranking if row["flown"] == "hand"]
            assert all(row["result"]["status"] != "refused" for row in ranking)
            result = row["result"]
            assert (row["username"], result["status"], row["elo"]) == ("ada", "finished", None)
            first, second = result["splits"]
            assert first["split_s"] > second["split_s"] > 4.0 / 2.2  # from rest, to 2 m/s at most
            replay = said(client.get(f"{path}/replay.json"))
            [ghost] = [one for one in replay["drones"] if one["name"] == "ada: by hand"]
            line = ghost["position_m"]
            assert line[0] == pytest.approx([0.0, 0.0, 2.5], abs=0.5)
            assert line[-1][1] == pytest.approx(8.0, abs=0.05)
            assert ghost["passages_s"] == [first["time_s"], second["time_s"]]
            north = [place[1] for place in line]
            crossed = np.interp([4.0, 8.0], north, ghost["time_s"])
            assert crossed == pytest.approx(ghost["passages_s"], abs=0.05)
