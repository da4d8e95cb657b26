"""A second party on the wire: a ROS 2 node that answers like the drone controller, without a drone.

Run as a program, or as a thread with `peer_thread`. What it hears decides what it does:
`turn_left` is answered late (after 1 s), `land` never, everything else at once. Before each own
result it publishes one of somebody else's, so that matching is always tested.
"""

from __future__ import annotations

import json
import math
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import rclpy
from nav_msgs.msg import Odometry
from rclpy.context import Context
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from sensor_msgs.msg import BatteryState
from std_msgs.msg import String

from racer.flight.ros_node import COMMAND_QUEUE
from racer.flight.topics import CONTROLLER_NODE, topics_of
from racer.process import die_with_parent
from racer.settings import Settings


class ControllerPeer:
    """Publishes state (5 Hz), odometry (30 Hz, east position = seconds) and answers commands."""

    def __init__(self, domain_id: int, instance: int, *, with_vehicle: bool = True) -> None:
        self.heard: list[str] = []
        self.sticks: list[dict[str, Any]] = []
        self.presence: list[tuple[int, bool]] = []  # (token, whether its pilot is there)
        self.accounts: list[str | None] = []  # whose that pilot is, each time
        self.tokens: list[int | None] = []  # of the leases of the commands that were heard
        self.connected = with_vehicle
        self.refuses = False  # answer every command with ok: false
        self.late = "turn_left"  # the command that is answered after a second
        self._closed = False
        self._ticks = 0
        topics = topics_of(instance)
        self.context = Context()
        self.context.init(domain_id=domain_id)
        self._node = rclpy.create_node(
            CONTROLLER_NODE, context=self.context, namespace=topics.namespace
        )
        self._results = self._node.create_publisher(String, topics.results, COMMAND_QUEUE)
        self._state = self._node.create_publisher(String, topics.state, 10)
        self._odometry = self._node.create_publisher(Odometry, topics.odometry, 10)
        self._battery = self._node.create_publisher(BatteryState, topics.battery, 10)
        self._node.create_subscription(String, topics.commands, self._on_command, COMMAND_QUEUE)
        self._node.create_subscription(String, topics.presence, self._on_presence, 10)
        self._node.create_timer(0.2, self._publish_state)
        self._node.create_timer(1 / 30, self._publish_odometry)
        self._executor = SingleThreadedExecutor(context=self.context)
        self._executor.add_node(self._node)

    def spin(self) -> None:
        try:
            self._executor.spin()
        except ExternalShutdownException:
            return

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._executor.shutdown(timeout_sec=1.0)
        self._node.destroy_node()
        self.context.try_shutdown()

    def _on_command(self, message: String) -> None:
        request = json.loads(message.data)
        if request.get("type") == "velocity":
            self.sticks.append(request)
            return
        self.tokens.append(request["lease"] and request["lease"]["token"])
        self.heard.append(" ".join([request["command"], *filter(None, [request.get("policy")])]))
        if request["command"] == "land":
            return
        if request["command"] == self.late:
            timer = self._node.create_timer(1.0, lambda: (timer.cancel(), self._answer(request)))
        else:
            self._answer(request)

    def _on_presence(self, message: String) -> None:
        told = json.loads(message.data)
        self.accounts.append(told.get("account", {}).get("username"))
        self.presence.append((told["lease"]["token"], told["present"]))

    def _answer(self, request: dict[str, str]) -> None:
        command = request["command"]
        did = f"{'refused' if self.refuses else 'did'} {command}"
        for answer in (
            {"id": None, "command": command, "ok": False, "message": "somebody else's"},
            {"id": "0" * 32, "command": command, "ok": False, "message": "somebody else's"},
            {"id": request["id"], "command": command, "ok": not self.refuses, "message": did},
        ):
            self._results.publish(String(data=json.dumps(answer)))
        self._results.publish(String(data="not even JSON"))

    def _publish_state(self) -> None:
        state = {
            "connected": self.connected,
            "armed": self.connected,
            "in_air": self.connected,
            "flight_mode": "HOLD",
            "phase": "hovering" if self.connected else "disconnected",
            "message": "a peer",
        }
        self._state.publish(String(data=json.dumps(state)))

    def _publish_odometry(self) -> None:
        if not self.connected:
            return
        self._ticks += 1
        message = Odometry()
        message.header.frame_id, message.child_frame_id = "map", "base_link"
        message.header.stamp = self._node.get_clock().now().to_msg()
        message.pose.pose.position.x = self._ticks / 30
        message.pose.pose.orientation.w = message.pose.pose.orientation.z = math.sqrt(0.5)
        message.twist.twist.linear.x = 2.0
        self._odometry.publish(message)
        if self._ticks % 30 == 1:
            self._battery.publish(BatteryState(voltage=math.nan, percentage=0.5))


@contextmanager
def peer_thread(settings: Settings, *, with_vehicle: bool = True) -> Iterator[ControllerPeer]:
    """The peer, spinning in a thread of this process."""
    peer = ControllerPeer(
        settings.ros_domain_id, settings.vehicle_instance, with_vehicle=with_vehicle
    )
    thread = threading.Thread(target=peer.spin)
    thread.start()
    try:
        yield peer
    finally:
        peer.close()
        thread.join()


if __name__ == "__main__":
    die_with_parent()
    print("the peer speaks", file=sys.stderr)
    ControllerPeer(int(os.environ["ROS_DOMAIN_ID"]), int(os.environ["VEHICLE_INSTANCE"])).spin()
