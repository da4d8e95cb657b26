"""Gusts against MIL-F-8785C: their strength, memory, spectrum and axes."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from racer.sim.wind import FEET_PER_M, Gusts, advance, blowing, dryden, settled, speeds

DT = 0.01
HEIGHT_M, WIND, SPEED = 6.096, 8.0, 10.0  # 20 ft
PASSING = WIND + 0.5 * SPEED
MODEL = dryden(wind_speed_m_s=WIND, height_m=HEIGHT_M, vehicle_speed_m_s=SPEED, dt=DT)
AXES = ("along", "across", "up")


@pytest.fixture(scope="module")
def flown() -> dict[str, np.ndarray]:
    """(steps, tracks) a gust axis, m/s; the filters are settled when they begin."""
    steps, tracks = 60_000, 16
    start_key, key = jax.random.split(jax.random.key(0))
    noise = jax.random.normal(key, (steps, tracks, 3))

    def step(gusts: Gusts, n: jax.Array) -> tuple[Gusts, tuple[jax.Array, ...]]:
        return advance(MODEL, gusts, n), speeds(MODEL, gusts)

    start = settled(MODEL, jax.random.normal(start_key, (5, tracks)))
    _, found = jax.jit(lambda s, n: jax.lax.scan(step, s, n))(start, noise)
    return dict(zip(AXES, map(np.asarray, found), strict=True))


def standard() -> dict[str, tuple[float, float]]:
    """(σ m/s, L m) of each axis, from the standard's own formulas."""
    feet = HEIGHT_M * FEET_PER_M
    shape = 0.177 + 0.000823 * feet
    vertical = 0.1 * WIND
    horizontal = vertical / shape**0.4, feet / shape**1.2 / FEET_PER_M
    return {"along": horizontal, "across": horizontal, "up": (vertical, HEIGHT_M)}


def density(axis: str, frequency_hz: np.ndarray) -> np.ndarray:
    """Dryden's one-sided spectrum, m²/s² per Hz: 4π times the standard's two-sided Φ(ω)."""
    sigma, length = standard()[axis]
    lag = length / PASSING
    x = (2.0 * math.pi * frequency_hz * lag) ** 2
    if axis == "along":
        return sigma**2 * 4.0 * lag / (1.0 + x)
    return sigma**2 * 2.0 * lag * (1.0 + 3.0 * x) / (1.0 + x) ** 2


@pytest.mark.parametrize("axis", AXES)
def test_gusts_have_the_standards_variance(flown: dict[str, np.ndarray], axis: str) -> None:
    sigma, _ = standard()[axis]
    assert sigma == pytest.approx({"up": 0.8}.get(axis, 1.543), abs=0.001)
    assert flown[axis].std() == pytest.approx(sigma, rel=0.04)
    assert abs(flown[axis].mean()) < 0.08


@pytest.mark.parametrize("axis", AXES)
def test_the_standards_spectrum_holds_its_variance(axis: str) -> None:
    """The test's own formula, integrated: it must not be wrong by a factor."""
    frequency = np.geomspace(1e-5, 1e4, 200_000)
    sigma, _ = standard()[axis]
    assert np.trapezoid(density(axis, frequency), frequency) == pytest.approx(sigma**2, rel=0.01)


@pytest.mark.parametrize("axis", AXES)
def test_gusts_forget_over_the_standards_length(flown: dict[str, np.ndarray], axis: str) -> None:
    """Dryden's correlations: f = exp(−V t / L) along the wind, g = f (1 − V t / 2L) otherwise."""
    _, length = standard()[axis]
    track = flown[axis]
    for seconds in (0.1, 0.5, 1.0):
        lag, lengths = round(seconds / DT), PASSING * seconds / length
        found = np.mean(track[:-lag] * track[lag:]) / np.mean(track**2)
        expected = math.exp(-lengths) * (1.0 if axis == "along" else 1.0 - 0.5 * lengths)
        assert found == pytest.approx(expected, abs=0.05)


@pytest.mark.parametrize("axis", AXES)
def test_gusts_have_drydens_spectrum(flown: dict[str, np.ndarray], axis: str) -> None:
    """Welch's estimate within 15 %."""
    size = 4096
    window = np.hanning(size)
    track = flown[axis]
    pieces = track[: len(track) // size * size].reshape(-1, size, track.shape[1])
    bins = np.abs(np.fft.rfft(pieces * window[None, :, None], axis=1)) ** 2
    found = 2.0 * DT * bins.mean(axis=(0, 2)) / np.sum(window**2)
    frequencies = np.fft.rfftfreq(size, DT)
    for low, high in ((0.1, 0.3), (0.5, 1.0), (2.0, 4.0)):
        band = (frequencies >= low) & (frequencies < high)
        expected = density(axis, frequencies[band])
        assert found[band].mean() == pytest.approx(expected.mean(), rel=0.15)


def test_filters_begin_settled() -> None:
    """All five numbers of a start are as spread, and as related, as those of a long run."""
    normal = jax.random.normal(jax.random.key(1), (5, 200_000))
    start = settled(MODEL, normal)
    covariance = np.cov(np.stack(start))
    later = start
    for key in jax.random.split(jax.random.key(2), 300):
        later = advance(MODEL, later, jax.random.normal(key, (200_000, 3)))
    assert np.cov(np.stack(later)) == pytest.approx(covariance, abs=0.01)


def test_along_is_with_the_mean_wind_and_across_is_to_its_left() -> None:
    one, none = jnp.ones(1), jnp.zeros(1)
    still = Gusts(none, none, none, none, none)
    north = (none, 5.0 * one)
    along = blowing(MODEL, still._replace(along=one), north)
    across = blowing(MODEL, still._replace(across=one), north)
    up = blowing(MODEL, still._replace(up=one), north)
    assert np.ravel(along) == pytest.approx([0.0, MODEL.deviation_along, 0.0], abs=1e-6)
    assert np.ravel(across) == pytest.approx([-MODEL.horizontal.fast, 0.0, 0.0], abs=1e-6)
    assert np.ravel(up) == pytest.approx([0.0, 0.0, MODEL.vertical.fast], abs=1e-6)


@pytest.mark.parametrize(("height", "same_as"), [(0.5, 3.048), (1000.0, 304.8)])
def test_the_model_ends_at_10_and_at_1000_feet(height: float, same_as: float) -> None:
    models = [
        dryden(wind_speed_m_s=WIND, height_m=metres, vehicle_speed_m_s=SPEED, dt=DT)
        for metres in (height, same_as)
    ]
    for first, second in zip(*map(jax.tree.leaves, models), strict=True):
        assert first == pytest.approx(second, rel=1e-4)


def test_no_wind_has_no_gusts() -> None:
    model = dryden(wind_speed_m_s=0.0, height_m=3.0, vehicle_speed_m_s=8.0, dt=DT)
    gusts = settled(model, jnp.ones((5, 4)))
    assert not np.any(blowing(model, gusts, (jnp.zeros(4), jnp.zeros(4))))
