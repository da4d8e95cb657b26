"""The chase view: a picture of the drone on its course, from behind and above.

Plain projection onto a Pillow canvas: no GPU, no renderer, a few milliseconds a frame, so that
the web service itself can draw it for whoever watches. The camera follows position and heading
and stays level: the horizon never moves, hence sky and ground are drawn once per size, and the
viewer sees the drone's attitude instead of losing it. Drawn at twice the size and averaged down,
which smooths every edge.

Heading is the twist about the vertical, 2 atan2(q_z, q_w): unlike the direction of the nose it
stays steady through steep pitch and is undefined only exactly upside down.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from io import BytesIO

from PIL import Image, ImageDraw, ImageFont

from racer.sim.track import Gate, Obstacle, Track
from racer.vision.pinhole import NEAR_M, Pinhole, Vector
from racer.vision.shapes import (
    HAZE,
    Colour,
    draw_gate,
    draw_obstacle,
    draw_quadrotor,
    draw_shadow,
    mix,
)

_OVERSAMPLING = 2
_BEHIND_M, _ABOVE_M = 3.1, 1.15
_PITCH_DOWN = math.radians(15.0)
_FIELD_OF_VIEW = math.radians(80.0)  # horizontal
_LOWEST_EYE_M = 0.35
_SKY: Colour = (74, 126, 184)
_GROUND: Colour = (94, 116, 92)
_GRID: Colour = (222, 233, 220)
_JPEG_QUALITY = 82
# spacing, reach, then (nearest, farthest, strength of the line): paler with distance
_GRIDS = (
    (5.0, 75.0, ((NEAR_M, 15.0, 0.42), (15.0, 35.0, 0.26), (35.0, 75.0, 0.13))),
    (1.0, 10.0, ((NEAR_M, 6.0, 0.16), (6.0, 10.0, 0.08))),
)


def render_chase(
    track: Track,
    position: Sequence[float],
    quaternion: Sequence[float],
    *,
    caption: str,
    size: tuple[int, int] = (640, 360),
    next_gate: int | None = None,
    speed_m_s: float | None = None,
) -> bytes:
    """Draw one frame and return it as JPEG.

    `position` (3,) m ENU and `quaternion` (4,) w x y z, body (FLU) to world, say where the drone
    is; `next_gate` is the index of the gate to highlight (default: the nearest one ahead); with
    `speed_m_s` the caption's strip tells speed and height; `size` is (width, height) in pixels.
    """
    where: Vector = (float(position[0]), float(position[1]), float(position[2]))
    attitude = _normalised(quaternion)
    camera = _chase_camera(where, attitude, size)
    canvas = _background(size).copy()
    draw = ImageDraw.Draw(canvas, "RGBA")
    _draw_grid(draw, camera)
    draw_shadow(draw, camera, where, attitude)
    highlighted = _gate_ahead(track, where, camera.yaw) if next_gate is None else next_gate
    next_one = track.gates[highlighted % len(track.gates)]
    for thing in _far_to_near(camera, track, where):
        if thing is None:
            draw_quadrotor(draw, camera, where, attitude)
        elif isinstance(thing, Obstacle):
            draw_obstacle(draw, camera, thing)
        else:
            draw_gate(draw, camera, thing, is_next=thing is next_one)
    picture = canvas.reduce(_OVERSAMPLING)
    _draw_captions(picture, caption, where[2], speed_m_s)
    stream = BytesIO()
    picture.save(stream, "JPEG", quality=_JPEG_QUALITY)
    return stream.getvalue()


def _normalised(quaternion: Sequence[float]) -> tuple[float, float, float, float]:
    """Unit quaternion; level and facing east when there is none to speak of."""
    w, x, y, z = (float(value) for value in quaternion)
    norm = math.sqrt(w * w + x * x + y * y + z * z)
    if not norm > 1e-6:
        return 1.0, 0.0, 0.0, 0.0
    return w / norm, x / norm, y / norm, z / norm


def _chase_camera(
    where: Vector, attitude: tuple[float, float, float, float], size: tuple[int, int]
) -> Pinhole:
    yaw = 2 * math.atan2(attitude[3], attitude[0])
    width, height = (_OVERSAMPLING * pixels for pixels in size)
    eye = (
        where[0] - _BEHIND_M * math.cos(yaw),
        where[1] - _BEHIND_M * math.sin(yaw),
        max(where[2] + _ABOVE_M, _LOWEST_EYE_M),
    )
    return Pinhole.looking(
        eye,
        yaw=yaw,
        pitch_down=_PITCH_DOWN,
        focal_px=_focal_px(width),
        centre_px=(width / 2, height / 2),
    )


def _focal_px(width: int) -> float:
    return width / 2 / math.tan(_FIELD_OF_VIEW / 2)


@lru_cache(maxsize=4)
def _background(size: tuple[int, int]) -> Image.Image:
    """Sky and ground without anything on them, at drawing size."""
    width, height = (_OVERSAMPLING * pixels for pixels in size)
    horizon = height / 2 - _focal_px(width) * math.tan(_PITCH_DOWN)
    column = Image.new("RGB", (1, height))
    for row in range(height):
        away = row + 0.5 - horizon
        if away < 0:
            colour = mix(HAZE, _SKY, min(1.0, -away / (0.35 * height)) ** 0.8)
        else:
            colour = mix(_GROUND, HAZE, math.exp(-away / (0.09 * height)))
        column.putpixel((0, row), colour)
    return column.resize((width, height), Image.Resampling.NEAREST)


def _draw_grid(draw: ImageDraw.ImageDraw, camera: Pinhole) -> None:
    """Lines on the ground along the world's axes; a viewer reads speed and heading off them."""
    x0, y0, _ = camera.position
    for spacing, reach, bands in _GRIDS:
        count = math.ceil(reach / spacing)
        for step in range(-count, count + 1):
            x = (math.floor(x0 / spacing) + step) * spacing
            y = (math.floor(y0 / spacing) + step) * spacing
            _draw_line(draw, camera, (x, y0 - reach, 0.0), (x, y0 + reach, 0.0), bands)
            _draw_line(draw, camera, (x0 - reach, y, 0.0), (x0 + reach, y, 0.0), bands)


def _draw_line(
    draw: ImageDraw.ImageDraw,
    camera: Pinhole,
    a: Vector,
    b: Vector,
    bands: Sequence[tuple[float, float, float]],
) -> None:
    ends = camera.to_camera(a), camera.to_camera(b)
    if ends[0][2] < NEAR_M and ends[1][2] < NEAR_M:
        return
    for nearest, farthest, strength in bands:
        if (line := camera.segment(*ends, nearest, farthest)) is not None:
            draw.line(line, fill=(*_GRID, round(255 * strength)), width=_OVERSAMPLING)


def _gate_ahead(track: Track, where: Vector, yaw: float) -> int:
    """Index of the nearest gate in front of the drone, or of the nearest one."""

    def key(index: int) -> tuple[bool, float]:
        x, y, z = (float(value) for value in track.gates[index].position)
        behind = (x - where[0]) * math.cos(yaw) + (y - where[1]) * math.sin(yaw) < 0
        return behind, math.dist((x, y, z), where)

    return min(range(len(track.gates)), key=key)


def _far_to_near(camera: Pinhole, track: Track, where: Vector) -> list[Gate | Obstacle | None]:
    """The gates and poles, with None for the drone in its place among them."""
    eye = camera.position
    things: list[tuple[float, Gate | Obstacle | None]] = [(math.dist(eye, where), None)]
    for gate in track.gates:
        things.append((math.dist(eye, [float(v) for v in gate.position]), gate))
    for pole in track.obstacles:
        x, y, foot = (float(v) for v in pole.position)
        nearest = (x, y, min(max(eye[2], foot), foot + pole.height))
        things.append((math.dist(eye, nearest), pole))
    return [thing for _, thing in sorted(things, key=lambda thing: thing[0], reverse=True)]


@lru_cache(maxsize=8)
def _font(pixels: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(pixels)


def _draw_captions(
    picture: Image.Image, caption: str, height_m: float, speed_m_s: float | None
) -> None:
    """A strip along the bottom: what we look at, and the numbers a pilot wants."""
    width, height = picture.size
    draw = ImageDraw.Draw(picture, "RGBA")
    font = _font(max(10, round(height / 24)))
    strip = round(height / 13)
    middle = height - strip / 2
    draw.rectangle((0, height - strip, width, height), fill=(14, 20, 28, 170))
    draw.text((strip / 2, middle), caption, font=font, fill=(255, 255, 255), anchor="lm")
    if speed_m_s is not None:
        numbers = f"{speed_m_s:.1f} m/s    {max(height_m, 0.0):.1f} m"
        draw.text(
            (width - strip / 2, middle), numbers, font=font, fill=(255, 214, 170), anchor="rm"
        )
