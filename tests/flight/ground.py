"""A ROS 2 node on the ground: what any machine with ROS 2 sees of the drone and can tell it."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Mapping
from math import atan2, degrees
from typing import Any

from geometry_msgs.msg import TwistStamped
from nav_msgs.msg import Odometry
from rclpy.context import Context
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from sensor_msgs.msg import BatteryState
from std_msgs.msg import String

from racer.flight.topics import topics_of
from tests.support import wait_for


class Ground:
    """Publishes commands; keeps every result and state, and the odometry of 20 s."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        topics = self.topics = topics_of(int(environment["VEHICLE_INSTANCE"]))
        self._context = Context()
        self._context.init(domain_id=int(environment["ROS_DOMAIN_ID"]))
        self._node = Node("ground", context=self._context)
        self._commands = self._node.create_publisher(String, topics.commands, 10)
        self._presence = self._node.create_publisher(String, topics.presence, 10)
        self._twists = self._node.create_publisher(TwistStamped, topics.twist, 10)
        self._beating: str | None = None
        self.repeating: str | None = None  # sent once a second, as somebody does who wants to fly
        self.sticks: dict[str, Any] | None = None  # sent 50 times a second
        self._node.create_timer(1.0, self._repeat)
        self._node.create_timer(0.02, self._push)
        self._node.create_timer(0.1, self._beat)
        self.results: list[dict[str, Any]] = []
        self.states: list[dict[str, Any]] = []
        self.odometry: list[Odometry] = []
        self.batteries: list[BatteryState] = []
        subscribe = self._node.create_subscription
        subscribe(String, topics.results, self._json_into(self.results), 10)
        subscribe(String, topics.state, self._json_into(self.states), 10)
        subscribe(Odometry, topics.odometry, self._on_odometry, 10)
        subscribe(BatteryState, topics.battery, self.batteries.append, 10)
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

    def envelope(self, lease: int | None, **fields: Any) -> None:
        """What a bridge sends for its pilot."""
        by = None if lease is None else {"token": lease, "holder": "ground"}
        self.send(json.dumps(fields | {"lease": by}))

    def beat(self, lease: int | None) -> None:
        """Say ten times a second from now on that this lease's pilot is there; None: say nothing
        any more."""
        by = {"token": lease, "holder": "ground"}
        self._beating = None if lease is None else json.dumps({"lease": by, "present": True})

    def _beat(self) -> None:
        if self._beating is not None:
            self._presence.publish(String(data=self._beating))

    def _repeat(self) -> None:
        if self.repeating is not None:
            self._commands.publish(String(data=self.repeating))

    def _push(self) -> None:
        if self.sticks is not None:
            self._commands.publish(String(data=json.dumps(self.sticks)))

    def push(self, lease: int | None, **sticks: float) -> None:
        """Hold the sticks so, from now on; None: let go of them."""
        by = {"token": lease, "holder": "ground"}
        self.sticks = None if lease is None else {"type": "velocity", "lease": by} | sticks

    def leave(self, lease: int) -> None:
        """Say that this lease's pilot has gone."""
        self._beating = None
        by = {"token": lease, "holder": "ground"}
        self._presence.publish(String(data=json.dumps({"lease": by, "present": False})))

    def hover(self, token: int) -> int:
        """Have the vehicle hover, by a new lease with this token, whose pilot stays there."""
        self.push(None)
        self.beat(token)
        wait_for("its pilot", lambda: self.flown_by(token), timeout_s=10)
        command = "stop" if self.state["in_air"] else "takeoff"
        self.envelope(token, id=f"{command} {token}", command=command)
        answer = self.answer(f"{command} {token}", timeout_s=45)
        assert answer["ok"], answer
        self.wait_hold(8.0)
        self.envelope(token, type="velocity")  # the sticks are centred
        self.results.clear()
        return token

    def flown_by(self, token: int) -> bool:
        """Whether the pilot of that lease is there, as the controller knows."""
        lease = self.state.get("lease") or {}
        return lease.get("token") == token and lease["present"]

    def fly_forward(self, lease: int | None) -> None:
        """By a command, until it flies at more than 1 m/s."""
        request = f"go {time.monotonic()}"
        self.envelope(lease, id=request, command="move_forward")
        answer = self.answer(request, timeout_s=5)
        assert answer["ok"], answer
        wait_for("flying forward", lambda: self.forward_m_s > 1.0, timeout_s=5)

    def wait_hold(self, within_s: float) -> None:
        """In Hold, and at a standstill soon after."""
        self.wait_state(within_s, flight_mode="HOLD")
        wait_for("a standstill", lambda: abs(self.forward_m_s) < 0.2, timeout_s=5)

    def twist(self, x: float = 0.0, y: float = 0.0, z: float = 0.0, turn: float = 0.0) -> None:
        """One message on `/cmd_vel`."""
        message = TwistStamped()
        linear, angular = message.twist.linear, message.twist.angular
        linear.x, linear.y, linear.z, angular.z = x, y, z, turn
        self._twists.publish(message)

    def answer(self, request_id: str, *, timeout_s: float) -> dict[str, Any]:
        """The result that carries this id."""
        return wait_for(
            f"the result of {request_id}",
            lambda: next((r for r in self.results if r["id"] == request_id), None),
            timeout_s=timeout_s,
        )

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
