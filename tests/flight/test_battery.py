"""What may be begun with which battery."""

from __future__ import annotations

import pytest

from racer.flight.battery import refusal
from racer.flight.commands import Command
from racer.flight.px4 import BatterySample


def pack(remaining: float | None, critical: bool | None) -> BatterySample:
    return BatterySample(voltage_v=14.0, current_a=1.0, remaining=remaining, critical=critical)


@pytest.mark.parametrize(
    ("battery", "begins"),
    [
        (None, True),  # nothing is known
        (pack(None, None), True),
        (pack(0.5, None), True),
        (pack(0.071, None), True),
        (pack(0.07, None), False),
        (pack(0.0, None), False),
        (pack(0.07, False), True),  # the vehicle's own threshold is lower
        (pack(0.5, True), False),  # a pack that failed
        (pack(None, True), False),
    ],
)
def test_a_flight_begins_with_a_battery_that_brings_it_home(
    battery: BatterySample | None, begins: bool
) -> None:
    for command in Command:
        found = refusal(command, battery)
        if command not in (Command.TAKEOFF, Command.FLY_POLICY):
            assert found is None, "who flies must be steered and landed"
        elif begins:
            assert found is None
        else:
            assert f"too low for {command}" in str(found)
