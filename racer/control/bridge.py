"""The web process's ROS 2 node: commands out, results and telemetry in.

rclpy spins in a thread of its own and hands each message to the asyncio loop; publishing happens
straight on the loop (thread-safe, about 50 µs). The context is our own, not rclpy's global one: it
installs no signal handlers, and several bridges may live in one process. rclpy's EventsExecutor
would be lighter but spins at full load as soon as matched events are asked for (rclpy 9.1).
"""

from __future__ import annotations

import asyncio
import json
import os
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import rclpy
import structlog
from nav_msgs.msg import Odometry
from rclpy.context import Context
from rclpy.event_handler import PublisherEventCallbacks
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from sensor_msgs.msg import BatteryState
from std_msgs.msg import String

from racer.control.presence import ControllerPresence
from racer.flight.authority import Account, Lease
from racer.flight.commands import STICKS, Order
from racer.flight.middleware import ros_environment
from racer.flight.topics import CONTROLLER_NODE, topics_of
from racer.identity import boot_id
from racer.settings import Settings

log = structlog.get_logger(__name__)

NODE_NAME = "toledo_racer_backend"
_QUEUE = 100  # messages kept for a thread that is late; the other side's depth is its own


@dataclass(frozen=True, slots=True)
class Listeners:
    """Who gets what was heard; all are called on the event loop's thread."""

    result: Callable[[str], None]
    odometry: Callable[[Odometry], None]
    battery: Callable[[BatteryState], None]
    state: Callable[[str], None]
    matched: Callable[[], None]


class Bridge:
    """The node `toledo_racer_backend`. Make it on the event loop; `close` it there too."""

    def __init__(self, settings: Settings, listeners: Listeners) -> None:
        self._loop = asyncio.get_running_loop()
        self._listeners = listeners
        self._presence = ControllerPresence()
        os.environ.update(
            ros_environment(
                settings.ros_domain_id, settings.ros_automatic_discovery_range, os.environ
            )
        )
        self._context = Context()
        self._context.init(domain_id=settings.ros_domain_id)
        topics = self._topics = topics_of(settings.vehicle_instance)
        self._node = rclpy.create_node(NODE_NAME, context=self._context, namespace=topics.namespace)
        self._commands = self._node.create_publisher(
            String,
            topics.commands,
            _QUEUE,
            event_callbacks=PublisherEventCallbacks(
                matched=lambda status: self._hand(self._on_matched, status.current_count)
            ),
        )
        self._presence_out = self._node.create_publisher(String, topics.presence, 10)
        self._subscribe(String, topics.results, lambda m: listeners.result(m.data))
        self._subscribe(Odometry, topics.odometry, listeners.odometry)
        self._subscribe(BatteryState, topics.battery, listeners.battery)
        # The last, so that hearing a state means that results reach us too: see presence.py.
        self._subscribe(String, topics.state, self._on_state)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self._node)
        self._thread = threading.Thread(target=self._spin, name=NODE_NAME, daemon=True)
        self._thread.start()

    def _subscribe(self, kind: type, topic: str, callback: Callable[[Any], None]) -> None:
        self._node.create_subscription(kind, topic, lambda m: self._hand(callback, m), _QUEUE)

    def _hand(self, callback: Callable[[Any], None], value: Any) -> None:
        self._loop.call_soon_threadsafe(callback, value)

    def _spin(self) -> None:
        try:
            self._executor.spin()
        except ExternalShutdownException:
            return  # close() ended the context while the executor was waiting
        except Exception:  # whatever it was, nothing is heard any more: `spinning` tells
            log.exception("The ROS 2 node died; restart the service")

    def _on_matched(self, count: int) -> None:
        self._presence.on_matched(count)
        self._listeners.matched()

    def _on_state(self, message: String) -> None:
        self._presence.on_state(time.monotonic())
        self._listeners.state(message.data)

    @property
    def spinning(self) -> bool:
        """Whether the node still hears what is sent to it."""
        return self._thread.is_alive()

    @property
    def controller_ready(self) -> bool:
        """Whether a command published now would be heard and answered."""
        return self._presence.ready(time.monotonic())

    def controller_in_graph(self) -> bool:
        """Whether a controller node is known to ROS 2, answering or not. Takes about 0.1 ms."""
        wanted = (CONTROLLER_NODE, self._topics.namespace)
        return wanted in self._node.get_node_names_and_namespaces()

    def controller_died(self) -> None:
        """The controller's process is known to have ended; a new one must be discovered."""
        self._presence.on_death()

    def publish(self, order: Order, command_id: str, lease: Lease | None) -> None:
        """Send one command with the id that its result will carry."""
        envelope: dict[str, Any] = {"id": command_id, "command": order.command}
        if order.policy is not None:
            envelope["policy"] = order.policy
        self._send(envelope, lease)

    def publish_sticks(self, sticks: Mapping[str, Any], lease: Lease) -> None:
        """Send where the sticks stand: racer.flight.commands says what they hold."""
        self._send({"type": STICKS, **sticks}, lease)

    def publish_presence(self, lease: Lease, present: bool, account: Account | None) -> None:
        """Tell the controller whether the lease's pilot is there, and the recording who that is."""
        fields: dict[str, Any] = {"lease": asdict(lease), "present": present}
        if account is not None:
            fields["account"] = asdict(account)
        self._presence_out.publish(String(data=json.dumps(fields)))

    def _send(self, envelope: dict[str, Any], lease: Lease | None) -> None:
        envelope["lease"] = None if lease is None else asdict(lease)
        envelope["sent"] = {"boot": boot_id(), "s": time.monotonic()}
        self._commands.publish(String(data=json.dumps(envelope)))

    def close(self) -> None:
        """Stop spinning, then destroy node and context: in this order nothing is used freed."""
        self._executor.shutdown(timeout_sec=1.0)
        self._thread.join(timeout=1.0)
        self._node.destroy_node()
        self._context.try_shutdown()
