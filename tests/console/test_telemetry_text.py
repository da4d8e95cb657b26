"""What a person reads for what the vehicle sent."""

from __future__ import annotations

import math
from typing import Any

import pytest

from racer.console.telemetry_text import LABELS, NOTHING, readings

FLYING: dict[str, Any] = {
    "age_s": 0.034,
    "connected": True,
    "armed": True,
    "in_air": True,
    "flight_mode": "OFFBOARD",
    "phase": "offboard",
    "position": [1.0, -2.0, 2.504],
    "velocity": [1.2, -1.6, 0.0],
    "heading_deg": 359.7,
    "battery": {"voltage_v": 15.9, "remaining": 0.874},
}


def _shown(**changes: Any) -> dict[str, str]:
    return {name: gauge.value for name, gauge in readings(FLYING | changes).gauges.items()}


def test_a_flying_vehicle_reads_in_words_and_units() -> None:
    assert _shown() == {
        "phase": "Flying",
        "mode": "Offboard",
        "armed": "Armed",
        "height": "2.50 m",
        "speed": "2.0 m/s",
        "heading": "000° N",
        "battery": "87 %",
        "age": "34 ms",
    }
    assert readings(FLYING).link == "Vehicle connected"
    assert readings(FLYING).fresh


def test_without_telemetry_every_gauge_is_empty_and_the_link_says_no_vehicle() -> None:
    nothing = readings(None)
    assert (nothing.link, nothing.link_tone, nothing.fresh) == ("No vehicle", "bad", False)
    assert {gauge.value for gauge in nothing.gauges.values()} == {NOTHING}
    assert set(nothing.gauges) == set(LABELS)


def test_old_telemetry_is_lost_telemetry() -> None:
    old = readings(FLYING | {"age_s": 7.4})
    assert (old.link, old.fresh) == ("Telemetry lost", False)
    assert old.gauges["age"].value == "7 s"
    assert old.gauges["age"].tone == "bad"


def test_a_controller_without_its_vehicle_says_no_vehicle() -> None:
    assert readings(FLYING | {"connected": False}).link == "No vehicle"


@pytest.mark.parametrize(
    ("heading_deg", "words"),
    [(0, "000° N"), (44, "044° NE"), (90.4, "090° E"), (180, "180° S"), (337.6, "338° N")],
)
def test_heading_names_the_compass_point(heading_deg: float, words: str) -> None:
    assert _shown(heading_deg=heading_deg)["heading"] == words


def test_a_low_battery_stands_out_and_a_missing_charge_falls_back_to_volts() -> None:
    assert readings(FLYING | {"battery": {"remaining": 0.2}}).gauges["battery"].tone == "bad"
    assert _shown(battery={"voltage_v": 15.84, "remaining": math.nan})["battery"] == "15.8 V"
    assert _shown(battery=None)["battery"] == NOTHING


@pytest.mark.parametrize("broken", [None, "x", [], [1.0], [0.0, 0.0, math.nan], [0, 0, None]])
def test_broken_vectors_show_nothing_instead_of_failing(broken: object) -> None:
    assert _shown(position=broken)["height"] == NOTHING
    if broken != [1.0]:
        assert _shown(velocity=broken)["speed"] == NOTHING


def test_zero_has_no_minus_sign() -> None:
    assert _shown(position=[0.0, 0.0, -0.001])["height"] == "0.00 m"
