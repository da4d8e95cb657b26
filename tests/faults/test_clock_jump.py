"""The wall clock jumps an hour forward and two hours back while the product runs."""

from __future__ import annotations

import itertools
import json
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from tests.accounts.people import PASSWORD, bearer
from tests.faults.wall_clock import WallClock
from tests.program import running, said
from tests.support import claim_slot, wait_for

HOUR_S = 3600
WRITES_PER_MINUTE = 60
MODEL = {"title": "First", "training_epochs": 100, "drone_details": {}}
LONGEST_GAP_S = 5.0  # between two frames of 10 Hz, on a machine that does other things, too
WATCHED_S = 4.0  # others look once a second for what nobody executes
STEP_S = 1000.0  # of a clock that only goes on it is none


class Viewer:
    """Reads `/ws/telemetry` all the time, by a clock that is right."""

    def __init__(self, socket: ClientConnection) -> None:
        self.frames: list[tuple[float, dict[str, Any]]] = []  # when they came, monotonic
        self._socket = socket

    def read(self) -> None:
        with suppress(ConnectionClosed):  # an end that comes early is a gap in the frames
            for text in self._socket:
                self.frames.append((time.monotonic(), json.loads(text)))

    @property
    def newest(self) -> dict[str, Any]:
        return self.frames[-1][1]


@contextmanager
def watching(address: str) -> Iterator[Viewer]:
    with connect(f"ws://{address}/ws/telemetry") as socket:
        viewer = Viewer(socket)
        thread = threading.Thread(target=viewer.read)
        thread.start()
        try:
            wait_for("the first frame", lambda: viewer.frames, timeout_s=20)
            yield viewer
        finally:
            socket.close()
            thread.join()


def fly(pilot: ClientConnection, command: str) -> None:
    """Or fail with what was said instead."""
    pilot.send(command)
    while (frame := json.loads(pilot.recv(timeout=130)))["type"] != "command_result":
        assert frame == {"type": "command_sent", "command": command}
    assert frame["ok"], frame


def sign_in(client: httpx.Client, name: str) -> dict[str, str]:
    tokens: dict[str, str] = said(
        client.post("/token", data={"username": name, "password": PASSWORD})
    )
    return tokens


def renewed(client: httpx.Client, tokens: dict[str, str]) -> httpx.Response:
    return client.post("/token/refresh", json={"refresh_token": tokens["refresh_token"]})


def me(client: httpx.Client, token: str) -> int:
    return client.get("/users/me", headers=bearer(token)).status_code


def jump(clock: WallClock, viewer: Viewer, seconds: int) -> None:
    """And wait until the controller has seen it."""
    before, at_s = viewer.newest["stamp"], time.monotonic()
    clock.jump(seconds)

    def seen() -> bool:
        gone_on = viewer.newest["stamp"] - before - (time.monotonic() - at_s)
        return abs(gone_on - seconds) < STEP_S

    wait_for("the controller to see the jump", seen, timeout_s=15)


def fly_by(pilot: ClientConnection) -> None:
    for command in ("move_forward", "turn_left", "stop"):
        fly(pilot, command)


def use_up_writes(client: httpx.Client, token: str) -> httpx.Response:
    """Until it is refused: the refusal."""
    for _ in range(2 * WRITES_PER_MINUTE):
        answer = client.post("/users/ada/drone-models/", json={}, headers=bearer(token))
        if answer.status_code == 429:
            return answer
        assert answer.status_code == 422
    raise AssertionError("never refused")


@contextmanager
def stack(tmp_path: Path, compile_cache: Path, clock: WallClock) -> Iterator[tuple[Any, str, Path]]:
    """Service, vehicle and controller by that clock."""
    data, log = tmp_path / "data", tmp_path / "log"
    data.mkdir()
    (data / "jax_cache").symlink_to(compile_cache)
    changes = clock.environment | {"WRITES_PER_MINUTE": str(WRITES_PER_MINUTE)}
    # What starts several processes may keep the service from its heartbeat for a moment.
    changes |= {"PILOT_SILENCE_S": "2", "LOG_LEVEL": "INFO"}
    with (
        claim_slot(data) as slot,
        log.open("w") as output,
        running(slot | changes, stack="embedded", log=output) as (client, _),
    ):
        yield client, f"127.0.0.1:{slot['PORT']}", log


def test_a_flight_and_signed_in_people_outlive_jumps_of_the_clock(
    tmp_path: Path, compile_cache: Path
) -> None:
    clock = WallClock(tmp_path)
    with ExitStack() as exits:
        client, address, log = exits.enter_context(stack(tmp_path, compile_cache, clock))
        said(client.post("/users/", json={"username": "ada", "password": PASSWORD}))
        ada, left = sign_in(client, "ada"), sign_in(client, "ada")
        gone = client.post("/logout", headers=bearer(left["access_token"]))
        assert gone.status_code == 204
        wait_for(
            "the vehicle", lambda: client.get("/readyz").json()["parts"]["vehicle"], timeout_s=60
        )
        viewer = exits.enter_context(watching(address))
        pilot = exits.enter_context(connect(f"ws://{address}/ws/control"))
        fly(pilot, "takeoff")
        took_off = len(viewer.frames)

        use_up_writes(client, ada["access_token"])
        jump(clock, viewer, HOUR_S)
        fly_by(pilot)
        assert me(client, ada["access_token"]) == me(client, left["access_token"]) == 401
        assert renewed(client, left).status_code == 401
        fresh = said(renewed(client, ada))
        assert me(client, fresh["access_token"]) == 200

        jump(clock, viewer, -2 * HOUR_S)
        fly_by(pilot)
        assert me(client, ada["access_token"]) == me(client, fresh["access_token"]) == 200
        assert me(client, left["access_token"]) == 401
        refused = use_up_writes(client, fresh["access_token"])
        assert int(refused.headers["Retry-After"]) <= 60
        time.sleep(int(refused.headers["Retry-After"]))
        made = client.post(
            "/users/ada/drone-models/", json=MODEL, headers=bearer(fresh["access_token"])
        )
        said(made)
        assert me(client, sign_in(client, "ada")["access_token"]) == 200

        flown = viewer.frames[took_off:]
        fly(pilot, "land")
        wait_for("it to stand", lambda: not viewer.newest["in_air"], timeout_s=60)
        assert {(f["connected"], f["armed"], f["in_air"]) for _, f in flown} == {(True,) * 3}
        assert {f["phase"] for _, f in flown} <= {"hovering", "offboard"}
        gaps = [after - before for (before, _), (after, _) in itertools.pairwise(viewer.frames)]
        assert max(gaps) < LONGEST_GAP_S
        assert max(f["age_s"] for _, f in flown) < LONGEST_GAP_S
        told = log.read_text()
        assert "Traceback" not in told
        assert "died" not in told


def test_a_server_whose_clock_jumps_takes_no_training_of_one_that_lives(tmp_path: Path) -> None:
    clock, data = WallClock(tmp_path), tmp_path / "data"
    with ExitStack() as exits:
        slots = [exits.enter_context(claim_slot(data)) for _ in range(2)]
        right, _ = exits.enter_context(running(slots[0]))
        said(right.post("/users/", json={"username": "ada"}))
        drone_id = said(right.post("/users/ada/drone-models/", json=MODEL))["drone_id"]
        path = f"/users/ada/drone-models/{drone_id}"
        said(right.post(f"{path}/start-training"))
        wait_for("its start", lambda: said(right.get("/runs"))["runs"][0]["attempt"], timeout_s=20)
        clock.jump(HOUR_S)
        exits.enter_context(running(slots[1] | clock.environment))
        began_s, seen = time.monotonic(), set[tuple[int, str]]()
        while (gone_s := time.monotonic() - began_s) < 2 * WATCHED_S:
            if gone_s > WATCHED_S and clock.off_s > 0:
                clock.jump(-2 * HOUR_S)
            [run] = said(right.get("/runs"))["runs"]
            seen.add((run["attempt"], run["status"]))
            time.sleep(0.1)
        said(right.post(f"{path}/cancel-training"))
    assert seen == {(1, "running")}
