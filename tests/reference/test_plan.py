"""Time-optimal flights obey the physics, agree with closed forms and with published optima."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Sequence

import numpy as np
import pytest

from racer.errors import InvalidInputError
from racer.geometry.gates import GateFrame, cross_gate
from racer.reference import plan
from racer.reference.guess import make_guess
from racer.reference.plan import Reference, fastest
from racer.reference.problem import Flight, Layout, PointMass
from racer.reference.quadratic import FloatArray
from racer.sim.airframe import GRAVITY_M_S2, Airframe, load_airframe
from racer.sim.track import Gate, Track, load_track

SHIPPED = (
    ("toledo", "x500"),
    ("split_s", "cpc"),
    ("swift", "kolibri"),
    ("lsy_level0", "cf21b"),
    ("figure_eight", "kolibri"),
)
CPC = load_airframe("cpc")
SIDEWAYS = math.sqrt(CPC.thrust_max_n**2 / CPC.body.mass_kg**2 - GRAVITY_M_S2**2)  # m/s², level


def course(*gates: Gate) -> Track:
    """From rest 5 m above the origin, in a wide world."""
    return Track(
        name="line",
        gates=gates,
        start_position=np.array([0.0, 0.0, 5.0]),
        start_yaw=0.0,
        bounds_min=np.array([-100.0, -100.0, 0.0]),
        bounds_max=np.array([100.0, 100.0, 100.0]),
        laps=1,
    )


def straight(distance_m: float) -> Track:
    """Eastwards to an opening of 2 mm, which leaves no room to be faster than along the line."""
    return course(Gate(np.array([distance_m, 0.0, 5.0]), 0.0, 0.0, 0.002, 0.1))


def with_drag(airframe: Airframe, *, linear: float, quadratic: float) -> Airframe:
    return dataclasses.replace(
        airframe,
        drag=dataclasses.replace(
            airframe.drag,
            **{f"linear_{axis}": linear for axis in "xyz"},
            **{f"quadratic_{axis}": quadratic for axis in "xyz"},
        ),
    )


def passed(gate: Gate, position: FloatArray, velocity: FloatArray, airframe: Airframe) -> bool:
    """Whether the simulation's rule sees a passage within two microseconds around this moment.

    A nanometre is added: to touch the plane is enough for the least time, but not for the rule.
    Who turns round there slides along the plane meanwhile: a tenth of a millimetre is allowed.
    """
    frame = GateFrame(
        tuple(gate.position),
        *(tuple(axis) for axis in gate.axes),
        half_size=0.5 * gate.size,
        frame=gate.frame,
        round=float(gate.shape == "round"),
    )
    before = position - 1e-6 * velocity
    after = position + 1e-6 * velocity + 1e-9 * gate.axes[0]
    radius = airframe.body.collision_radius_m - 1e-4
    return bool(cross_gate(frame, tuple(before), tuple(after), radius=radius).passed)


@pytest.mark.parametrize(("name", "vehicle"), SHIPPED)
@pytest.mark.parametrize("flying", [False, True], ids=["from rest", "flying"])
def test_a_flight_keeps_to_the_thrust_the_gates_and_the_world(
    name: str, vehicle: str, flying: bool
) -> None:
    track, airframe = load_track(name), load_airframe(vehicle)
    found = fastest(track, airframe, laps=None if flying else 1, flying=flying, steps_per_leg=12)
    full = airframe.thrust_max_n / airframe.body.mass_kg
    used = np.linalg.norm(found.thrust, axis=1)
    assert used.max() <= full * (1.0 + 1e-6)
    assert np.median(used) >= 0.999 * full  # nobody who saves thrust is time-optimal
    at_gates = slice(12, None, 12)
    for gate, *state in zip(
        track.gates, found.position[at_gates], found.velocity[at_gates], strict=True
    ):
        assert passed(gate, *state, airframe)
    assert np.all(found.position[1:] >= track.bounds_min - 1e-6)
    assert np.all(found.position <= track.bounds_max + 1e-6)
    assert found.time[-1] == pytest.approx(found.time_s) == pytest.approx(found.splits_s.sum())
    if flying:
        assert found.position[0] == pytest.approx(found.position[-1])
        assert found.velocity[0] == pytest.approx(found.velocity[-1])
    else:
        assert found.position[0] == pytest.approx(track.start_position)
        assert found.velocity[0] == pytest.approx(np.zeros(3), abs=1e-7)


def test_without_drag_the_thrusts_lead_along_the_path_exactly() -> None:
    found = fastest(load_track("split_s"), CPC, laps=1, steps_per_leg=8)
    position, velocity = found.position[0], found.velocity[0]
    gravity = np.array([0.0, 0.0, -GRAVITY_M_S2])
    for dt, thrust in zip(np.diff(found.time), found.thrust, strict=True):
        position = position + velocity * dt + 0.5 * (thrust + gravity) * dt**2
        velocity = velocity + (thrust + gravity) * dt
    assert position == pytest.approx(found.position[-1], abs=1e-5)
    assert velocity == pytest.approx(found.velocity[-1], abs=1e-5)


def test_a_straight_line_from_rest_is_flown_at_full_thrust() -> None:
    found = fastest(straight(20.0), CPC, steps_per_leg=8)
    assert found.time_s == pytest.approx(math.sqrt(2.0 * 20.0 / SIDEWAYS), rel=1e-4)


def test_where_it_has_to_turn_back_it_reverses_its_thrust() -> None:
    """Straight up to a gate and back through it: bang-bang with gravity for and against it."""
    there = np.array([0.0, 0.0, 25.0])
    up, down = (Gate(there, 0.0, way * 0.5 * math.pi, 0.002, 0.1) for way in (1.0, -1.0))
    found = fastest(course(up, down), CPC, steps_per_leg=32)
    full = CPC.thrust_max_n / CPC.body.mass_kg
    slowness = 1.0 / (full - GRAVITY_M_S2) + 1.0 / (full + GRAVITY_M_S2)  # s²/m, of both halves
    assert found.time_s == pytest.approx(math.sqrt(2.0 * 20.0 * slowness), rel=1e-3)
    assert found.top_speed_m_s == pytest.approx(math.sqrt(2.0 * 20.0 / slowness), rel=0.02)


def test_linear_drag_on_a_straight_line_is_the_closed_form() -> None:
    drag = 0.5  # 1/s
    airframe = with_drag(CPC, linear=drag * CPC.body.mass_kg, quadratic=0.0)
    t = fastest(straight(60.0), airframe, steps_per_leg=32).time_s
    flown = SIDEWAYS / drag * (t - (1.0 - math.exp(-drag * t)) / drag)
    assert flown == pytest.approx(60.0, rel=1e-3)


def test_quadratic_drag_on_a_straight_line_is_the_closed_form() -> None:
    drag = 0.05  # 1/m, against a motion that is equally askew to all axes
    airframe = with_drag(CPC, linear=0.0, quadratic=drag * math.sqrt(3.0) * CPC.body.mass_kg)
    assert PointMass.of(airframe).quadratic_drag == pytest.approx(drag)
    t = fastest(straight(60.0), airframe, steps_per_leg=32).time_s
    flown = math.log(math.cosh(math.sqrt(SIDEWAYS * drag) * t)) / drag
    assert flown == pytest.approx(60.0, rel=1e-3)


def test_a_point_has_the_least_drag_of_its_airframe() -> None:
    x500 = load_airframe("x500")
    assert PointMass.of(x500).linear_drag == pytest.approx(1.756 / 2.0)
    flat = dataclasses.replace(x500, drag=dataclasses.replace(x500.drag, quadratic_x=1.0))
    assert PointMass.of(flat).quadratic_drag == 0.0  # along z it has none


@pytest.mark.parametrize("flying", [False, True], ids=["from rest", "flying"])
def test_more_thrust_is_faster(flying: bool) -> None:
    track, x500 = load_track("toledo"), load_airframe("x500")
    stronger = dataclasses.replace(
        x500,
        rotors=dataclasses.replace(x500.rotors, thrust_coefficient=1e-5),  # by 17 %
    )
    slow = fastest(track, x500, flying=flying, steps_per_leg=8).time_s
    assert fastest(track, stronger, flying=flying, steps_per_leg=8).time_s < 0.96 * slow


def test_a_larger_opening_is_faster() -> None:
    track = load_track("split_s")
    wider = tuple(dataclasses.replace(gate, size=1.2) for gate in track.gates)
    narrow = fastest(track, CPC, flying=True, steps_per_leg=8).time_s
    wide = fastest(dataclasses.replace(track, gates=wider), CPC, flying=True, steps_per_leg=8)
    assert wide.time_s < narrow - 0.1


def test_a_mirrored_course_is_flown_the_mirrored_way() -> None:
    track, airframe = load_track("toledo"), load_airframe("x500")
    mirror = np.array([1.0, -1.0, 1.0])
    mirrored = dataclasses.replace(
        track,
        gates=tuple(
            dataclasses.replace(gate, position=mirror * gate.position, yaw=-gate.yaw)
            for gate in track.gates
        ),
        start_position=mirror * track.start_position,
        bounds_min=np.array([track.bounds_min[0], -track.bounds_max[1], track.bounds_min[2]]),
        bounds_max=np.array([track.bounds_max[0], -track.bounds_min[1], track.bounds_max[2]]),
    )
    one = fastest(track, airframe, steps_per_leg=8)
    other = fastest(mirrored, airframe, steps_per_leg=8)
    assert other.time_s == pytest.approx(one.time_s, abs=1e-6)
    assert other.position == pytest.approx(mirror * one.position, abs=1e-3)


def test_finer_steps_converge_from_above_with_the_square_of_the_step() -> None:
    track = load_track("split_s")
    times = [fastest(track, CPC, flying=True, steps_per_leg=n).time_s for n in (8, 16, 32)]
    coarse, fine = times[0] - times[1], times[1] - times[2]
    assert 3.0 < coarse / fine < 5.0
    assert 0.0 < fine < 0.0005 * times[2]


def test_the_same_question_has_the_same_answer_to_the_last_bit() -> None:
    track = load_track("lsy_level0")
    one, other = (fastest(track, load_airframe("cf21b"), steps_per_leg=8) for _ in range(2))
    assert np.array_equal(one.position, other.position)
    assert np.array_equal(one.time, other.time)


def test_other_first_guesses_lead_to_the_same_flight(monkeypatch: pytest.MonkeyPatch) -> None:
    track = load_track("split_s")
    usual = fastest(track, CPC, flying=True, steps_per_leg=8)
    rng = np.random.default_rng(1)

    def elsewhere(flight: Flight, point: PointMass, layout: Layout) -> FloatArray:
        x = make_guess(flight, point, layout)
        x[layout.position] += rng.normal(0.0, 0.5, (len(layout.position), 3))
        x[layout.step] *= rng.uniform(0.6, 1.5, len(layout.step))
        return x

    monkeypatch.setattr(plan, "make_guess", elsewhere)
    for _ in range(3):
        found = fastest(track, CPC, flying=True, steps_per_leg=8)
        assert found.time_s == pytest.approx(usual.time_s, abs=1e-6)
        assert found.position == pytest.approx(usual.position, abs=1e-3)


def random_courses(seed: int, count: int) -> Iterator[tuple[Track, Airframe, dict[str, int]]]:
    """Gates anywhere in a hall of 30 m, from rest or flying, with all airframes in turn."""
    rng = np.random.default_rng(seed)
    airframes = [load_airframe(name) for name in ("x500", "cpc", "kolibri", "cf21b")]
    for index in range(count):
        gates, size = int(rng.integers(1, 9)), rng.uniform(0.8, 2.0)
        places = [
            Gate(
                np.array([*rng.uniform(-12.0, 12.0, 2), rng.uniform(1.2, 6.0)]),
                *(rng.uniform(-math.pi, math.pi), rng.uniform(-0.6, 0.6), size, 0.1),
                shape="round" if rng.integers(2) else "square",
            )
            for _ in range(gates)
        ]
        flying = bool(rng.integers(2)) and gates > 1
        laps = int(rng.integers(1, 3)) if gates > 1 else 1
        hall = dataclasses.replace(
            course(*places),
            start_position=np.array([0.0, 0.0, 2.0]),
            bounds_min=np.array([-15.0, -15.0, 0.0]),
            bounds_max=np.array([15.0, 15.0, 9.0]),
        )
        yield hall, airframes[index % 4], {"laps": laps, "flying": flying}


@pytest.mark.parametrize(
    ("seed", "chosen"),
    [(0, (34, 105)), (1, (83,)), (7, range(12))],
    ids=["two that stalled", "one that stalled", "twelve more"],
)
def test_any_course_has_a_reference(seed: int, chosen: Sequence[int]) -> None:
    """Some stalled where the thrust reverses, before the line search stopped at a sixteenth."""
    for index, (track, airframe, how) in enumerate(random_courses(seed, max(chosen) + 1)):
        if index in chosen:
            found = fastest(track, airframe, **how, steps_per_leg=12)
            assert 0.1 < found.time_s < 60.0


def below_by(published_s: float, found: Reference) -> float:
    """Share of the published optimum by which a point mass is faster."""
    return 1.0 - found.time_s / published_s


def test_a_flying_lap_of_the_split_s_is_the_published_optimum() -> None:
    found = fastest(load_track("split_s"), CPC, flying=True)
    assert -0.003 < below_by(6.14, found) < 0.003  # 6.13 s to 6.15 s
    assert found.top_speed_m_s == pytest.approx(20.1, abs=0.1)


@pytest.mark.parametrize(("gates", "published_s"), [(3, 3.546), (8, 7.517), (19, 17.56)])
def test_flights_from_rest_are_the_published_optima_where_their_end_is_a_waypoint(
    gates: int, published_s: float
) -> None:
    """The source's file ends every flight at gate 6 and keeps 0.5 m off the ground."""
    track = load_track("split_s")
    end = dataclasses.replace(track.gates[5], yaw=math.radians(145.0 if gates < 19 else 70.0))
    flown = [track.gates[index % 7] for index in range(gates)]
    low = track.bounds_min + np.array([0.0, 0.0, 0.5])
    flight = dataclasses.replace(track, gates=(*flown, end), bounds_min=low, laps=1)
    assert 0.0 < below_by(published_s, fastest(flight, CPC, steps_per_leg=16)) < 0.02


@pytest.mark.parametrize(
    ("track", "vehicle", "arguments", "words"),
    [
        (straight(5.0), "cpc", {"flying": True}, "add a gate"),
        (straight(5.0), "cpc", {"laps": 2}, "add a gate"),
        (straight(5.0), "cpc", {"laps": 0}, "from 1 to 20"),
        (straight(5.0), "x500", {}, "lets no airframe through"),
    ],
)
def test_what_has_no_reference_is_refused(
    track: Track, vehicle: str, arguments: dict[str, int], words: str
) -> None:
    with pytest.raises(InvalidInputError, match=words):
        fastest(track, load_airframe(vehicle), **arguments)
