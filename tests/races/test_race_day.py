"""A leaderboard race of four policies, end to end, as a client sees it: `main.py` serves, the rest
is HTTP."""

from __future__ import annotations

import csv
import io
import zipfile
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import httpx
import numpy as np
import pytest

from racer.policy.tables import track_from_table
from racer.racing.replay import Replay, decode
from racer.sim.track import load_track
from tests.program import main_program, said
from tests.racing.pilots import write_pilot
from tests.support import wait_for

pytestmark = pytest.mark.slow
PILOTS = {"ada": 6.0, "bob": 5.5, "cy": 5.0, "dan": 9.0}  # m/s; dan flies into a frame
SVG = "{http://www.w3.org/2000/svg}"


def uploaded(client: httpx.Client, username: str, speed_m_s: float, folder: Path) -> str:
    """The id of a policy that was sent as a zip."""
    said(client.post("/users/", json={"username": username}))
    write_pilot(folder, speed_m_s)
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for file in folder.iterdir():
            archive.write(file, file.name)
    headers = {"Content-Type": "application/zip"}
    path = f"/users/{username}/policies"
    kept = said(client.post(path, content=content.getvalue(), headers=headers, timeout=60))
    return str(kept["id"])


def test_four_policies_race_for_a_place_on_the_board(tmp_path: Path) -> None:
    with main_program(tmp_path / "data") as client:
        policies = {
            name: uploaded(client, name, speed, tmp_path / name) for name, speed in PILOTS.items()
        }
        wanted = {
            **{"name": "Saturday cup", "username": "ada", "track": "toledo"},
            **{"format": "time_trial", "attempts": 2},
        }
        race = said(client.post("/races", json=wanted))
        for policy_id in policies.values():
            said(client.post(f"/races/{race['id']}/entries", json={"policy_id": policy_id}))
        said(client.post(f"/races/{race['id']}/start"))
        path = f"/races/{race['id']}"
        race = wait_for(
            "the race's end",
            lambda: (
                (found := said(client.get(path)))["status"] not in ("open", "running") and found
            ),
            timeout_s=300,
        )
        assert race["status"] == "finished", race
        results = said(client.get(f"{path}/results"))
        ranking = [row["username"] for row in results["ranking"]]
        assert ranking == ["ada", "bob", "cy", "dan"]
        splits_are_those_of_the_table(results, client.get(f"{path}/results.csv").text)
        assert sum(row["elo_change"] for row in results["ranking"]) == pytest.approx(0.0)
        elos = [row["elo"] for row in results["ranking"]]
        assert elos == sorted(elos, reverse=True)

        board = wait_for(
            "the reference",
            lambda: (
                all((found := said(client.get("/leaderboards/toledo")))["reference"].values())
                and found
            ),
            timeout_s=240,
        )
        assert [row["username"] for row in board["rows"]] == ["ada", "bob", "cy"]  # dan has no time
        assert all(row["ratio"] > 1.0 for row in board["rows"])
        assert all(lap["ratio"] > 1.0 for row in board["rows"] for lap in row["laps"])
        assert [row["elo"] for row in board["rows"]] == elos[:3]

        replay = decode(client.get(f"{path}/replay").content)
        told = said(client.get(f"{path}/replay.json"))
        assert [len(ghost["time_s"]) for ghost in told["drones"]] == [
            len(flight.time) for flight in replay.paths
        ]
        lines_pass_the_gates(replay, client.get(f"{path}/replay.svg").text)


def splits_are_those_of_the_table(results: dict[str, Any], table: str) -> None:
    rows = list(csv.DictReader(io.StringIO(table)))
    assert [row["username"] for row in rows] == [row["username"] for row in results["ranking"]]
    for line, row in zip(rows, results["ranking"], strict=True):
        splits = row["result"]["splits"]
        assert len(splits) == row["result"]["gates_passed"]
        for split in splits:
            told = line[f"lap {split['lap']} gate {split['gate']}"]
            assert float(told) == split["split_s"]
    best = results["ranking"][0]
    total = sum(split["split_s"] for split in best["result"]["splits"])
    assert total == pytest.approx(best["score_s"], abs=1e-3)


def lines_pass_the_gates(replay: Replay, picture: str) -> None:
    """In the picture every gate that a drone passed is crossed by its line, and so in space."""
    root = ET.fromstring(picture)  # noqa: S314 - our own picture
    gates = [line for line in root.iter(f"{SVG}line") if line.get("class") == "gate"]
    ends = [
        [[float(g.get(k, "")) for k in pair] for pair in (["x1", "y1"], ["x2", "y2"])]
        for g in gates
    ]
    lines = [line for line in root.iter(f"{SVG}polyline") if line.get("class") == "flight"]
    track = track_from_table(replay.header.track)
    assert [gate.position.tolist() for gate in track.gates] == [
        gate.position.tolist() for gate in load_track("toledo").gates
    ]
    assert len(lines) == len(replay.paths) == 4
    crossed = []
    for line, ghost, path in zip(lines, replay.header.drones, replay.paths, strict=True):
        points = np.array([pair.split(",") for pair in line.get("points", "").split()], float)
        assert len(points) == ghost.samples
        if ghost.status == "finished":  # its line ends in the last gate's plane: a hand further
            points = np.append(points, [2.0 * points[-1] - points[-2]], axis=0)
        crossed.append(sum(crosses(points, *np.array(gate)) for gate in ends))
        for gate, moment in zip(track.gates, ghost.passages_s, strict=False):
            there = [np.interp(ghost.start_s + moment, path.time, axis) for axis in path.position.T]
            ahead, left, up = gate.axes @ (np.array(there) - gate.position)
            assert abs(ahead) < 0.02
            assert max(abs(left), abs(up)) < 0.5 * gate.size
    assert crossed == [len(ghost.passages_s) for ghost in replay.header.drones]


def crosses(points: np.ndarray, a: np.ndarray, b: np.ndarray) -> bool:
    """Whether a chain of segments crosses the one from a to b."""

    def side(p: np.ndarray, q: np.ndarray, r: np.ndarray) -> np.ndarray:
        return np.sign(
            (q[..., 0] - p[..., 0]) * (r[..., 1] - p[..., 1])
            - (q[..., 1] - p[..., 1]) * (r[..., 0] - p[..., 0])
        )

    start, end = points[:-1], points[1:]
    apart = side(start, end, a) != side(start, end, b)
    return bool(np.any(apart & (side(a, b, start) != side(a, b, end))))
