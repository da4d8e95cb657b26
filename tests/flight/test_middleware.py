"""Our nodes' environment, and what Fast DDS makes of it."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import psutil
import pytest

from racer.flight.middleware import ros_environment
from tests.flight.ground import Ground
from tests.flight.test_entry_points import controller
from tests.support import claim_slot

PROFILE = "FASTDDS_DEFAULT_PROFILES_FILE"


@pytest.mark.parametrize(
    ("wanted", "told"), [("LOCALHOST", "SYSTEM_DEFAULT"), ("SUBNET", "SUBNET")]
)
def test_a_range_has_its_profile(wanted: str, told: str) -> None:
    variables = ros_environment(7, wanted, {})
    assert variables["ROS_DOMAIN_ID"] == "7"
    assert variables["ROS_AUTOMATIC_DISCOVERY_RANGE"] == told
    assert Path(variables[PROFILE]).read_text().startswith("<?xml")
    assert ros_environment(7, wanted, variables) == variables  # a child's


@pytest.mark.parametrize(
    "environment",
    [
        {PROFILE: "/etc/ros/our_fleet.xml"},
        {"FASTRTPS_DEFAULT_PROFILES_FILE": "/etc/ros/our_fleet.xml"},
        {"RMW_IMPLEMENTATION": "rmw_cyclonedds_cpp"},
    ],
)
def test_a_middleware_that_the_user_configured_stays_so(environment: dict[str, str]) -> None:
    variables = ros_environment(0, "LOCALHOST", environment)
    assert variables == {"ROS_DOMAIN_ID": "0", "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST"}


@pytest.mark.parametrize("wanted", ["SYSTEM_DEFAULT", "OFF"])
def test_other_ranges_are_left_to_the_middleware(wanted: str) -> None:
    assert PROFILE not in ros_environment(0, wanted, {})


@pytest.mark.slow
@pytest.mark.parametrize("wanted", ["LOCALHOST", "SUBNET"])
def test_a_controller_shares_no_memory_with_other_processes(tmp_path: Path, wanted: str) -> None:
    with claim_slot(tmp_path) as slot:
        told = slot | {"ROS_AUTOMATIC_DISCOVERY_RANGE": wanted}
        with controller(told) as process, closing(Ground(slot)) as ground:
            ground.wait_state(30.0, connected=False)  # over UDP: the ground has shared memory, too
            program = psutil.Process(process.pid)
            maps = [Path(area.path) for area in program.memory_maps()]
            assert [path for path in maps if path.name.startswith("fastdds_")] == []
            addresses = {
                connection.laddr.ip
                for connection in program.net_connections("udp4")
                if connection.laddr.port != int(slot["VEHICLE_INSTANCE"]) + 14540
            }
            assert (addresses == {"127.0.0.1"}) == (wanted == "LOCALHOST")
