"""Which policies are flown at all: ids, folders, files, airframes, courses."""

from __future__ import annotations

from pathlib import Path
from uuid import uuid4

import pytest

from racer.errors import ConflictError, InvalidInputError, NotFoundError, RacerError
from racer.flight.plan import MAX_RACE_S, load_plan, policy_folder
from tests.flight.policies import COURSE, SPEED_LIMIT_M_S, steering_plan, write_steering_policy


@pytest.mark.parametrize("spelling", [str, lambda run: run.hex, lambda run: f" {run} ".upper()])
def test_a_runs_folder_is_found_by_its_uuid(tmp_path: Path, spelling: object) -> None:
    run = uuid4()
    folder = write_steering_policy(tmp_path / str(run))
    assert policy_folder([tmp_path], spelling(run)) == folder  # type: ignore[operator] # one of three


@pytest.mark.parametrize(
    "text",
    [
        "",
        "policy",
        "../" + "a" * 29,
        "..",
        "/etc/passwd",
        "1b4e28ba-2fa1-41d2-883f-0016d3cca427/../x",
        "1b4e28ba/2fa1/41d2/883f/0016d3cca427",
        "1b4e28ba-2fa1-41d2-883f-0016d3cca42",
        "1b4e28ba-2fa1-41d2-883f-0016d3cca4277",
        "{1b4e28ba-2fa1-41d2-883f-0016d3cca427}",
        "urn:uuid:1b4e28ba-2fa1-41d2-883f-0016d3cca427",
        "1b4e28ba2fa1-41d2-883f-0016d3cca427",
        "１b4e28ba-2fa1-41d2-883f-0016d3cca427",
        "1b4e28ba-2fa1-41d2-883f-0016d3cca427\0",
    ],
)
def test_what_is_no_uuid_is_not_looked_for(tmp_path: Path, text: str) -> None:
    with pytest.raises(InvalidInputError, match="UUID"):
        policy_folder([tmp_path], text)


def test_an_unknown_run_and_one_without_a_policy_are_not_there(tmp_path: Path) -> None:
    run = uuid4()
    with pytest.raises(NotFoundError, match=str(run)):
        policy_folder([tmp_path], str(run))
    (tmp_path / str(run)).mkdir()  # in training still
    with pytest.raises(NotFoundError, match="Train it to its end"):
        policy_folder([tmp_path], run.hex)


def test_a_kept_policy_is_found_by_its_own_id(tmp_path: Path) -> None:
    kept = uuid4()
    folder = write_steering_policy(tmp_path / "policies" / str(kept))
    assert policy_folder([tmp_path / "runs", tmp_path / "policies"], str(kept)) == folder


def test_a_policy_for_another_airframe_is_refused(tmp_path: Path) -> None:
    write_steering_policy(tmp_path)
    with pytest.raises(ConflictError, match=r"'x500', this vehicle is 'cpc'"):
        load_plan(tmp_path, airframe="cpc")


@pytest.mark.parametrize("file", ["policy.onnx", "manifest.json"])
def test_damaged_files_are_refused(tmp_path: Path, file: str) -> None:
    path = write_steering_policy(tmp_path) / file
    whole = path.read_bytes()
    for damaged in (whole[:-2], whole[:40] + b"\0" + whole[41:], b"", None):
        if damaged is None:
            path.unlink()
        else:
            path.write_bytes(damaged)
        with pytest.raises(RacerError, match=file):
            load_plan(tmp_path, airframe="x500")


def test_a_course_that_takes_longer_than_a_command_may_is_refused(tmp_path: Path) -> None:
    long = COURSE.replace("9.0, 2.8]", "600.0, 2.8]").replace("18.0, 8.0]", "610.0, 8.0]")
    write_steering_policy(tmp_path, course=long)
    with pytest.raises(InvalidInputError, match=f"{MAX_RACE_S:.0f} s at most"):
        load_plan(tmp_path, airframe="x500")


def test_a_velocity_policys_envelope_is_its_course_and_limits_with_a_margin(tmp_path: Path) -> None:
    envelope = steering_plan(tmp_path).envelope
    assert envelope.bounds_min == (-9.0, -7.0, 0.25)  # the ground has no margin but the hull
    assert envelope.bounds_max == (9.0, 19.0, 9.0)
    assert envelope.speed_m_s == pytest.approx(1.3 * SPEED_LIMIT_M_S + 0.5)
    assert 45.0 < envelope.tilt_deg < 90.0


def test_a_policy_of_body_rates_may_fly_on_its_back(tmp_path: Path) -> None:
    assert steering_plan(tmp_path, "ctbr").envelope.tilt_deg == 180.0


def test_a_start_on_the_ground_is_begun_above_it(tmp_path: Path) -> None:
    course = COURSE.replace("[0.0, 0.0, 2.5], yaw", "[0.0, 0.0, 0.01], yaw")
    write_steering_policy(tmp_path, course=course)
    plan = load_plan(tmp_path, airframe="x500")
    assert plan.start == pytest.approx((0.0, 0.0, 0.75))
