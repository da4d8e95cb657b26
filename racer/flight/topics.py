"""Names of the ROS 2 topics between a drone's controller and whoever talks to it.

The first drone's names are plain; those of the others begin with `/drone2`, `/drone3`, … so that
several fly in one ROS 2 domain.
"""

from __future__ import annotations

from dataclasses import dataclass

CONTROLLER_NODE = "drone_controller"


@dataclass(frozen=True, slots=True)
class Topics:
    """Those of one drone."""

    drone: int  # how people call it: 1, 2, …
    namespace: str  # of its nodes
    commands: str  # in: std_msgs/String
    presence: str  # in: std_msgs/String, a bridge's heartbeat
    twist: str  # in: geometry_msgs/TwistStamped
    results: str  # std_msgs/String
    state: str  # std_msgs/String
    odometry: str  # nav_msgs/Odometry
    battery: str  # sensor_msgs/BatteryState
    velocity_setpoint: str  # in recordings only: geometry_msgs/TwistStamped
    rates_setpoint: str  # likewise
    place_setpoint: str  # likewise: geometry_msgs/PoseStamped
    clock: str  # likewise: sensor_msgs/TimeReference, the vehicle's clock at each odometry

    @property
    def types(self) -> dict[str, str]:
        """ROS 2 type of each topic."""
        text, twist = "std_msgs/msg/String", "geometry_msgs/msg/TwistStamped"
        return {
            self.commands: text,
            self.presence: text,
            self.twist: twist,
            self.results: text,
            self.state: text,
            self.odometry: "nav_msgs/msg/Odometry",
            self.battery: "sensor_msgs/msg/BatteryState",
            self.velocity_setpoint: twist,
            self.rates_setpoint: twist,
            self.place_setpoint: "geometry_msgs/msg/PoseStamped",
            self.clock: "sensor_msgs/msg/TimeReference",
        }


def topics_of(instance: int) -> Topics:
    """Those of PX4's instance 0 (drone 1), 1 (drone 2), …"""
    drone = instance + 1
    root = f"/drone{drone}" if instance else ""
    own = root or "/drone"
    return Topics(
        drone=drone,
        namespace=root or "/",
        commands=f"{root}/control_commands",
        presence=f"{own}/pilot",
        twist=f"{root}/cmd_vel",
        results=f"{own}/command_result",
        state=f"{own}/state",
        odometry=f"{own}/odometry",
        battery=f"{own}/battery",
        velocity_setpoint=f"{own}/setpoint/velocity",
        rates_setpoint=f"{own}/setpoint/rates",
        place_setpoint=f"{own}/setpoint/place",
        clock=f"{own}/clock",
    )
