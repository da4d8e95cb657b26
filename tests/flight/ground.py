"""A ROS 2 node on the ground: what any machine with ROS 2 sees of the drone and can tell it."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from math import atan2, degrees
from typing import Any

from nav_msgs.msg import Odometry
from rclpy.context import Context
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from sensor_msgs.msg import BatteryState
from std_msgs.msg import String

from tests.support import wait_for


class Ground:
    """Publishes commands; keeps every result and state, and the odometry of 20 s."""

    def __init__(self, domain_id: int) -> None:
        self._context = Context()
        self._context.init(domain_id=domain_id)
        self._node = Node("ground", context=self._context)
        self._commands = self._node.create_publisher(String, "/control_commands", 10)
        self.results: list[dict[str, Any]] = []
        self.states: list[dict[str, Any]] = []
        self.odometry: list[Odometry] = []
        self.batteries: list[BatteryState] = []
        subscribe = self._node.create_subscription
        subscribe(String, "/drone/command_result", self._json_into(self.results), 10)
        subscribe(String, "/drone/state", self._json_into(self.states), 10)
        subscribe(Odometry, "/drone/odometry", self._on_odometry, 10)
        subscribe(BatteryState, "/drone/battery", self.batteries.append, 10)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self._node)
        self._thread = threading.Thread(target=self._spin)
        self._thread.start()

    def _spin(self) -> None:
        try:
            self._executor.spin()
        except ExternalShutdownException:
            return

    def _json_into(self, messages: list[dict[str, Any]]) -> Callable[[String], None]:
        return lambda message: messages.append(json.loads(message.data))

    def _on_odometry(self, message: Odometry) -> None:
        self.odometry.append(message)
        del self.odometry[:-600]

    def close(self) -> None:
        self._executor.shutdown()
        self._thread.join()
        self._node.destroy_node()
        self._context.shutdown()

    def send(self, text: str) -> None:
        """What `ros2 topic pub` does: wait for the subscriber, then publish."""
        wait_for("a controller", lambda: self._commands.get_subscription_count() > 0, timeout_s=10)
        self._commands.publish(String(data=text))

    def result(self, command: str, *, timeout_s: float) -> dict[str, Any]:
        """Send the bare words and wait for their result."""
        seen, word = len(self.results), command.split(maxsplit=1)[0]
        self.send(command)
        answer = wait_for(
            f"the result of {command}",
            lambda: next((r for r in self.results[seen:] if r["command"] == word), None),
            timeout_s=timeout_s,
        )
        assert len(self.results) == seen + 1
        return answer

    @property
    def state(self) -> dict[str, Any]:
        return self.states[-1] if self.states else {}

    def wait_state(self, timeout_s: float, **facts: object) -> None:
        wait_for(
            f"{facts}; the last state was {self.state}",
            lambda: self.state and all(self.state[k] == v for k, v in facts.items()),
            timeout_s=timeout_s,
        )

    def last(self, seconds: float) -> list[Odometry]:
        """The odometry of the last `seconds`, by its own stamps."""
        newest = stamp_s(self.odometry[-1])
        return [o for o in list(self.odometry) if stamp_s(o) > newest - seconds]

    @property
    def position(self) -> tuple[float, float, float]:
        p = self.odometry[-1].pose.pose.position
        return p.x, p.y, p.z

    @property
    def forward_m_s(self) -> float:
        """Mean speed along the nose over the last half second."""
        recent = self.last(0.5)
        return sum(o.twist.twist.linear.x for o in recent) / len(recent)

    @property
    def yaw_rate_deg_s(self) -> float:
        """Counter-clockwise."""
        return degrees(self.odometry[-1].twist.twist.angular.z)

    def turned_deg(self, seconds: float) -> float:
        """How far the nose turned in the next `seconds`, counter-clockwise; from the pose alone."""
        start = self.odometry[-1]
        time.sleep(seconds)
        end = self.odometry[-1]
        turn = (yaw_deg(end) - yaw_deg(start) + 180) % 360 - 180
        return turn / (stamp_s(end) - stamp_s(start)) * seconds


def stamp_s(message: Odometry) -> float:
    return message.header.stamp.sec + message.header.stamp.nanosec * 1e-9


def yaw_deg(message: Odometry) -> float:
    """ENU yaw, from (w, x, y, z) by the usual atan2."""
    q = message.pose.pose.orientation
    return degrees(atan2(2 * (q.w * q.z + q.x * q.y), 1 - 2 * (q.y * q.y + q.z * q.z)))
