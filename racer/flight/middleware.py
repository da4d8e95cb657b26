"""What our ROS 2 nodes read from the environment: the domain, who may discover them, and how.

Messages go over UDP, never through Fast DDS's shared memory: its queues have locks, and a process
that is frozen while it holds one (SIGSTOP, a debugger, swapping) keeps every other process of the
domain waiting inside `publish`, a flying controller's event loop among them.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

_PROFILES = {
    name.upper(): str(Path(__file__).parent / "fastdds" / f"{name}.xml")
    for name in ("localhost", "subnet")
}
# The file's variable in Fast DDS 3, and in the 2.x of older ROS 2 releases.
_PROFILE_VARIABLES = ("FASTDDS_DEFAULT_PROFILES_FILE", "FASTRTPS_DEFAULT_PROFILES_FILE")
_FAST_DDS = ("", "rmw_fastrtps_cpp", "rmw_fastrtps_dynamic_cpp")


def ros_environment(
    domain_id: int, discovery_range: str, environment: Mapping[str, str]
) -> dict[str, str]:
    """The variables to set before rclpy starts, for this process and its children.

    `discovery_range` is one of ROS 2's; `environment` is what is set already. SYSTEM_DEFAULT and
    OFF, another middleware (RMW_IMPLEMENTATION) and a Fast DDS profile of the user's own stay as
    they are.
    """
    wanted = {"ROS_DOMAIN_ID": str(domain_id), "ROS_AUTOMATIC_DISCOVERY_RANGE": discovery_range}
    profile = _PROFILES.get(discovery_range)
    theirs = {environment.get(name, "") for name in _PROFILE_VARIABLES} - {"", *_PROFILES.values()}
    if profile is None or theirs or environment.get("RMW_IMPLEMENTATION", "") not in _FAST_DDS:
        return wanted
    if discovery_range == "LOCALHOST":
        # rmw_fastrtps would add shared memory to whatever the profile says; ours is as narrow.
        wanted["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "SYSTEM_DEFAULT"
    return wanted | dict.fromkeys(_PROFILE_VARIABLES, profile)
