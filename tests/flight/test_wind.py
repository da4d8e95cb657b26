"""Wind that the vehicle cannot hold its place in: it is landed before it is gone.

The controller and the embedded vehicle are real processes, the vehicle at twice real time. The X500
holds its place in 9 m/s.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import pytest

from tests.flight.stack import Stack, flying_stack

pytestmark = pytest.mark.slow

WIND_M_S = 14.0  # from the west, with gusts


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    wind = (f"--wind={WIND_M_S:g},0", "--seed", "1", "--speed-factor", "2")
    data = tmp_path_factory.mktemp("data")
    with flying_stack(data, vehicle_options=wind, FENCE_EAST_M="30") as stack:
        stack.ground.wait_state(60.0, connected=True)
        yield stack


def test_a_vehicle_that_the_wind_drives_out_of_the_fence_is_landed(stack: Stack) -> None:
    ground = stack.ground
    ground.beat(1)
    ground.envelope(1, id="up", command="takeoff")
    taken_off = ground.answer("up", timeout_s=45)
    assert not taken_off["ok"]
    assert "The wind drove it" in taken_off["message"]
    ground.wait_state(60.0, in_air=False, armed=False)
    ground.wait_state(5.0, flight_mode="HOLD")
    said = [state["message"] for state in ground.states]
    why = "the wind drives it out of the geofence (east "
    assert any(message.startswith(f"Landing: {why}") for message in said)
    assert why in ground.state["message"]  # and it is still there to be read
    assert ground.state["message"].startswith("On the ground, motors off.")
    modes = [state["flight_mode"] for state in ground.states if state["in_air"]]
    changes = [pair for pair in pairwise(modes) if pair[0] != pair[1]]
    assert changes == [("TAKEOFF", "HOLD"), ("HOLD", "LAND")]
    assert ground.position[0] > 30.0


def test_outside_the_fence_nothing_begins(stack: Stack) -> None:
    """Where the wind has carried the vehicle of the test above."""
    stack.ground.envelope(1, id="again", command="takeoff")
    refused = stack.ground.answer("again", timeout_s=10)
    assert not refused["ok"]
    assert "outside the geofence" in refused["message"]
