"""Quaternion algebra on scalar components: `(w, x, y, z)`, body to world.

Only operators are used, so the same lines serve Python floats, NumPy and JAX arrays, and the
struct-of-arrays simulation keeps one array per scalar. Formulas: Solà, "Quaternion kinematics
for the error-state Kalman filter" (2017), sections 1 and 2.
"""

from __future__ import annotations

from typing import Any, TypeAlias

Real: TypeAlias = Any  # a float, a NumPy array or a JAX array of any shape
Vector: TypeAlias = tuple[Real, Real, Real]
Quaternion: TypeAlias = tuple[Real, Real, Real, Real]


def conjugate(q: Quaternion) -> Quaternion:
    """The inverse rotation of a unit quaternion."""
    return q[0], -q[1], -q[2], -q[3]


def multiply(a: Quaternion, b: Quaternion) -> Quaternion:
    """Hamilton product: rotate by `b` first, then by `a`."""
    aw, ax, ay, az = a
    bw, bx, by, bz = b
    return (
        aw * bw - ax * bx - ay * by - az * bz,
        aw * bx + ax * bw + ay * bz - az * by,
        aw * by - ax * bz + ay * bw + az * bx,
        aw * bz + ax * by - ay * bx + az * bw,
    )


def rotate(q: Quaternion, v: Vector) -> Vector:
    """A body vector in world coordinates: v + 2 w (u × v) + 2 u × (u × v)."""
    w, x, y, z = q
    vx, vy, vz = v
    tx = 2.0 * (y * vz - z * vy)
    ty = 2.0 * (z * vx - x * vz)
    tz = 2.0 * (x * vy - y * vx)
    return (
        vx + w * tx + y * tz - z * ty,
        vy + w * ty + z * tx - x * tz,
        vz + w * tz + x * ty - y * tx,
    )


def rotate_inverse(q: Quaternion, v: Vector) -> Vector:
    """A world vector in body coordinates."""
    return rotate(conjugate(q), v)


def body_x_axis(q: Quaternion) -> Vector:
    """The nose in world coordinates: the first column of the rotation matrix."""
    w, x, y, z = q
    return 1.0 - 2.0 * (y * y + z * z), 2.0 * (x * y + w * z), 2.0 * (x * z - w * y)


def body_z_axis(q: Quaternion) -> Vector:
    """The thrust direction in world coordinates: the third column of the rotation matrix."""
    w, x, y, z = q
    return 2.0 * (x * z + w * y), 2.0 * (y * z - w * x), 1.0 - 2.0 * (x * x + y * y)


def body_axes(q: Quaternion) -> tuple[Vector, Vector, Vector]:
    """Nose, left and up of the body in world coordinates: the rotation matrix's columns."""
    w, x, y, z = q
    left = 2.0 * (x * y - w * z), 1.0 - 2.0 * (x * x + z * z), 2.0 * (y * z + w * x)
    return body_x_axis(q), left, body_z_axis(q)


def minus(a: Vector, b: Vector) -> Vector:
    """a - b."""
    return a[0] - b[0], a[1] - b[1], a[2] - b[2]


def cross(a: Vector, b: Vector) -> Vector:
    """a × b."""
    return (
        a[1] * b[2] - a[2] * b[1],
        a[2] * b[0] - a[0] * b[2],
        a[0] * b[1] - a[1] * b[0],
    )


def dot(a: Vector, b: Vector) -> Real:
    """a · b."""
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
