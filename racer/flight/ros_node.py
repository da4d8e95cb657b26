"""The controller's ROS 2 face: the node `drone_controller`, its topics and its own thread.

rclpy spins in one thread of its own and hands every command over to the asyncio loop; the loop
publishes directly, which rclpy allows from any thread (a publication takes tens of microseconds).
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable
from contextvars import copy_context
from math import nan

import rclpy
from nav_msgs.msg import Odometry
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions
from sensor_msgs.msg import BatteryState
from std_msgs.msg import String

from racer.flight.commands import CommandResult
from racer.flight.px4 import BatterySample, OdometrySample
from racer.flight.state import FlightState

# Messages kept for a thread that is late. ROS 2's usual ten are gone in 40 ms of several pilots'
# key repeats: then a `stop` among them, or its answer, would be lost on a busy machine.
COMMAND_QUEUE = 200


def state_json(state: FlightState) -> str:
    """The JSON of `/drone/state`."""
    return json.dumps(
        {
            "connected": state.connected,
            "armed": state.armed,
            "in_air": state.in_air,
            "flight_mode": state.mode,
            "phase": state.phase,
            "message": state.message,
        }
    )


class ControllerNode:
    """Publishers, the command subscription and the thread that spins them."""

    def __init__(
        self, on_command: Callable[[str], None], fail: Callable[[BaseException], None]
    ) -> None:
        """On the running asyncio loop `on_command` gets each message's text, and `fail` is told
        when the thread ended before `close`: nothing would be heard any more."""
        loop = self._loop = asyncio.get_running_loop()
        self._fail = fail
        self._closing = False
        context = copy_context()  # or what the handler logs would lose the bound fields
        # Signals are the loop's: rclpy's own handlers would shut the context down under us.
        rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
        self._node = Node("drone_controller")
        self._results = self._node.create_publisher(String, "/drone/command_result", COMMAND_QUEUE)
        self._odometry = self._node.create_publisher(Odometry, "/drone/odometry", 10)
        self._battery = self._node.create_publisher(BatteryState, "/drone/battery", 10)
        self._state = self._node.create_publisher(String, "/drone/state", 10)

        def hand_over(message: String) -> None:
            loop.call_soon_threadsafe(on_command, message.data, context=context)

        self._node.create_subscription(String, "/control_commands", hand_over, COMMAND_QUEUE)
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self._node)
        self._thread = threading.Thread(target=self._spin, name="rclpy", daemon=True)
        self._thread.start()

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

    def publish_result(self, result: CommandResult) -> None:
        """Answer one command."""
        self._results.publish(String(data=result.to_json()))

    def publish_state(self, state: FlightState) -> None:
        """Tell the state of the flight."""
        self._state.publish(String(data=state_json(state)))

    def publish_odometry(self, sample: OdometrySample) -> None:
        """Pose in map (ENU, origin at home), twist in base_link (FLU), stamped with wall time."""
        message = Odometry()
        message.header.stamp = self._node.get_clock().now().to_msg()
        message.header.frame_id = "map"
        message.child_frame_id = "base_link"
        pose, twist = message.pose.pose, message.twist.twist
        pose.position.x, pose.position.y, pose.position.z = sample.position
        orientation = pose.orientation
        orientation.w, orientation.x, orientation.y, orientation.z = sample.quaternion
        twist.linear.x, twist.linear.y, twist.linear.z = sample.velocity_body
        twist.angular.x, twist.angular.y, twist.angular.z = sample.angular_velocity
        self._odometry.publish(message)

    def publish_battery(self, sample: BatterySample) -> None:
        """What the battery says; NaN where it says nothing (REP-147 and BatteryState.msg)."""
        message = BatteryState()
        message.header.stamp = self._node.get_clock().now().to_msg()
        message.header.frame_id = "base_link"
        message.voltage = nan if sample.voltage_v is None else sample.voltage_v
        message.current = nan if sample.current_a is None else -sample.current_a
        message.percentage = nan if sample.remaining is None else sample.remaining
        message.charge = message.capacity = message.design_capacity = nan
        message.temperature = nan
        message.present = True
        message.power_supply_status = BatteryState.POWER_SUPPLY_STATUS_DISCHARGING
        message.power_supply_technology = BatteryState.POWER_SUPPLY_TECHNOLOGY_LIPO
        self._battery.publish(message)
