"""The pilot's channel: sockets, the in-process ROS 2 node, telemetry and the stack's supervisor."""
