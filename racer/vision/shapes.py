"""What stands and flies in the picture: gates, poles, the quadrotor, its shadow.

Gates are frames of flat faces (culled when they look away), round ones as a polygon of twenty
corners, poles are upright bars as thick as they are. The quadrotor has the size of
the Holybro X500 (0.5 m wheelbase, 10-inch propellers) with an orange nose, so that a look tells
which way it points. Far things fade into the haze: that, and the shadow, show distance.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

from PIL import ImageDraw

from racer.sim.track import Gate, GateShape, Obstacle
from racer.vision.pinhole import NEAR_M, Pinhole, Pixel, Vector, rotate

Colour = tuple[int, int, int]

HAZE: Colour = (196, 211, 224)
NEXT_GATE: Colour = (255, 132, 20)
OTHER_GATE: Colour = (72, 104, 158)
_HAZE_LENGTH_M = 45.0
_GATE_DEPTH_M = 0.2
_POLE: Colour = (112, 116, 122)
OBSTACLE: Colour = (206, 44, 58)

_ARM_M = 0.17678  # of each motor from the centre, forward and left
_PROPELLER_M = 0.127
_PLATE: Colour = (34, 37, 43)
_NOSE: Colour = (255, 106, 0)
_TAIL: Colour = (96, 102, 112)
_ROTORS: tuple[tuple[float, float, Colour], ...] = (
    (_ARM_M, _ARM_M, _NOSE),
    (_ARM_M, -_ARM_M, _NOSE),
    (-_ARM_M, _ARM_M, _TAIL),
    (-_ARM_M, -_ARM_M, _TAIL),
)
_CIRCLE = tuple((math.cos(2 * math.pi * i / 18), math.sin(2 * math.pi * i / 18)) for i in range(18))

# Corners of a gate's opening and frame, left and up in units of their reach, counter-clockwise.
_OUTLINES: dict[GateShape, tuple[Pixel, ...]] = {
    "square": ((1, 1), (-1, 1), (-1, -1), (1, -1)),
    "round": tuple((math.cos(math.pi * i / 10), math.sin(math.pi * i / 10)) for i in range(20)),
}


def mix(colour: Colour, other: Colour, share: float) -> Colour:
    """`colour` with `share` (0-1) of `other`."""
    r, g, b = (round(mine + (its - mine) * share) for mine, its in zip(colour, other, strict=True))
    return r, g, b


def hazed(colour: Colour, distance_m: float) -> Colour:
    """`colour` as it looks through `distance_m` of air: exponential, at most three quarters."""
    return mix(colour, HAZE, min(0.75, 1.0 - math.exp(-distance_m / _HAZE_LENGTH_M)))


@lru_cache(maxsize=256)
def _gate_faces(
    centre: Vector, yaw: float, pitch: float, size: float, frame: float, *, shape: GateShape
) -> tuple[tuple[tuple[Vector, ...], Vector, float], ...]:
    """Every face of a gate's frame: its corners, outward normal and brightness."""
    cy, sy, cp, sp = math.cos(yaw), math.sin(yaw), math.cos(pitch), math.sin(pitch)
    forward, left, up = (cp * cy, cp * sy, sp), (-sy, cy, 0.0), (-sp * cy, -sp * sy, cp)

    def world(along: float, across: float, above: float) -> Vector:
        x, y, z = (
            c + along * f + across * s + above * u
            for c, f, s, u in zip(centre, forward, left, up, strict=True)
        )
        return x, y, z

    inner, outer, half = size / 2, size / 2 + max(frame, 0.05), _GATE_DEPTH_M / 2
    faces: list[tuple[tuple[Vector, ...], Vector, float]] = []
    corners = _OUTLINES[shape]
    for (a1, b1), (a2, b2) in zip(corners, (*corners[1:], corners[0]), strict=True):
        side = ((a1 + a2) / 2, (b1 + b2) / 2)
        outward: Vector = tuple(  # type: ignore[assignment]  # three items, by construction
            side[0] * s + side[1] * u for s, u in zip(left, up, strict=True)
        )
        inward: Vector = (-outward[0], -outward[1], -outward[2])
        for along, normal in ((half, forward), (-half, (-forward[0], -forward[1], -forward[2]))):
            ring = (
                world(along, a1 * outer, b1 * outer),
                world(along, a2 * outer, b2 * outer),
                world(along, a2 * inner, b2 * inner),
                world(along, a1 * inner, b1 * inner),
            )
            faces.append((ring, normal, 1.0))
        for reach, normal in ((outer, outward), (inner, inward)):
            wall = (
                world(half, a1 * reach, b1 * reach),
                world(half, a2 * reach, b2 * reach),
                world(-half, a2 * reach, b2 * reach),
                world(-half, a1 * reach, b1 * reach),
            )
            faces.append((wall, normal, 0.72 + 0.2 * normal[2]))
    return tuple(faces)


def draw_gate(draw: ImageDraw.ImageDraw, camera: Pinhole, gate: Gate, *, is_next: bool) -> None:
    """One gate with its stand, the next one in orange."""
    x, y, z = (float(value) for value in gate.position)
    reach = gate.size / 2 + gate.frame
    distance = math.dist(camera.position, (x, y, z))
    if camera.to_camera((x, y, z))[2] < -reach:
        return
    _draw_stand(draw, camera, gate, hazed(_POLE, distance))
    base = NEXT_GATE if is_next else OTHER_GATE
    faces = _gate_faces((x, y, z), gate.yaw, gate.pitch, gate.size, gate.frame, shape=gate.shape)
    seen = []
    for corners, normal, brightness in faces:
        offset = [eye - corner for eye, corner in zip(camera.position, corners[0], strict=True)]
        if sum(o * n for o, n in zip(offset, normal, strict=True)) > 0:
            seen.append((math.dist(camera.position, corners[0]), corners, brightness))
    for _, corners, brightness in sorted(seen, reverse=True):
        colour = hazed(mix((10, 14, 24), base, brightness), distance)
        if len(pixels := camera.polygon(corners)) > 2:
            draw.polygon(pixels, fill=colour)


def _draw_stand(draw: ImageDraw.ImageDraw, camera: Pinhole, gate: Gate, colour: Colour) -> None:
    """Poles from the frame's lower corners, or its lowest point, to the ground, 6 cm wide."""
    reach = gate.size / 2 + gate.frame
    bottom = max(float(gate.position[2]) - reach * math.cos(gate.pitch), 0.0)
    for side in (-reach, reach) if gate.shape == "square" else (0.0,):
        x = float(gate.position[0]) - side * math.sin(gate.yaw)
        y = float(gate.position[1]) + side * math.cos(gate.yaw)
        _draw_bar(draw, camera, ((x, y, 0.0), (x, y, bottom)), 0.06, colour)


def draw_obstacle(draw: ImageDraw.ImageDraw, camera: Pinhole, pole: Obstacle) -> None:
    """An upright pole in red."""
    x, y, z = (float(value) for value in pole.position)
    colour = hazed(OBSTACLE, math.dist(camera.position[:2], (x, y)))
    _draw_bar(draw, camera, ((x, y, z), (x, y, z + pole.height)), 2 * pole.radius, colour)


def draw_shadow(
    draw: ImageDraw.ImageDraw, camera: Pinhole, position: Vector, quaternion: Sequence[float]
) -> None:
    """The quadrotor's silhouette straight below it, paler the higher it flies."""
    ink = (18, 26, 20, round(150 / (1 + max(position[2], 0.0) / 5)))
    for x, y, _ in _ROTORS:
        rim = ((x + _PROPELLER_M * c, y + _PROPELLER_M * s, 0.04) for c, s in _CIRCLE)
        _fill(draw, camera, [_on_ground(position, quaternion, point) for point in rim], ink)
    plate = ((0.13, 0.06, 0), (0.13, -0.06, 0), (-0.13, -0.06, 0), (-0.13, 0.06, 0))
    _fill(draw, camera, [_on_ground(position, quaternion, point) for point in plate], ink)


def _on_ground(position: Vector, quaternion: Sequence[float], point: Sequence[float]) -> Vector:
    x, y, _ = rotate(quaternion, point)
    return position[0] + x, position[1] + y, 0.0


def draw_quadrotor(
    draw: ImageDraw.ImageDraw, camera: Pinhole, position: Vector, quaternion: Sequence[float]
) -> None:
    """The quadrotor in its attitude; parts are drawn in the order of the side that we see."""

    def world(point: Sequence[float]) -> Vector:
        x, y, z = rotate(quaternion, point)
        return position[0] + x, position[1] + y, position[2] + z

    up = rotate(quaternion, (0.0, 0.0, 1.0))
    sight = (camera.position[i] - position[i] for i in range(3))
    from_above = sum(s * u for s, u in zip(sight, up, strict=True)) > 0

    def skids() -> None:
        for side in (-1, 1):
            for x in (-0.05, 0.05):
                ends = world((x, side * 0.05, 0)), world((x * 1.6, side * 0.13, -0.2))
                _draw_bar(draw, camera, ends, 0.014, (58, 62, 70))
            ends = world((-0.13, side * 0.13, -0.2)), world((0.13, side * 0.13, -0.2))
            _draw_bar(draw, camera, ends, 0.018, (44, 47, 54))

    def frame() -> None:
        for x, y, colour in _ROTORS:
            arm = colour if colour is _NOSE else (52, 56, 64)
            _draw_bar(draw, camera, (world((0, 0, 0)), world((x, y, 0))), 0.026, arm)
            motor = world((x, y, -0.02)), world((x, y, 0.04))
            _draw_bar(draw, camera, motor, 0.04, _PLATE)

    def body() -> None:
        for height in (-0.03, 0.05) if from_above else (0.05, -0.03):
            _fill(draw, camera, [world((*corner, height)) for corner in _OCTAGON], _PLATE)
        if from_above:
            _fill(draw, camera, [world(corner) for corner in _NOSE_CAP], _NOSE)

    def rotors() -> None:
        by_depth = sorted(_ROTORS, key=lambda rotor: -_depth(camera, world((*rotor[:2], 0.045))))
        for x, y, colour in by_depth:
            rim = [world((x + _PROPELLER_M * c, y + _PROPELLER_M * s, 0.045)) for c, s in _CIRCLE]
            _fill(draw, camera, rim, (*mix(colour, (255, 255, 255), 0.45), 88))
            pixels = camera.polygon(rim)
            if len(pixels) > 2:
                draw.line([*pixels, pixels[0]], fill=(*colour, 220), width=2)

    parts = (skids, frame, body, rotors)
    for part in parts if from_above else reversed(parts):
        part()


_OCTAGON = (
    (0.13, 0.04), (0.08, 0.065), (-0.08, 0.065), (-0.13, 0.04),
    (-0.13, -0.04), (-0.08, -0.065), (0.08, -0.065), (0.13, -0.04),
)  # fmt: skip


_NOSE_CAP = ((0.13, 0.035, 0.05), (0.13, -0.035, 0.05), (0.07, -0.055, 0.05), (0.07, 0.055, 0.05))


def _depth(camera: Pinhole, point: Vector) -> float:
    return camera.to_camera(point)[2]


def _fill(
    draw: ImageDraw.ImageDraw,
    camera: Pinhole,
    corners: Sequence[Vector],
    colour: Colour | tuple[int, int, int, int],
) -> None:
    if len(pixels := camera.polygon(corners)) > 2:
        draw.polygon(pixels, fill=colour)


def _draw_bar(
    draw: ImageDraw.ImageDraw,
    camera: Pinhole,
    bar: tuple[Vector, Vector],
    width_m: float,
    colour: Colour,
) -> None:
    """A round bar as a quad whose ends are as wide as their own distance makes them."""
    ends = camera.to_camera(bar[0]), camera.to_camera(bar[1])
    if (line := camera.segment(*ends, NEAR_M, math.inf)) is None:
        return
    (ua, va), (ub, vb) = line
    length = math.hypot(ub - ua, vb - va)
    if length == 0:
        return
    across: Pixel = ((va - vb) / length, (ub - ua) / length)
    near, far = (max(0.8, 0.5 * width_m * camera.focal_px / max(end[2], NEAR_M)) for end in ends)
    draw.polygon(
        [
            (ua + across[0] * near, va + across[1] * near),
            (ub + across[0] * far, vb + across[1] * far),
            (ub - across[0] * far, vb - across[1] * far),
            (ua - across[0] * near, va - across[1] * near),
        ],
        fill=colour,
    )
