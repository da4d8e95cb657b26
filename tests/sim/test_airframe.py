"""Airframes: the shipped one is the X500, and wrong files are refused by key."""

from __future__ import annotations

import dataclasses
import math
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

import racer.sim.airframe
from racer.errors import InvalidInputError, NotFoundError
from racer.sim.airframe import (
    Battery,
    Body,
    Control,
    Drag,
    Rotors,
    load_airframe,
    parse_airframe,
)


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
    ("name", "mass", "thrust_to_weight", "rates"),
    [
        ("cpc", 0.85, 3.3, (15.0, 0.3)),
        ("kolibri", 0.22, 6.49, (10.0, 4.0)),
        ("cf21b", 0.04338, 1.88, (10.0, 3.49)),
    ],
)
def test_public_airframes_are_as_published(
    name: str, mass: float, thrust_to_weight: float, rates: tuple[float, float]
) -> None:
    airframe = load_airframe(name)
    assert airframe.name == name
    assert airframe.body.mass_kg == mass
    assert 1.0 / airframe.hover_thrust == pytest.approx(thrust_to_weight, rel=2e-3)
    control = airframe.control
    found = (math.radians(control.rate_max_xy_deg_s), math.radians(control.rate_max_z_deg_s))
    assert found == pytest.approx(rates, rel=1e-3)


def test_arms_are_along_the_axes() -> None:
    """The benchmark's 0.15 m is a diagonal; the others' are given along x and y."""
    cpc = load_airframe("cpc").rotors
    assert math.hypot(cpc.arm_x_m, cpc.arm_y_m) == pytest.approx(0.15, abs=1e-5)
    assert load_airframe("kolibri").rotors.arm_x_m == 0.041
    assert load_airframe("cf21b").rotors.arm_y_m == 0.035355
    assert load_airframe("kolibri").command_delay_s == 0.02


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
        ("rotors", "max_speed_rad_s", 1e308, "'rotors.max_speed_rad_s'"),
        ("body", "mass_kg", 10**400, "'body.mass_kg'"),
        ("control", "tilt_max_deg", 90.0, "'control.tilt_max_deg'"),  # its tangent
        ("control", "thrust_max", 9.0, "'control.thrust_max'"),
        ("control", "thrust_min", 0.96, "'control.thrust_max' must exceed"),
        ("control", "yaw_torque_filter_hz", 0.0, "'control.yaw_torque_filter_hz'"),
        ("rotors", "thrust_coefficient", 1e-3, "times the weight"),
        ("body", "inertia_y_kg_m2", 1e-5, "'body.inertia_y_kg_m2' is too small"),
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


def test_the_page_names_every_key_and_its_battery_loads(table: dict[str, Any]) -> None:
    page = (Path(__file__).parents[2] / "docs" / "airframes.md").read_text(encoding="utf-8")
    for section in ("body", "rotors"):
        assert all(key in page for key in table[section])
    found = re.search(r"```toml\n(.*?)```", page, re.DOTALL)
    assert found is not None
    airframe = parse_airframe(table | tomllib.loads(found.group(1)))
    assert airframe.battery is not None
    folder = Path(racer.sim.airframe.__file__).parent / "airframes"
    assert all(f"`{file.stem}`" in page for file in folder.glob("*.toml"))


def test_a_missing_table_and_a_missing_file_are_told(table: dict[str, Any]) -> None:
    del table["drag"]
    with pytest.raises(InvalidInputError, match=re.escape("[drag]")):
        parse_airframe(table)
    with pytest.raises(NotFoundError, match="x500"):
        load_airframe("zeppelin")


@pytest.mark.parametrize(
    "text",
    ["[body", f"mass_kg = {'1' * 5000}", f"a = {'[' * 5000}", "#" * 70_000, "name = '\udce4'"],
    ids=["open table", "5,000 digits", "5,000 brackets", "large", "not UTF-8"],
)
def test_a_file_that_is_not_an_airframe_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "mine.toml").write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(InvalidInputError, match=r"airframe file"):
        load_airframe(tmp_path / "mine.toml")


def test_every_number_has_a_range() -> None:
    sections = (Body, Rotors, Drag, Control, Battery)
    keys = {field.name for section in sections for field in dataclasses.fields(section)}
    assert keys == set(racer.sim.airframe._RANGES)
