"""Several drones in one ROS 2 domain: each hears and tells only its own."""

from __future__ import annotations

from contextlib import ExitStack, closing
from dataclasses import asdict
from pathlib import Path

import pytest

from racer.flight.topics import topics_of
from tests.flight.ground import Ground
from tests.flight.test_entry_points import controller
from tests.support import claim_slot


def test_the_first_drones_names_are_plain() -> None:
    first = topics_of(0)
    assert (first.commands, first.twist) == ("/control_commands", "/cmd_vel")
    assert (first.state, first.results) == ("/drone/state", "/drone/command_result")


def test_the_others_names_begin_with_the_drone() -> None:
    second = topics_of(1)
    assert (second.drone, second.namespace) == (2, "/drone2")
    assert (second.commands, second.state) == ("/drone2/control_commands", "/drone2/state")
    names = {name for name in asdict(second).values() if isinstance(name, str)}
    assert len(names) == 12
    assert all(name.startswith("/drone2") for name in names)
    assert set(second.types) == names - {"/drone2"}


@pytest.mark.slow
def test_a_command_reaches_its_drone_alone(tmp_path: Path) -> None:
    with ExitStack() as stack:
        slots = [stack.enter_context(claim_slot(tmp_path)) for _ in range(2)]
        for slot in slots:
            slot["ROS_DOMAIN_ID"] = slots[0]["ROS_DOMAIN_ID"]
            stack.enter_context(controller(slot))
        grounds = [stack.enter_context(closing(Ground(slot))) for slot in slots]
        for ground in grounds:
            ground.wait_state(30.0, connected=False)
        assert "No vehicle" in grounds[1].result("takeoff", timeout_s=10)["message"]
        assert "No vehicle" in grounds[0].result("land", timeout_s=10)["message"]
        for ground, command in zip(grounds, ("land", "takeoff"), strict=True):
            assert [result["command"] for result in ground.results] == [command]
