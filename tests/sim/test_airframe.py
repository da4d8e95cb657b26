"""Airframes: the shipped one is the X500, and wrong files are refused by key."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

import racer.sim.airframe
from racer.errors import InvalidInputError, NotFoundError
from racer.sim.airframe import load_airframe, parse_airframe


@pytest.fixture
def table() -> dict[str, Any]:
    path = Path(racer.sim.airframe.__file__).parent / "airframes" / "x500.toml"
    return tomllib.loads(path.read_text())


def test_the_x500_is_the_vehicle_px4_flies() -> None:
    x500 = load_airframe("x500")
    assert x500.body.mass_kg == 2.0
    assert x500.hover_thrust == pytest.approx(0.497, abs=0.001)
    assert 1.0 / x500.hover_thrust == pytest.approx(2.0, abs=0.05)  # thrust to weight
    diagonal = 2.0 * (x500.rotors.arm_x_m**2 + x500.rotors.arm_y_m**2) ** 0.5
    assert diagonal == pytest.approx(0.5, abs=0.001)
    assert hash(x500) == hash(load_airframe("x500"))


@pytest.mark.parametrize(
    ("section", "key", "value", "named"),
    [
        ("body", "mass_kg", 0.0, "'body.mass_kg'"),
        ("body", "mass_kg", "heavy", "'body.mass_kg'"),
        ("body", "mass_kg", 9.0, "cannot carry"),
        ("rotors", "time_constant_s", 0.0, "'rotors.time_constant_s'"),
        ("rotors", "blades", 3, "'rotors.blades'"),
        ("drag", "linear_x", float("nan"), "'drag.linear_x'"),
        ("control", "rate_p_z", -1.0, "'control.rate_p_z'"),
    ],
)
def test_a_wrong_airframe_is_refused_by_name(
    table: dict[str, Any], section: str, key: str, value: object, named: str
) -> None:
    table[section][key] = value
    with pytest.raises(InvalidInputError, match=re.escape(named)):
        parse_airframe(table)


def test_a_delay_and_a_battery_are_optional_and_checked(table: dict[str, Any]) -> None:
    plain = parse_airframe(table)
    assert (plain.command_delay_s, plain.battery) == (0.0, None)
    battery = {
        "capacity_ah": 5.0,
        "voltage_full_v": 16.8,
        "voltage_empty_v": 13.2,
        "resistance_ohm": 0.02,
        "current_full_a": 80.0,
    }
    full = parse_airframe({**table, "command_delay_s": 0.02, "battery": battery})
    assert full.command_delay_s == 0.02
    assert full.battery is not None
    assert full.battery.current_full_a == 80.0
    assert hash(full) != hash(plain)
    for key, value, named in [
        ("voltage_empty_v", 17.0, "'battery.voltage_full_v'"),
        ("resistance_ohm", 1.0, "'battery.resistance_ohm'"),
        ("capacity_ah", 0.0, "'battery.capacity_ah'"),
        ("cells", 4, "'battery.cells'"),
    ]:
        with pytest.raises(InvalidInputError, match=re.escape(named)):
            parse_airframe({**table, "battery": {**battery, key: value}})
    for delay in (-0.01, 1.0, "soon", True):
        with pytest.raises(InvalidInputError, match="command_delay_s"):
            parse_airframe({**table, "command_delay_s": delay})


def test_a_missing_table_and_a_missing_file_are_told(table: dict[str, Any]) -> None:
    del table["drag"]
    with pytest.raises(InvalidInputError, match=re.escape("[drag]")):
        parse_airframe(table)
    with pytest.raises(NotFoundError, match="x500"):
        load_airframe("zeppelin")
