"""Free flight by its invariants: what physics keeps, the simulation keeps."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from racer.geometry.rotation import rotate
from racer.sim.airframe import GRAVITY_M_S2, Airframe, Drag, load_airframe
from racer.sim.dynamics import (
    ROTOR_SPIN,
    Integrator,
    Scale,
    State,
    forces_and_torques,
    inertia,
    rest_state,
    step,
)

_PLAIN = load_airframe("x500")
X500 = dataclasses.replace(  # with the inertia of its real propellers, which its file leaves out
    _PLAIN, rotors=dataclasses.replace(_PLAIN.rotors, inertia_kg_m2=5.0e-5)
)
CALM = tuple(jnp.float32(0.0) for _ in range(3))
DT = 0.005


def smooth(airframe: Airframe) -> Airframe:
    """The same vehicle in a vacuum that still carries its rotors' thrust."""
    return dataclasses.replace(
        airframe,
        drag=Drag(0.0, 0.0, 0.0, 0.0, 0.0, 0.0),
        rotors=dataclasses.replace(airframe.rotors, drag_coefficient=0.0),
    )


def command(*shares: float) -> tuple[jax.Array, ...]:
    return tuple(jnp.float32(share) for share in shares)


def fly(
    state: State,
    rotors: tuple[jax.Array, ...],
    seconds: float,
    *,
    airframe: Airframe = X500,
    dt: float = DT,
    wind: tuple[jax.Array, ...] = CALM,
    integrator: Integrator = "rk4",
) -> State:
    advance: Callable[..., Any] = partial(step, airframe=airframe, dt=dt, integrator=integrator)

    @jax.jit
    def run(state: State) -> State:
        def once(state: State, _: None) -> tuple[State, None]:
            return advance(state, rotors, wind), None

        return jax.lax.scan(once, state, None, length=round(seconds / dt))[0]

    return run(state)


def tumbling(airframe: Airframe = X500, *, rotors: float = 0.0) -> State:
    state = rest_state(airframe, position=(0.0, 0.0, 100.0))
    quaternion = np.array([0.8, 0.3, -0.4, 0.33])
    quaternion /= np.linalg.norm(quaternion)
    numbers = (3.0, -2.0, 1.0, *quaternion, 4.0, -3.0, 2.0, *(rotors,) * 4)
    return State(*state.position, *(jnp.float32(number) for number in numbers))


def angular_momentum(state: State, airframe: Airframe) -> np.ndarray[Any, Any]:
    """In the world frame, rotors included, kg m²/s."""
    jx, jy, jz = inertia(airframe)
    spin = sum(s * r for s, r in zip(ROTOR_SPIN, state.rotors, strict=True))
    body = (jx * state.wx, jy * state.wy, jz * state.wz + airframe.rotors.inertia_kg_m2 * spin)
    return np.array(rotate(state.attitude, body))


def energy(state: State, airframe: Airframe) -> float:
    jx, jy, jz = inertia(airframe)
    moving = 0.5 * airframe.body.mass_kg * sum(float(v) ** 2 for v in state.velocity)
    turning = 0.5 * (jx * state.wx**2 + jy * state.wy**2 + jz * state.wz**2)
    return float(moving + turning + airframe.body.mass_kg * GRAVITY_M_S2 * state.pz)


@pytest.mark.parametrize(("integrator", "kept"), [("rk4", 3e-4), ("midpoint", 2e-3)])
def test_a_tumbling_vehicle_without_air_keeps_energy_and_momentum(
    integrator: Integrator, kept: float
) -> None:
    vehicle = smooth(X500)
    start = tumbling(vehicle)
    end = fly(start, command(0.0, 0.0, 0.0, 0.0), 2.0, airframe=vehicle, integrator=integrator)
    assert energy(end, vehicle) == pytest.approx(energy(start, vehicle), rel=2e-5)
    assert angular_momentum(end, vehicle) == pytest.approx(
        angular_momentum(start, vehicle), abs=kept
    )
    assert float(end.vx) == pytest.approx(3.0, abs=1e-4)
    assert float(end.vz) == pytest.approx(1.0 - 2.0 * GRAVITY_M_S2, abs=1e-3)
    assert float(end.pz) == pytest.approx(100.0 + 2.0 - 2.0 * GRAVITY_M_S2, abs=2e-3)


def test_spinning_up_rotors_turns_the_body_the_other_way() -> None:
    """Motors are inside the vehicle: without air they only exchange angular momentum."""
    rotors = dataclasses.replace(
        smooth(X500).rotors, thrust_coefficient=1e-12, torque_per_thrust_m=0.0
    )
    vehicle = dataclasses.replace(smooth(X500), rotors=rotors)
    still = rest_state(vehicle, position=(0.0, 0.0, 100.0))
    end = fly(still, command(0.5, 0.5, 0.0, 0.0), 0.5, airframe=vehicle)
    spin = float(sum(s * r for s, r in zip(ROTOR_SPIN, end.rotors, strict=True)))
    assert spin > 1000.0  # 0 and 1 turn counter-clockwise ...
    assert float(end.wz) < -1.0  # ... so the body turns clockwise
    assert angular_momentum(end, vehicle) == pytest.approx((0.0, 0.0, 0.0), abs=1e-4)


def test_the_gyroscopic_torque_has_the_right_sign_and_no_power() -> None:
    """w × h: rotors of one sense, pitching, roll the body; w · (w × h) = 0."""
    hover = float(rest_state(X500, hovering=True).r0)
    rates = (1.3, -0.7, 0.4)
    for speeds in [(hover, hover, 0.0, 0.0), (300.0, 700.0, 200.0, 0.0)]:
        turning, still = (
            forces_and_torques(
                (*(jnp.float32(0),) * 6, *command(1, 0, 0, 0), *command(*w)),
                command(*speeds),
                command(*speeds),
                CALM,
                airframe=X500,
            )[1]
            for w in (rates, (0.0, 0.0, 0.0))
        )
        torque = [float(a - b) for a, b in zip(turning, still, strict=True)]
        assert np.dot(torque, rates) == pytest.approx(0.0, abs=1e-6)
        spin = np.array([0.0, 0.0, np.dot(ROTOR_SPIN, speeds) * X500.rotors.inertia_kg_m2])
        assert torque == pytest.approx(-np.cross(rates, spin), abs=1e-6)


@pytest.mark.parametrize(
    ("stronger", "roll", "pitch", "yaw"),
    [
        ((2, 1), 1, 0, 0),  # left rotors up: right side down
        ((1, 3), 0, 1, 0),  # rear rotors up: nose down
        ((2, 3), 0, 0, 1),  # clockwise rotors faster: nose left
    ],
)
def test_rotors_turn_the_body_the_way_px4_expects(
    stronger: tuple[int, int], roll: int, pitch: int, yaw: int
) -> None:
    shares = [0.55 if rotor in stronger else 0.45 for rotor in range(4)]
    end = fly(rest_state(X500, hovering=True), command(*shares), 0.2)
    signs = [int(np.sign(round(float(rate), 3))) for rate in end.rates]
    assert signs == [roll, pitch, yaw]


def test_left_and_right_are_mirror_images() -> None:
    """Mirroring the xz-plane swaps rotors 0 with 2 and 1 with 3 and flips y, roll and yaw."""
    state = tumbling(rotors=500.0)
    there = fly(state, command(0.3, 0.6, 0.5, 0.4), 0.5)
    flip = {"py": -1, "vy": -1, "qx": -1, "qz": -1, "wx": -1, "wz": -1}
    mirrored = state._replace(**{key: -getattr(state, key) for key in flip})
    here = fly(mirrored, command(0.5, 0.4, 0.3, 0.6), 0.5)
    for field in State._fields[:13]:
        expected = flip.get(field, 1) * float(getattr(there, field))
        assert float(getattr(here, field)) == pytest.approx(expected, rel=1e-3, abs=1e-3)


def test_a_batch_is_a_loop_and_repeats_bit_for_bit() -> None:
    rng = np.random.default_rng(5)
    spread = rng.normal(0.0, 0.3, (17, 8)).astype(np.float32)
    batch = State(*(field + spread[i] for i, field in enumerate(tumbling(rotors=700.0))))
    rotors = tuple(jnp.asarray(rng.uniform(0.2, 0.8, 8), jnp.float32) for _ in range(4))
    together = fly(batch, rotors, 0.25)
    again = fly(batch, rotors, 0.25)
    for one, other in zip(together, again, strict=True):
        assert np.array_equal(one, other)
    for index in range(8):
        single = State(*(field[index] for field in batch))
        alone = fly(single, tuple(rotor[index] for rotor in rotors), 0.25)
        for one, other in zip(together, alone, strict=True):
            assert float(one[index]) == pytest.approx(float(other), rel=1e-4, abs=1e-4)


@pytest.mark.parametrize(("integrator", "least", "most"), [("rk4", 12, 22), ("midpoint", 3.4, 4.6)])
def test_refining_the_step_converges_at_its_order(
    integrator: Integrator, least: float, most: float
) -> None:
    """Halving the step divides the error by 2⁴ = 16, or by 2² = 4."""
    with jax.enable_x64(True):
        start = State(*(jnp.asarray(np.float64(field)) for field in tumbling(rotors=600.0)))
        rotors = tuple(jnp.float64(share) for share in (0.3, 0.6, 0.5, 0.4))
        calm = tuple(jnp.float64(0.0) for _ in range(3))
        ends = {
            dt: np.array(fly(start, rotors, 0.64, dt=dt, wind=calm, integrator=integrator))
            for dt in (0.04, 0.02, 0.0025)
        }
    coarse, fine = (np.linalg.norm((ends[dt] - ends[0.0025])[:13]) for dt in (0.04, 0.02))
    assert least < coarse / fine < most


@pytest.mark.parametrize("integrator", ["rk4", "midpoint"])
def test_a_vehicle_of_other_mass_inertia_and_thrust_is_another_airframe(
    integrator: Integrator,
) -> None:
    """Factors do what the airframe's own numbers do."""
    body, rotors = X500.body, X500.rotors
    other = dataclasses.replace(
        X500,
        body=dataclasses.replace(
            body,
            mass_kg=1.1 * body.mass_kg,
            inertia_x_kg_m2=0.8 * body.inertia_x_kg_m2,
            inertia_y_kg_m2=0.8 * body.inertia_y_kg_m2,
            inertia_z_kg_m2=0.8 * body.inertia_z_kg_m2,
        ),
        rotors=dataclasses.replace(rotors, thrust_coefficient=1.2 * rotors.thrust_coefficient),
    )
    start, shares = tumbling(rotors=600.0), command(0.3, 0.6, 0.5, 0.4)
    wind = command(3.0, -2.0, 1.0)
    scaled, built = (
        step(start, shares, wind, airframe=airframe, dt=0.02, integrator=integrator, scale=scale)
        for airframe, scale in ((X500, Scale(1.1, 0.8, 1.2)), (other, Scale()))
    )
    assert np.array(scaled) == pytest.approx(np.array(built), rel=1e-5, abs=1e-5)


@pytest.mark.parametrize("integrator", ["rk4", "midpoint"])
def test_hover_thrust_hovers(integrator: Integrator) -> None:
    share = X500.hover_thrust
    assert share == pytest.approx(0.497, abs=0.01)
    still = rest_state(X500, position=(0.0, 0.0, 5.0), hovering=True)
    end = fly(still, command(*(share,) * 4), 5, integrator=integrator)
    assert float(end.pz) == pytest.approx(5.0, abs=0.01)
    assert [float(v) for v in end.velocity] == pytest.approx((0.0, 0.0, 0.0), abs=0.01)


@pytest.mark.parametrize("integrator", ["rk4", "midpoint"])
def test_a_fall_ends_at_terminal_velocity(integrator: Integrator) -> None:
    drag, weight = X500.drag, X500.body.mass_kg * GRAVITY_M_S2
    root = np.sqrt(drag.linear_z**2 + 4.0 * drag.quadratic_z * weight)
    terminal = 2.0 * weight / (root + drag.linear_z)  # also without a quadratic part
    high = rest_state(X500, position=(0.0, 0.0, 1000.0))
    end = fly(high, command(0.0, 0.0, 0.0, 0.0), 20.0, integrator=integrator)
    assert float(end.vz) == pytest.approx(-terminal, rel=1e-3)


def test_only_motion_relative_to_the_air_is_felt() -> None:
    still = rest_state(X500, position=(0.0, 0.0, 50.0), hovering=True)
    drifting = still._replace(vx=jnp.float32(4.0))
    share = command(*(X500.hover_thrust,) * 4)
    in_wind = fly(drifting, share, 1.0, wind=tuple(jnp.float32(v) for v in (4.0, 0.0, 0.0)))
    assert float(in_wind.vx) == pytest.approx(4.0, abs=1e-3)
    pushed = fly(still, share, 1.0, wind=tuple(jnp.float32(v) for v in (4.0, 0.0, 0.0)))
    assert float(pushed.vx) > 0.3


def test_the_two_integrators_fly_alike() -> None:
    """Two seconds of hard manoeuvring at 2.5 ms: millimetres apart."""
    state, rotors = tumbling(rotors=600.0), command(0.3, 0.5, 0.6, 0.4)
    ends = [
        fly(state, rotors, 1.0, dt=0.0025, integrator=integrator)
        for integrator in ("rk4", "midpoint")
    ]
    apart = np.array(ends[0].position) - np.array(ends[1].position)
    assert np.abs(apart).max() < 0.005


@pytest.mark.parametrize("axial", [{}, {"quadratic_z": 0.3}, {"linear_z": 0.0}])
def test_drag_that_is_almost_the_same_all_round_is_felt_as_if_it_were(
    axial: dict[str, float],
) -> None:
    """Drag that is the same in the rotors' plane has a shorter way to be computed."""
    drag = dataclasses.replace(X500.drag, **axial)
    ends = []
    for more in (0.0, 1e-6):
        uneven = dataclasses.replace(drag, linear_y=drag.linear_y + more)
        airframe = dataclasses.replace(X500, drag=uneven)
        gale = command(8.0, -3.0, 1.0)
        state, rotors = tumbling(rotors=600.0), command(0.3, 0.5, 0.6, 0.4)
        ends.append(fly(state, rotors, 1.0, airframe=airframe, wind=gale, integrator="midpoint"))
    assert float(ends[0].vx) > 4.0
    assert np.array(ends[0].velocity) == pytest.approx(np.array(ends[1].velocity), abs=2e-4)
    assert np.array(ends[0].position) == pytest.approx(np.array(ends[1].position), abs=2e-4)


@pytest.mark.parametrize("integrator", ["rk4", "midpoint"])
def test_a_step_can_be_differentiated_in_every_attitude(integrator: Integrator) -> None:
    """At rest and hovering, tilted by 90°, upside down, falling; also with stopped rotors."""
    half = np.sqrt(0.5)
    attitudes = np.array([[1, 0, 0, 0], [half, half, 0, 0], [0, 1, 0, 0], [1, 0, 0, 0]], np.float32)
    state = rest_state(X500, shape=(4,), hovering=True)
    state = state._replace(
        **{f"q{axis}": jnp.asarray(attitudes[:, i]) for i, axis in enumerate("wxyz")},
        vz=jnp.float32([0, 0, 0, -9]),
        r0=state.r0 * jnp.float32([1, 1, 1, 0]),
    )

    @jax.jit
    def sensitivity(state: State, share: jax.Array) -> Any:
        def height_and_turn(state: State, share: jax.Array) -> jax.Array:
            after = step(state, (share,) * 4, CALM, airframe=X500, dt=DT, integrator=integrator)
            return sum(jnp.sum(field) for field in after)

        return jax.grad(height_and_turn, argnums=(0, 1))(state, share)

    for share in (0.5, 0.0, 1.0):
        slopes = jax.tree.leaves(sensitivity(state, jnp.full(4, share)))
        assert all(np.all(np.isfinite(slope)) for slope in slopes)


def test_a_body_that_turns_whole_turns_within_a_step_keeps_an_attitude() -> None:
    """No such vehicle flies, but a number that grows without end would spoil a whole batch."""
    spin = jnp.array([500.0, 2000.0, 5000.0])
    start = tumbling()
    start = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, spin.shape), start)._replace(wx=spin)
    off = tuple(jnp.zeros(spin.shape) for _ in range(4))
    end = fly(start, off, 0.5, dt=2.5e-3, integrator="midpoint")
    assert all(np.all(np.isfinite(field)) for field in end)
    length = np.sqrt(sum(np.square(part) for part in end.attitude))
    assert length == pytest.approx(np.ones(3), abs=1e-5)
