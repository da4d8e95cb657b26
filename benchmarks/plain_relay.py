"""The peer of benchmarks.control: a socket in, `/cmd_vel` out, as anybody would write it.

    python -m benchmarks.plain_relay PORT

aiohttp serves `/`, rclpy spins in a thread, each text frame is published as a TwistStamped. No
lease, no heartbeat, no limits: the shortest way from a browser to a ROS 2 topic in Python.
"""

from __future__ import annotations

import json
import os
import sys
import threading

import rclpy
from aiohttp import web
from geometry_msgs.msg import TwistStamped

from racer.flight.topics import topics_of


def main() -> None:
    rclpy.init()
    node = rclpy.create_node("plain_relay")
    topic = topics_of(int(os.environ["VEHICLE_INSTANCE"])).twist
    publisher = node.create_publisher(TwistStamped, topic, 10)
    threading.Thread(target=rclpy.spin, args=(node,), daemon=True).start()

    async def relay(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        async for frame in socket:
            sticks = json.loads(frame.data)
            message = TwistStamped()
            message.header.stamp = node.get_clock().now().to_msg()
            message.twist.linear.x = float(sticks["forward"])
            publisher.publish(message)
        return socket

    app = web.Application()

    async def ready(_: web.Request) -> web.Response:
        return web.Response(status=200 if publisher.get_subscription_count() else 503)

    app.router.add_get("/", relay)
    app.router.add_get("/ready", ready)
    web.run_app(app, host="127.0.0.1", port=int(sys.argv[1]), print=None)


if __name__ == "__main__":
    main()
