"""A pinhole camera that draws clipped polygons and lines: the projection behind every picture.

Plain tuples and `math`, no arrays: a frame has a few hundred points, for which per-call overhead
of an array library costs more than it saves. Clipping happens in camera space at the near plane,
before the division by depth, so that a line through the camera's own position draws correctly
(Sutherland-Hodgman, one plane).

Frames: world ENU in m. Camera: x right, y down, z forward (the OpenCV convention), pixels from
the top left corner.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

Vector = tuple[float, float, float]
Pixel = tuple[float, float]

NEAR_M = 0.2


def rotate(quaternion: Sequence[float], vector: Sequence[float]) -> Vector:
    """Turn `vector` from the body into the world frame; quaternion (w, x, y, z), unit length.

    v + 2w(q x v) + 2 q x (q x v), the product form of q v q*.
    """
    w, x, y, z = quaternion
    vx, vy, vz = vector
    tx, ty, tz = 2 * (y * vz - z * vy), 2 * (z * vx - x * vz), 2 * (x * vy - y * vx)
    return (
        vx + w * tx + y * tz - z * ty,
        vy + w * ty + z * tx - x * tz,
        vz + w * tz + x * ty - y * tx,
    )


@dataclass(frozen=True, slots=True)
class Pinhole:
    """A level camera: it turns about the vertical and looks down by a fixed angle, never rolls."""

    position: Vector  # ENU, m
    yaw: float  # rad, counter-clockwise from east
    pitch_down: float  # rad
    focal_px: float
    centre_px: Pixel
    _axes: tuple[Vector, Vector, Vector]  # right, down, forward in the world

    @classmethod
    def looking(
        cls, position: Vector, *, yaw: float, pitch_down: float, focal_px: float, centre_px: Pixel
    ) -> Pinhole:
        """A camera at `position` (ENU, m) that looks along `yaw`, `pitch_down` rad below level."""
        ch, sh = math.cos(yaw), math.sin(yaw)
        cp, sp = math.cos(pitch_down), math.sin(pitch_down)
        axes = ((sh, -ch, 0.0), (-ch * sp, -sh * sp, -cp), (ch * cp, sh * cp, -sp))
        return cls(position, yaw, pitch_down, focal_px, centre_px, axes)

    def to_camera(self, point: Sequence[float]) -> Vector:
        """World point (3,) in m -> camera frame (right, down, forward) in m."""
        px, py, pz = self.position
        x, y, z = point[0] - px, point[1] - py, point[2] - pz
        right, down, forward = self._axes
        return (
            right[0] * x + right[1] * y,
            down[0] * x + down[1] * y + down[2] * z,
            forward[0] * x + forward[1] * y + forward[2] * z,
        )

    def to_pixel(self, seen: Vector) -> Pixel:
        """Camera-frame point in front of the camera -> pixel."""
        scale = self.focal_px / seen[2]
        return self.centre_px[0] + seen[0] * scale, self.centre_px[1] + seen[1] * scale

    def polygon(self, corners: Iterable[Sequence[float]]) -> list[Pixel]:
        """Pixels of a convex world polygon, clipped at the near plane; empty when behind it."""
        seen = [self.to_camera(corner) for corner in corners]
        if all(point[2] >= NEAR_M for point in seen):
            return [self.to_pixel(point) for point in seen]
        return [self.to_pixel(point) for point in _clip(seen)]

    def segment(self, a: Vector, b: Vector, near: float, far: float) -> tuple[Pixel, Pixel] | None:
        """Pixels of the part of a camera-frame segment whose depth is in [near, far] m."""
        za, zb = a[2], b[2]
        if za == zb:
            inside = near <= za <= far
            return (self.to_pixel(a), self.to_pixel(b)) if inside else None
        first, last = sorted(((near - za) / (zb - za), (far - za) / (zb - za)))
        first, last = max(first, 0.0), min(last, 1.0)
        if first >= last:
            return None
        return self.to_pixel(_between(a, b, first)), self.to_pixel(_between(a, b, last))


def _between(a: Vector, b: Vector, share: float) -> Vector:
    return (
        a[0] + (b[0] - a[0]) * share,
        a[1] + (b[1] - a[1]) * share,
        a[2] + (b[2] - a[2]) * share,
    )


def _clip(seen: Sequence[Vector]) -> list[Vector]:
    """The part of a convex camera-frame polygon in front of the near plane."""
    kept: list[Vector] = []
    for index, here in enumerate(seen):
        before = seen[index - 1]
        if (before[2] >= NEAR_M) != (here[2] >= NEAR_M):
            kept.append(_between(before, here, (NEAR_M - before[2]) / (here[2] - before[2])))
        if here[2] >= NEAR_M:
            kept.append(here)
    return kept
