"""Whole races of each format, and the processes that fly them."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from racer.errors import InvalidInputError
from racer.racing.config import RaceConfig, race_config
from racer.racing.grid import grid
from racer.racing.job import RESULT_FILE
from racer.racing.race import Outcome, run_race
from racer.racing.replay import REPLAY_FILE, decode, encode
from racer.sim.track import load_track, parse_track
from tests.policy.rig import write_random_policy
from tests.racing.conftest import TOLEDO, MakeRace
from tests.racing.pilots import write_pilot
from tests.support import REPOSITORY


def names(outcome: Outcome) -> list[str]:
    return [row["name"] for row in outcome.result["ranking"]]


def test_a_time_trial_counts_everybodys_best_attempt(make_race: MakeRace) -> None:
    progress: list[float] = []
    outcome = run_race(make_race(), progress.append)
    assert names(outcome) == ["6 m/s", "5 m/s", "3 m/s", "9 m/s"]
    first, _, slow, reckless = outcome.result["ranking"]
    assert [row["rank"] for row in outcome.result["ranking"]] == [1, 2, 3, 4]
    assert first["score_s"] == min(one["score_s"] for one in first["attempts"])
    assert first["splits"][-1]["time_s"] == first["course_time_s"] == first["laps_s"][0]
    assert sum(split["split_s"] for split in first["splits"]) == pytest.approx(
        first["course_time_s"], abs=1e-3
    )
    assert (slow["status"], slow["score_s"]) == ("timed_out", None)
    assert (reckless["status"], reckless["cause"]) == ("crashed", "frame")
    assert progress == sorted(progress)
    assert (len(progress), progress[-1]) == (8, 1.0)
    drawn = {
        ghost.name: path
        for ghost, path in zip(outcome.replay.header.drones, outcome.replay.paths, strict=True)
    }
    track = load_track("toledo")
    for gate, split in zip(track.gates, first["splits"], strict=True):
        path = drawn["6 m/s"]
        there = [np.interp(split["time_s"], path.time, axis) for axis in path.position.T]
        assert np.abs(gate.axes @ (there - gate.position)).max() < 0.5 * gate.size


@pytest.mark.parametrize("form", ["time_trial", "head_to_head"])
def test_the_same_race_is_the_same_race_and_another_seed_is_not(
    make_race: MakeRace, form: str
) -> None:
    config = make_race((5.0, 6.0), format=form, wind_speed_m_s=2.0)
    one, two = run_race(config), run_race(config)
    assert one.result == two.result
    assert encode(one.replay) == encode(two.replay)
    other = run_race(config.model_copy(update={"seed": 8}))
    assert encode(other.replay) != encode(one.replay)


def test_head_to_head_the_first_through_the_last_gate_wins(make_race: MakeRace) -> None:
    race = make_race((5.0, 6.0), format="head_to_head", start="staggered", interval_s=4.0)
    first, second = run_race(race).result["ranking"]
    assert {first["status"], second["status"]} == {"finished"}
    # the clock of the race decides: the second drone is faster by 3.1 s but starts 4 s later
    assert (first["name"], first["start_s"], second["start_s"]) == ("5 m/s", 0.0, 4.0)
    assert first["course_time_s"] > second["course_time_s"]
    assert first["course_time_s"] < 4.0 + second["course_time_s"]


def test_who_cannot_get_past_flies_into_the_one_before(make_race: MakeRace) -> None:
    """Alone it would win by 0.6 s, but both fly the same line."""
    race = make_race((5.0, 6.0), format="head_to_head", start="staggered", interval_s=2.5)
    first, second = run_race(race).result["ranking"]
    assert (first["cause"], second["cause"]) == ("drone", "drone")
    assert (first["collided_with"], second["collided_with"]) == ([second["id"]], [first["id"]])
    assert 4 <= second["gates_passed"] <= first["gates_passed"] < 6


def test_when_all_crash_the_furthest_wins(make_race: MakeRace) -> None:
    """Two equals on a grid collide on their way to the first gate, or both hit its frame."""
    outcome = run_race(make_race((9.0, 9.0, 9.0), format="head_to_head"))
    rows = outcome.result["ranking"]
    assert {row["status"] for row in rows} == {"crashed"}
    far = [(-row["gates_passed"], row["to_next_gate_m"]) for row in rows]
    assert far == sorted(far)
    met = {row["id"]: set(row["collided_with"]) for row in rows}
    assert all(own in met[other] for own in met for other in met[own])


def test_a_knockout_of_three_seeds_by_time_and_the_winner_has_won_the_final(
    make_race: MakeRace,
) -> None:
    outcome = run_race(make_race((5.0, 3.0, 6.0), format="knockout", start="staggered"))
    heats = [heat["name"] for heat in outcome.result["heats"]]
    assert heats == ["Seeding", "Semi-final 2", "Final"]
    ranking = outcome.result["ranking"]
    assert [row["rank"] for row in ranking] == [1, 2, 3]
    final = outcome.result["heats"][-1]["places"]
    assert [place["id"] for place in final] == [row["id"] for row in ranking[:2]]
    # of the seeds 6, 5 and 3 m/s the best has no opponent at first
    semi = {place["id"] for place in outcome.result["heats"][1]["places"]}
    assert semi == {10, 11}
    assert len(outcome.replay.paths) == 3 + 2 + 2
    assert {ghost.heat for ghost in outcome.replay.header.drones} == {0, 1, 2}


def test_the_fastest_three_laps_need_no_finish(make_race: MakeRace, tmp_path: Path) -> None:
    ring = """
name = "two gates"
laps = 5
start = {position = [-6.0, -4.0, 2.0], yaw_deg = 0.0}
bounds = {min = [-15.0, -15.0, 0.0], max = [15.0, 15.0, 6.0]}
gates = [{position = [0.0, -4.0, 2.0], yaw_deg = 0.0, size_m = 3.0},
         {position = [0.0, 4.0, 2.0], yaw_deg = 180.0, size_m = 3.0}]
"""
    outcome = run_race(make_race((5.0,), format="fastest_three", track=ring, attempts=1))
    (row,) = outcome.result["ranking"]
    assert row["gates_passed"] >= 7, row
    laps = row["laps_s"]
    three = [sum(laps[i : i + 3]) for i in range(len(laps) - 2)]
    assert row["score_s"] == row["best_three_s"] == pytest.approx(min(three), abs=1e-3)
    with pytest.raises(InvalidInputError, match="4 laps"):
        run_race(make_race((5.0,), format="fastest_three", track=ring, laps=3))


def change_manifest(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """As its owner may: nothing signs it."""
    file = folder / "manifest.json"
    manifest = json.loads(file.read_text())
    change(manifest)
    file.write_text(json.dumps(manifest))


def leave_an_input_out(folder: Path) -> None:
    """What onnxruntime accepts and our own arithmetic does not: a Gemm whose C is named ""."""
    file = folder / "policy.onnx"
    model = onnx.load(file)
    product = next(node for node in model.graph.node if node.op_type == "MatMul")
    product.op_type = "Gemm"
    product.input.append("")
    onnx.save(model, file)
    content = file.read_bytes()
    described = {"sha256": hashlib.sha256(content).hexdigest(), "size_bytes": len(content)}
    change_manifest(folder, lambda manifest: manifest["policy"].update(described))


def test_who_cannot_fly_is_refused_with_a_sentence_and_the_others_race(
    make_race: MakeRace, tmp_path: Path
) -> None:
    folders = ("small", "coarse", "nothing", "slow", "broken")
    for name in folders:
        (tmp_path / name).mkdir()
    write_random_policy(tmp_path / "small", airframe="cf21b")
    write_pilot(tmp_path / "coarse", 5.0, control_hz=10.0, substeps=1)
    write_random_policy(tmp_path / "slow")
    change_manifest(
        tmp_path / "slow", lambda manifest: manifest["limits"].update(velocity_m_s=0.01)
    )
    write_random_policy(tmp_path / "broken")
    leave_an_input_out(tmp_path / "broken")
    config = make_race((6.0,), attempts=1)
    strangers = [
        config.entrants[0].model_copy(update={"id": i, "policy": str(tmp_path / name)})
        for i, name in enumerate(folders)
    ]
    outcome = run_race(config.model_copy(update={"entrants": (*strangers, *config.entrants)}))
    first, *refused = outcome.result["ranking"]
    assert (first["id"], first["rank"], first["status"]) == (10, 1, "finished")
    assert [row["rank"] for row in refused] == [2] * len(folders)
    words = {row["id"]: row["reason"] for row in refused}
    assert "trained for that airframe" in words[0]
    assert "10 steps of the simulation" in words[1]
    assert "manifest.json" in words[2]
    assert str(tmp_path) not in words[2]
    assert "too long" in words[3]
    assert "does not act" in words[4]
    with pytest.raises(InvalidInputError, match="Nobody can fly"):
        run_race(config.model_copy(update={"entrants": tuple(strangers)}))


def test_a_grid_leaves_air_between_hulls_and_lies_within_the_bounds() -> None:
    track = load_track("toledo")
    places = np.array([place.position for place in grid(track, 8, 0.25)])
    apart = np.linalg.norm(places[:, None] - places[None], axis=2) + 9.0 * np.eye(8)
    assert apart.min() >= 1.25 - 1e-9
    ahead = (places - track.start_position) @ [0.0, 1.0, 0.0]  # the course starts to the north
    assert ahead.max() == pytest.approx(0.0, abs=1e-9)
    narrow = TOLEDO.replace("min = [-12.0, -20.0, 0.0]", "min = [-12.0, -8.0, 0.0]")
    with pytest.raises(InvalidInputError, match="staggered"):
        grid(parse_track(narrow.replace("[0.0, 0.0, 2.5]", "[0.0, -7.0, 2.5]")), 8, 0.25)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"format": "relay"}, "format"),
        ({"entrants": []}, "1 to 64"),
        ({"format": "head_to_head"}, "2 to 8"),
        ({"laps": 0}, "laps"),
        ({"wind_speed_m_s": 40}, "wind_speed_m_s"),
        ({"seed": -1}, "seed"),
        ({"claimed_time_s": 1.0}, "claimed_time_s"),
    ],
)
def test_a_wrong_configuration_names_its_key(changes: dict[str, Any], words: str) -> None:
    right = {
        "format": "time_trial",
        "track": TOLEDO,
        "airframe": "x500",
        "seed": 1,
        "entrants": [{"id": 1, "name": "one", "policy": "somewhere"}],
    }
    assert isinstance(race_config(right), RaceConfig)
    with pytest.raises(InvalidInputError, match=words):
        race_config(right | changes)


def job(
    module: str, config: dict[str, Any], folder: Path, *options: str
) -> tuple[int, list[dict[str, Any]]]:
    """Exit code and lines of a child process."""
    (folder / "config.json").write_text(json.dumps(config))
    told = subprocess.run(
        [
            sys.executable,
            "-m",
            module,
            "--config",
            folder / "config.json",
            "--output",
            folder / "o",
            *options,
        ],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return told.returncode, [json.loads(line) for line in told.stdout.splitlines()]


def test_the_race_process_tells_its_progress_and_leaves_two_whole_files(
    make_race: MakeRace, tmp_path: Path, compiled: str
) -> None:
    config = make_race((5.0, 6.0), attempts=1)
    options = ("--compile-cache", compiled)
    code, lines = job("racer.racing.job", config.model_dump(mode="json"), tmp_path, *options)
    assert code == 0
    *progress, last = lines
    assert progress == [{"progress": 0.0}, {"progress": 0.5}, {"progress": 1.0}]
    assert last["result"] == run_race(config).result  # another process flies the same race
    assert json.loads((tmp_path / "o" / RESULT_FILE).read_text()) == last["result"]
    assert len(decode((tmp_path / "o" / REPLAY_FILE).read_bytes()).paths) == 2
    assert {file.name for file in (tmp_path / "o").iterdir()} == {RESULT_FILE, REPLAY_FILE, "lock"}


def test_the_race_process_says_why_it_cannot(make_race: MakeRace, tmp_path: Path) -> None:
    config = make_race((5.0,)).model_dump(mode="json") | {"airframe": "kite"}
    code, lines = job("racer.racing.job", config, tmp_path)
    assert (code, len(lines)) == (1, 2)
    assert "kite" in lines[-1]["error"]
    assert lines[-1]["status"] == 404


def test_the_reference_process_tells_the_best_time_there_is(tmp_path: Path) -> None:
    from racer.reference.plan import fastest
    from racer.sim.airframe import load_airframe

    config = {"track": TOLEDO, "airframe": "x500", "flying": True}
    code, (line,) = job("racer.reference.job", config, tmp_path)
    assert code == 0
    best = fastest(load_track("toledo"), load_airframe("x500"), flying=True)
    assert line["result"]["time_s"] == pytest.approx(best.time_s, abs=1e-4)
    assert len(line["result"]["splits_s"]) == 6
    code, (line,) = job("racer.reference.job", config | {"laps": "two"}, tmp_path)
    assert code == 1
    assert "'laps'" in line["error"]
