"""The controller's ROS 2 face: the node `drone_controller`, its topics and its own thread.

rclpy spins in one thread of its own and hands every message over to the asyncio loop; the loop
publishes directly, which rclpy allows from any thread (a publication takes tens of microseconds).
What is heard and said passes as CDR bytes, which the flight recorder keeps as they are.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextvars import copy_context
from dataclasses import dataclass
from typing import Any

import rclpy
from builtin_interfaces.msg import Time
from geometry_msgs.msg import PoseStamped, TwistStamped
from nav_msgs.msg import Odometry
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.serialization import deserialize_message, serialize_message
from rclpy.signals import SignalHandlerOptions
from sensor_msgs.msg import BatteryState
from std_msgs.msg import String

from racer.flight.authority import Lease
from racer.flight.commands import BodyRates, BodyVelocity, CommandResult, Place, Setpoint
from racer.flight.px4 import BatterySample, OdometrySample
from racer.flight.recorder import Recorder
from racer.flight.ros_messages import (
    battery_message,
    clock_message,
    odometry_message,
    place_message,
    rates_message,
    state_json,
    velocity_message,
)
from racer.flight.state import FlightState
from racer.flight.topics import CONTROLLER_NODE, Topics

# Messages kept for a thread that is late. ROS 2's usual ten are gone in 40 ms of several pilots'
# key repeats: then a `stop` among them, or its answer, would be lost on a busy machine.
COMMAND_QUEUE = 200

_LOST_S = 60.0  # a flight whose vehicle was lost is recorded so much longer


@dataclass(frozen=True, slots=True)
class Ears:
    """Who gets what is heard, on the event loop."""

    command: Callable[[str], None]
    presence: Callable[[str], None]  # of a bridge's pilot
    twist: Callable[[TwistStamped], None]


class ControllerNode:
    """Publishers, the subscriptions and the thread that spins them."""

    def __init__(
        self,
        ears: Ears,
        fail: Callable[[BaseException], None],
        topics: Topics,
        recorder: Recorder | None = None,
    ) -> None:
        """On the running asyncio loop the ears get each message, and `fail` is told when the
        thread ended before `close`: nothing would be heard any more."""
        self._loop = asyncio.get_running_loop()
        self._fail = fail
        self._recorder = recorder
        self._closing = False
        self._context = copy_context()  # or what the handlers log would lose the bound fields
        # Signals are the loop's: rclpy's own handlers would shut the context down under us.
        rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
        self._node = node = Node(CONTROLLER_NODE, namespace=topics.namespace)
        self._topics = topics
        self._publishers = {
            topics.results: node.create_publisher(String, topics.results, COMMAND_QUEUE),
            topics.odometry: node.create_publisher(Odometry, topics.odometry, 10),
            topics.battery: node.create_publisher(BatteryState, topics.battery, 10),
            topics.state: node.create_publisher(String, topics.state, 10),
        }
        self._connected_s = self._loop.time()  # when the vehicle was last there
        self._hear(String, topics.presence, lambda m: ears.presence(m.data), 10)
        self._hear(TwistStamped, topics.twist, ears.twist, 10)
        self._hear(String, topics.commands, lambda m: ears.command(m.data), COMMAND_QUEUE)
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(node)
        self._thread = threading.Thread(target=self._spin, name="rclpy", daemon=True)
        self._thread.start()

    def _hear(self, kind: type, topic: str, ear: Callable[[Any], None], depth: int) -> None:
        def on_loop(cdr: bytes) -> None:
            self._record(topic, cdr)
            ear(deserialize_message(cdr, kind))

        def on_thread(cdr: bytes) -> None:
            self._loop.call_soon_threadsafe(on_loop, cdr, context=self._context)

        self._node.create_subscription(kind, topic, on_thread, depth, raw=True)

    def _spin(self) -> None:
        error: Exception = RuntimeError("rclpy ended its spinning")
        try:
            self._executor.spin()
        except ExternalShutdownException as shutdown:
            error = shutdown  # as it should be once close() ended the context under the executor
        except Exception as unexpected:  # noqa: BLE001 - handed over to the loop, which ends
            error = unexpected
        if not self._closing:
            self._loop.call_soon_threadsafe(self._fail, error)

    def close(self) -> None:
        """Stop spinning, then destroy node and context: in this order nothing is used freed."""
        self._closing = True
        self._executor.shutdown(timeout_sec=1.0)
        self._thread.join(timeout=1.0)
        self._node.destroy_node()
        rclpy.try_shutdown()

    def _now(self) -> Time:
        return self._node.get_clock().now().to_msg()

    def _publish(self, topic: str, message: Any) -> None:
        cdr = serialize_message(message)
        self._publishers[topic].publish(cdr)
        self._record(topic, cdr)

    def _record(self, topic: str, cdr: bytes) -> None:
        if self._recorder is not None:
            self._recorder.record(topic, cdr)

    def publish_result(self, result: CommandResult) -> None:
        """Answer one command."""
        self._publish(self._topics.results, String(data=result.to_json()))

    def publish_state(
        self, state: FlightState, lease: Lease | None, *, present: bool, lag_s: float
    ) -> None:
        """Tell the state of the flight; the rest as in `state_json`."""
        text = state_json(state, lease, present=present, lag_s=lag_s)
        self._follow_flight(state)
        self._publish(self._topics.state, String(data=text))

    def _follow_flight(self, state: FlightState) -> None:
        """Tell the recorder whether there is a flight: one that is lost in the air flies on."""
        if self._recorder is None:
            return
        now_s = self._loop.time()
        if state.connected:
            self._connected_s, self._recorder.flying = now_s, state.armed
        elif now_s - self._connected_s > _LOST_S:
            self._recorder.flying = False

    def publish_odometry(self, sample: OdometrySample) -> None:
        """Where the vehicle is and how it moves, stamped with wall time."""
        stamp = self._now()
        self._publish(self._topics.odometry, odometry_message(sample, stamp))
        if self._recorder is not None:
            self._record(self._topics.clock, serialize_message(clock_message(sample, stamp)))

    def publish_battery(self, sample: BatterySample) -> None:
        """What the battery says."""
        self._publish(self._topics.battery, battery_message(sample, self._now()))

    def record_setpoint(self, setpoint: Setpoint) -> None:
        """Keep what was asked of the vehicle; nobody else hears it."""
        if self._recorder is None:
            return
        topics, now = self._topics, self._now()
        message: TwistStamped | PoseStamped
        match setpoint:
            case BodyVelocity():
                topic, message = topics.velocity_setpoint, velocity_message(setpoint, now)
            case BodyRates():
                topic, message = topics.rates_setpoint, rates_message(setpoint, now)
            case Place():
                topic, message = topics.place_setpoint, place_message(setpoint, now)
        self._record(topic, serialize_message(message))
