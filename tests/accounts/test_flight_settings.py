"""What the texts of the drone details mean."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from schemas import ALTITUDE, VELOCITY, WIND, YAW, DroneDetails, FlightSettings, NumberField

DEFAULTS = FlightSettings(
    altitude_m=2.5,
    velocity_limit_m_s=8.0,
    yaw_limit_deg_s=90.0,
    wind_speed_m_s=0.0,
    algorithm="ppo",
    race_type="time-trial",
)


def meaning(**details: object) -> FlightSettings:
    return DroneDetails.model_validate(details).flight_settings()


@pytest.mark.parametrize("nothing", ["", " ", "\t", None])
def test_nothing_typed_means_the_defaults(nothing: str | None) -> None:
    assert meaning() == DEFAULTS
    assert meaning(**dict.fromkeys(DroneDetails.model_fields, nothing)) == DEFAULTS


@pytest.mark.parametrize(
    ("details", "changes"),
    [
        ({"flightAltitude": "10"}, {"altitude_m": 10.0}),
        ({"flightAltitude": " 5 "}, {"altitude_m": 5.0}),
        ({"velocityLimit": "1.5e1"}, {"velocity_limit_m_s": 15.0}),
        ({"velocityLimit": ".5"}, {"velocity_limit_m_s": 0.5}),
        ({"velocityLimit": 7}, {"velocity_limit_m_s": 7.0}),
        ({"yawLimit": "+45."}, {"yaw_limit_deg_s": 45.0}),
        ({"enableWind": "true"}, {"wind_speed_m_s": 3.0}),
        ({"enableWind": True, "windSpeed": "5"}, {"wind_speed_m_s": 5.0}),
        ({"enableWind": "TRUE", "windSpeed": 0}, {"wind_speed_m_s": 0.0}),
        ({"enableWind": "false", "windSpeed": "5"}, {}),
        ({"windSpeed": "5"}, {}),
        ({"algorithm": "SAC"}, {"algorithm": "sac"}),
        ({"algorithm": " apg "}, {"algorithm": "apg"}),
        ({"raceType": " knockout "}, {"race_type": "knockout"}),
        ({"track": " swift\n"}, {"track": "swift", "altitude_m": None}),
        ({"track": "swift", "flightAltitude": " "}, {"track": "swift", "altitude_m": None}),
        ({"track": "swift", "flightAltitude": 5}, {"track": "swift", "altitude_m": 5.0}),
    ],
)
def test_what_was_typed_counts(details: dict[str, object], changes: dict[str, object]) -> None:
    assert meaning(**details) == replace(DEFAULTS, **changes)


@pytest.mark.parametrize("field", [ALTITUDE, VELOCITY, YAW, WIND])
@pytest.mark.parametrize(
    "value",
    ["fast", "-3", -3, "1e99", 1e99, "nan", "inf", "-inf", math.nan, math.inf, 10**400, "1e999",
     "５", "٣", "1_0", "0x5", "5,5", "5 5", "5m/s", "--5", "5" * 33, "1" * 10_000, "\0",
     True, False, [], {}, [5], b"5"],
)  # fmt: skip
def test_nonsense_is_refused_with_the_range(field: NumberField, value: object) -> None:
    with pytest.raises(ValueError, match=r"must be a number from") as caught:
        field.parse(value)
    assert f"from {field.low:g} to {field.high:g} {field.unit}" in str(caught.value)
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize("field", [ALTITUDE, VELOCITY, YAW, WIND])
def test_the_range_includes_its_ends_and_nothing_beyond(field: NumberField) -> None:
    for inside in (field.low, field.high, field.default):
        assert field.parse(str(inside)) == inside
    for outside in (math.nextafter(field.low, -math.inf), math.nextafter(field.high, math.inf)):
        with pytest.raises(ValueError, match="must be a number"):
            field.parse(outside)


@given(st.floats(0.5, 20))
def test_a_number_and_its_text_mean_the_same(speed: float) -> None:
    assert VELOCITY.parse(speed) == VELOCITY.parse(repr(speed)) == speed


@given(st.text() | st.integers() | st.floats() | st.booleans() | st.none())
def test_parsing_gives_a_number_in_range_or_a_value_error(value: object) -> None:
    try:
        number = WIND.parse(value)
    except ValueError:
        return
    assert WIND.low <= number <= WIND.high
    assert math.copysign(1, number) == 1  # no -0.0


def test_every_wrong_field_is_named_at_once() -> None:
    wrong = {"velocityLimit": "fast", "yawLimit": "-1", "algorithm": "x"}
    with pytest.raises(ValidationError) as caught:
        DroneDetails.model_validate(wrong)
    assert {error["loc"][0] for error in caught.value.errors()} == set(wrong)
