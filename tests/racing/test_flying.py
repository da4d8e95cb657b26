"""Real flights: the race's world flies what an evaluation flies, the same every time."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from racer.learning.policy_evaluation import evaluate_policy
from racer.racing.collisions import collide, first_touch
from racer.racing.config import Entry
from racer.racing.entrants import Entrant, admit
from racer.racing.flight import Flight, Place
from racer.racing.flying import Stadium, key_of
from racer.racing.grid import grid, staggered
from racer.sim.airframe import load_airframe
from racer.sim.task import NO_SPREAD
from racer.sim.track import load_track
from tests.policy.rig import write_random_policy
from tests.racing.pilots import exchange_network, pilot_network, write_pilot

pytestmark = pytest.mark.usefixtures("compiled")
TRACK, X500 = load_track("toledo"), load_airframe("x500")
KEY = key_of(3, "a test")


@pytest.fixture(scope="module")
def exact() -> Stadium:
    """Flights begin exactly at their place."""
    return Stadium(TRACK, X500, spread=NO_SPREAD)


def evaluated(folder: Path) -> dict[str, np.ndarray]:
    found = evaluate_policy(folder, starts=1, track="toledo", variation="none", spread=False)
    report = found.report
    times = [gate.split_s for gate in report.gates if gate.passes]
    return found.flight | {
        "ends": np.array([report.completion, report.crashed, report.timed_out]),
        "times": np.cumsum(times),
        "place": np.array([place.position for place in report.crash_places]).reshape(-1, 3),
    }


def assert_same(flight: Flight, evaluation: dict[str, np.ndarray]) -> None:
    """Every sample, bit for bit; but the last one, which an evaluation does not record."""
    assert np.array_equal(flight.position[:-1].astype(np.float32), evaluation["position"])
    assert np.array_equal(flight.attitude[:-1].astype(np.float32), evaluation["quaternion"])
    assert flight.passages == pytest.approx(evaluation["times"], abs=1e-5)
    ends = {"finished": 0, "crashed": 1, "timed_out": 2}
    assert evaluation["ends"][ends[flight.end]] == 1.0
    if flight.end == "crashed":
        assert flight.position[-1] == pytest.approx(evaluation["place"][0])


@pytest.mark.parametrize("speed", [5.0, 9.0])
def test_a_single_drone_flies_exactly_as_in_an_evaluation(
    exact: Stadium, pilots: dict[float, Path], entrants: dict[float, Entrant], speed: float
) -> None:
    (place,) = grid(TRACK, 1, 0.25)
    assert_same(exact.fly(entrants[speed], KEY, place), evaluated(pilots[speed]))


def test_so_does_a_policy_of_body_rates_at_its_own_control_rate(
    exact: Stadium, tmp_path: Path
) -> None:
    write_random_policy(tmp_path, action_space="ctbr", control_hz=50.0, substeps=4)
    entrant = admit(Entry(id=99, name="rates", policy=str(tmp_path)), X500)
    assert isinstance(entrant, Entrant)
    flight = exact.fly(entrant, KEY)
    assert np.diff(flight.time)[0] == pytest.approx(0.02)
    assert_same(flight, evaluated(tmp_path))


def test_company_that_it_does_not_meet_changes_nothing(
    exact: Stadium, entrants: dict[float, Entrant]
) -> None:
    first, second = staggered(TRACK, 2, 5.0)
    alone = exact.fly(entrants[6.0], KEY, first)
    together = collide([alone, exact.fly(entrants[5.0], KEY, second)], 0.5)
    assert together[0] is alone
    assert together[1].start_s == 5.0
    late = exact.fly(entrants[6.0], KEY, second)
    assert np.array_equal(late.position, alone.position)
    assert late.time == pytest.approx(alone.time + 5.0)


def test_two_drones_on_crossing_courses_collide(
    exact: Stadium, entrants: dict[float, Entrant]
) -> None:
    """Both fly to the first gate, the one from the left and the other from the right of it."""
    x, y, z = TRACK.start_position
    places = [Place((x + aside, y, z), 0.0) for aside in (-1.5, 1.5)]
    flights = [exact.fly(entrants[5.0], KEY, place) for place in places]
    assert all(len(flight.passages) == 6 for flight in flights)
    moment = first_touch(*flights, 0.5)
    assert moment is not None
    ended = collide(flights, 0.5)
    assert [flight.cause for flight in ended] == ["drone", "drone"]
    assert np.linalg.norm(ended[0].position[-1] - ended[1].position[-1]) == pytest.approx(0.5)
    assert ended[0].end_s == ended[1].end_s == moment


def test_one_air_for_all_of_a_heat_and_another_for_the_next(
    entrants: dict[float, Entrant],
) -> None:
    windy = Stadium(TRACK, X500, wind_speed_m_s=4.0)
    twin = dataclasses.replace(entrants[5.0], id=50)
    one, two = windy.fly(entrants[5.0], KEY), windy.fly(twin, KEY)
    assert np.array_equal(one.position, two.position)
    other = windy.fly(entrants[5.0], key_of(3, "another"))
    assert not np.array_equal(one.position[:20], other.position[:20])
    calm = Stadium(TRACK, X500).fly(entrants[5.0], KEY)
    assert np.array_equal(one.position[0], calm.position[0])
    assert not np.array_equal(one.position[:20], calm.position[:20])


def test_everybody_has_the_same_time_whatever_the_own_rates_and_limits(tmp_path: Path) -> None:
    """Four laps at 200 actions a second are more steps than trainings ever fly."""
    stadium = Stadium(dataclasses.replace(TRACK, laps=4), X500)
    assert stadium.time_limit_s == 83  # 216 m at 3 m/s, and ten seconds
    hover, ends = pilot_network(0.0, slowing=0.0, gain=0.0), {}
    for hz, substeps, limit in ((10.0, 20, 8.0), (25.0, 8, 4.0), (200.0, 1, 8.0)):
        folder = tmp_path / f"{hz:g}"
        rates = {"control_hz": hz, "substeps": substeps, "velocity_limit_m_s": limit}
        exchange_network(folder, hover, **rates)
        entrant = admit(Entry(id=int(hz), name="hovers", policy=str(folder)), X500)
        assert isinstance(entrant, Entrant)
        assert stadium.refusal(entrant) is None
        flight = stadium.fly(entrant, KEY)
        ends[hz] = flight.end, round(flight.end_s, 6)
    assert set(ends.values()) == {("timed_out", 83.0)}, ends


def test_a_course_that_takes_too_long_at_a_policys_limit_is_refused(tmp_path: Path) -> None:
    write_pilot(tmp_path, 2.0, velocity_limit_m_s=2.0)
    slow = admit(Entry(id=1, name="slow", policy=str(tmp_path)), X500)
    assert isinstance(slow, Entrant)
    assert "takes too long at 2 m/s" in str(Stadium(TRACK, X500).refusal(slow))


def test_keys_of_a_race_tell_nothing_of_each_other() -> None:
    import jax

    keys = [key_of(5, "a", 1), key_of(5, "a", 2), key_of(6, "a", 1), key_of(5, "b", 1)]
    assert len({bytes(np.asarray(jax.random.key_data(key))) for key in keys}) == len(keys)
