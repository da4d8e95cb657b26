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


def test_a_missing_table_and_a_missing_file_are_told(table: dict[str, Any]) -> None:
    del table["drag"]
    with pytest.raises(InvalidInputError, match=re.escape("[drag]")):
        parse_airframe(table)
    with pytest.raises(NotFoundError, match="x500"):
        load_airframe("zeppelin")
