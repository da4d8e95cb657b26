"""The projection is checked against geometry that can be said in a sentence."""

from __future__ import annotations

import math

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from racer.vision.pinhole import NEAR_M, Pinhole, rotate

finite = st.floats(-50, 50, allow_nan=False)


def camera(yaw: float = 0.0, pitch_down: float = 0.0) -> Pinhole:
    return Pinhole.looking(
        (1.0, 2.0, 3.0), yaw=yaw, pitch_down=pitch_down, focal_px=100.0, centre_px=(320.0, 180.0)
    )


def test_what_lies_straight_ahead_is_in_the_middle() -> None:
    assert camera().polygon([(6, 2, 3)]) == [(320.0, 180.0)]


def test_left_is_left_and_up_is_up() -> None:
    assert camera().polygon([(6, 3, 3)]) == [(pytest.approx(300), 180.0)]
    assert camera().polygon([(6, 2, 4)]) == [(320.0, pytest.approx(160))]


def test_facing_north_east_is_on_the_right() -> None:
    [(u, _)] = camera(yaw=math.pi / 2).polygon([(2, 7, 3)])
    assert u == pytest.approx(340)


def test_looking_down_lifts_the_horizon() -> None:
    [(_, v)] = camera(pitch_down=math.radians(45)).polygon([(1 + 1e6, 2, 3)])
    assert v == pytest.approx(180 - 100, abs=1e-3)


@given(x=finite, y=finite, z=finite, yaw=finite, pitch=st.floats(-1.5, 1.5))
def test_the_camera_frame_keeps_distances(
    x: float, y: float, z: float, yaw: float, pitch: float
) -> None:
    seen = camera(yaw, pitch).to_camera((x, y, z))
    assert math.hypot(*seen) == pytest.approx(math.dist((x, y, z), (1, 2, 3)), abs=1e-9)


def test_a_polygon_around_the_camera_is_cut_at_the_near_plane() -> None:
    ground = [(1 + x, 2 + y, 0.0) for x, y in ((-9, -9), (9, -9), (9, 9), (-9, 9))]
    pixels = camera().polygon(ground)
    # the cut edge lies NEAR_M ahead and 3 m below: 180 + 100 * 3 / NEAR_M
    assert max(v for _, v in pixels) == pytest.approx(180 + 100 * 3 / NEAR_M)
    assert min(v for _, v in pixels) == pytest.approx(180 + 100 * 3 / 9)
    assert len(pixels) == 4


def test_a_polygon_behind_the_camera_is_nothing() -> None:
    assert camera().polygon([(-5, 0, 0), (-5, 1, 0), (-5, 1, 1)]) == []


def test_a_segment_is_cut_to_its_band_of_depths() -> None:
    view = camera()
    a, b = view.to_camera((-10, 2, 2)), view.to_camera((30, 2, 2))
    assert view.segment(a, b, 2.0, 10.0) == (
        (320.0, pytest.approx(180 + 100 / 2)),
        (320.0, pytest.approx(180 + 100 / 10)),
    )
    assert view.segment(a, b, 40.0, 50.0) is None
    across = view.to_camera((6, 0, 3)), view.to_camera((6, 4, 3))
    assert view.segment(*across, 1.0, 10.0) is not None
    assert view.segment(*across, 6.0, 10.0) is None


def test_rotate_turns_the_nose_to_the_left_for_a_positive_yaw() -> None:
    half = math.pi / 4
    assert rotate((math.cos(half), 0, 0, math.sin(half)), (1, 0, 0)) == pytest.approx((0, 1, 0))


@given(
    quaternion=st.tuples(finite, finite, finite, finite), vector=st.tuples(finite, finite, finite)
)
def test_rotate_keeps_lengths(quaternion: tuple[float, ...], vector: tuple[float, ...]) -> None:
    norm = math.hypot(*quaternion)
    assume(norm > 1e-3)
    turned = rotate([part / norm for part in quaternion], vector)
    assert math.hypot(*turned) == pytest.approx(math.hypot(*vector), abs=1e-9)
