"""Gusts against MIL-F-8785C: their strength, memory and spectrum."""

from __future__ import annotations

import math

import numpy as np
import pytest

from racer.sim.wind import FEET_PER_M, GustModel, dryden

DT = 0.01
HEIGHT_M, WIND, SPEED = 6.096, 8.0, 10.0  # 20 ft
PASSING = WIND + 0.5 * SPEED


def gusts(model: GustModel, *, seed: int = 0, steps: int = 60_000, tracks: int = 16) -> np.ndarray:
    """(2, steps, tracks): horizontal and vertical gusts after the filters have settled."""
    rng = np.random.default_rng(seed)
    noise = rng.normal(size=(2, steps + 2000, tracks))
    keep = np.array([model.keep_horizontal, model.keep_vertical], float)[:, None]
    drive = np.array([model.drive_horizontal, model.drive_vertical], float)[:, None]
    now, found = np.zeros((2, tracks)), np.empty_like(noise)
    for step in range(noise.shape[1]):
        now = keep * now + drive * noise[:, step]
        found[:, step] = now
    return found[:, 2000:]


@pytest.fixture(scope="module")
def flown() -> np.ndarray:
    return gusts(dryden(wind_speed_m_s=WIND, height_m=HEIGHT_M, vehicle_speed_m_s=SPEED, dt=DT))


def standard() -> tuple[list[float], list[float]]:
    """(σ m/s, L m) of horizontal and vertical turbulence, from the standard's own formulas."""
    feet = HEIGHT_M * FEET_PER_M
    shape = 0.177 + 0.000823 * feet
    vertical = 0.1 * WIND
    return [vertical / shape**0.4, vertical], [feet / shape**1.2 / FEET_PER_M, HEIGHT_M]


def test_gusts_have_the_standards_variance(flown: np.ndarray) -> None:
    sigma, _ = standard()
    assert sigma == pytest.approx([1.543, 0.8], abs=0.001)
    model = dryden(wind_speed_m_s=WIND, height_m=HEIGHT_M, vehicle_speed_m_s=SPEED, dt=DT)
    assert (model.deviation_horizontal, model.deviation_vertical) == pytest.approx(sigma)
    assert flown.std(axis=(1, 2)) == pytest.approx(sigma, rel=0.04)
    assert np.abs(flown.mean(axis=(1, 2))).max() < 0.08


def test_gusts_forget_over_the_standards_length(flown: np.ndarray) -> None:
    """The longitudinal Dryden correlation: exp(−V t / L)."""
    _, lengths = standard()
    for track, length in zip(flown, lengths, strict=True):
        for seconds in (0.1, 0.5, 1.0):
            lag = round(seconds / DT)
            found = np.mean(track[:-lag] * track[lag:]) / np.mean(track**2)
            assert found == pytest.approx(math.exp(-PASSING * seconds / length), abs=0.05)


def test_gusts_have_drydens_spectrum(flown: np.ndarray) -> None:
    """Φ(f) = σ² (2L/V) · 2 / (1 + (2π f L/V)²), one-sided, per Hz: Welch's estimate within 15 %."""
    sigma, lengths = standard()
    size = 4096
    window = np.hanning(size)
    for track, strength, length in zip(flown, sigma, lengths, strict=True):
        pieces = track[: len(track) // size * size].reshape(-1, size, track.shape[1])
        bins = np.abs(np.fft.rfft(pieces * window[None, :, None], axis=1)) ** 2
        density = 2.0 * DT * bins.mean(axis=(0, 2)) / np.sum(window**2)
        frequencies = np.fft.rfftfreq(size, DT)
        for low, high in ((0.1, 0.3), (0.5, 1.0), (2.0, 4.0)):
            band = (frequencies >= low) & (frequencies < high)
            lag = length / PASSING
            dryden_band = (
                strength**2 * 4.0 * lag / (1.0 + (2.0 * math.pi * frequencies[band] * lag) ** 2)
            )
            assert density[band].mean() == pytest.approx(dryden_band.mean(), rel=0.15)


@pytest.mark.parametrize(("height", "same_as"), [(0.5, 3.048), (1000.0, 304.8)])
def test_the_model_ends_at_10_and_at_1000_feet(height: float, same_as: float) -> None:
    models = [
        dryden(wind_speed_m_s=WIND, height_m=metres, vehicle_speed_m_s=SPEED, dt=DT)
        for metres in (height, same_as)
    ]
    assert models[0] == pytest.approx(models[1], rel=1e-4)


def test_no_wind_has_no_gusts() -> None:
    model = dryden(wind_speed_m_s=0.0, height_m=3.0, vehicle_speed_m_s=8.0, dt=DT)
    assert model.drive_horizontal == model.drive_vertical == 0.0
