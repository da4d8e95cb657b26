"""Courses that tests post."""

from __future__ import annotations

LOOP = """# of my garden
name = "loop"
laps = 2

[start]
position = [0.0, 0.0, 2.0]
yaw_deg = 0.0

[bounds]
min = [-10.0, -5.0, 0.0]
max = [20.0, 15.0, 8.0]

[[gates]]
position = [6.0, 0.0, 2.0]
yaw_deg = 0.0
size_m = 1.5

[[gates]]
position = [6.0, 8.0, 4.0]
yaw_deg = 180.0
pitch_deg = 30.0
size_m = 2.0
frame_m = 0.25
shape = "round"

[[obstacles]]
position = [3.0, 3.0, 0.0]
radius_m = 0.2
height_m = 3.0
"""


def loop(name: str) -> str:
    """The same course under another name."""
    return LOOP.replace('"loop"', f'"{name}"')
