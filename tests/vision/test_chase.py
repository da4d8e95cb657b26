"""The chase view, judged by its pixels."""

from __future__ import annotations

import math
import subprocess
import sys
import time
from io import BytesIO
from statistics import median

import pytest
from PIL import Image, ImageChops

from racer.sim.track import Track, load_track, parse_track
from racer.vision.chase import render_chase

LEVEL_NORTH = (math.cos(math.pi / 4), 0.0, 0.0, math.sin(math.pi / 4))


@pytest.fixture(scope="module")
def track() -> Track:
    return load_track("toledo")


def picture(track: Track, position: tuple[float, ...], **options: object) -> Image.Image:
    arguments: dict[str, object] = {
        "position": position, "quaternion": LEVEL_NORTH, "caption": "",
    } | options  # fmt: skip
    jpeg = render_chase(track, **arguments)  # type: ignore[arg-type]  # checked by the call itself
    return Image.open(BytesIO(jpeg)).convert("RGB")


def orange_columns(image: Image.Image) -> list[int]:
    """Columns above the drone, caption and shadow that show the highlighted gate's colour."""
    width, height = image.size
    pixels = image.load()
    assert pixels is not None
    return [
        x
        for x in range(width)
        for y in range(height // 2)
        if pixels[x, y][0] - pixels[x, y][2] > 70  # type: ignore[index]  # RGB: a tuple
    ]


def difference(a: Image.Image, b: Image.Image, box: tuple[int, int, int, int]) -> int:
    """Greatest difference of any channel inside the box."""
    extrema = ImageChops.difference(a, b).crop(box).getextrema()
    return max(int(high) for _, high in extrema)  # type: ignore[misc]  # RGB: a pair per channel


@pytest.mark.parametrize("size", [(640, 360), (320, 240), (64, 48)])
def test_it_is_a_jpeg_of_the_size_asked_for(track: Track, size: tuple[int, int]) -> None:
    jpeg = render_chase(track, (0, 0, 2.5), LEVEL_NORTH, caption="hello", size=size)
    image = Image.open(BytesIO(jpeg))
    assert (image.format, image.size) == ("JPEG", size)


def test_the_sky_is_above_and_the_ground_below(track: Track) -> None:
    image = picture(track, (0, 0, 2.5))
    sky, ground = image.getpixel((5, 5)), image.getpixel((8, 320))
    assert isinstance(sky, tuple)
    assert isinstance(ground, tuple)
    assert sky[2] > sky[1] > sky[0]
    assert ground[1] > ground[2]


def test_the_next_gate_is_orange_and_where_it_should_be(track: Track) -> None:
    ahead = orange_columns(picture(track, (0, 0, 2.5), next_gate=0))
    assert sum(ahead) / len(ahead) == pytest.approx(320, abs=15)
    to_the_right = orange_columns(picture(track, (0, 0, 2.5), next_gate=1))
    assert min(to_the_right) > 400


def test_without_a_hint_the_nearest_gate_ahead_is_next(track: Track) -> None:
    assert picture(track, (0, 0, 2.5)) == picture(track, (0, 0, 2.5), next_gate=0)
    assert picture(track, (0, 8, 2.5)) == picture(track, (0, 8, 2.5), next_gate=1)


def test_gates_that_are_passed_count_around_the_lap(track: Track) -> None:
    assert picture(track, (0, 0, 2.5), next_gate=6) == picture(track, (0, 0, 2.5), next_gate=0)


POLE = "obstacles = [{ position = [0.0, 3.0, 0.0], radius_m = 0.15, height_m = 3.0 }]"
SHAPE = """
name = "shape"
start = { position = [0, 0, 2.5], yaw_deg = 90 }
bounds = { min = [-9, -9, 0], max = [9, 19, 9] }
"""
GATE = "{{ position = [0, 9, 2.5], yaw_deg = 90, size_m = 3.0, frame_m = 0.4{shape} }}"


def course(shape: str = "", obstacles: str = "") -> Track:
    return parse_track(f"{SHAPE}gates = [{GATE.format(shape=shape)}]\n{obstacles}")


def test_a_pole_is_red_upright_and_hides_what_is_behind_it() -> None:
    with_pole, without = (picture(course("", poles), (2, -1, 2.5)) for poles in (POLE, ""))
    box = ImageChops.difference(with_pole, without).convert("L").point(lambda v: 255 * (v > 40))
    left, top, right, bottom = box.getbbox() or (0, 0, 0, 0)
    assert bottom - top > 4 * (right - left)
    middle = ((left + right) // 2, (top + bottom) // 2)
    red, green, blue = with_pole.getpixel(middle)  # type: ignore[misc] # RGB: a tuple
    assert red > 2 * max(green, blue)
    behind = picture(course("", POLE.replace("3.0, 0.0]", "18.0, 0.0]")), (2, -1, 2.5))
    assert behind.getpixel(middle) == without.getpixel(middle)


def test_a_round_gate_is_a_ring_on_one_leg() -> None:
    square, ring = picture(course(), (0, 0, 2.5)), picture(course(", shape = 'round'"), (0, 0, 2.5))

    def orange(image: Image.Image, x: int, y: int) -> bool:
        red, _, blue = image.getpixel((x, y))  # type: ignore[misc] # RGB: a tuple
        return bool(red - blue > 70)

    box = orange_box(square)
    left, top, right, _ = box
    middle = (left + right) // 2
    assert orange_box(ring)[:3] == pytest.approx(box[:3], abs=3)
    assert orange(square, left + 3, top + 3)
    assert not orange(ring, left + 3, top + 3)
    assert orange(ring, middle, top + 3)
    assert not orange(ring, middle, top + (right - left) // 4)


def orange_box(image: Image.Image) -> tuple[int, int, int, int]:
    """Around everything in the colour of the highlighted gate, above the drone."""
    red, _, blue = image.crop((0, 0, image.width, image.height // 2)).split()
    return ImageChops.subtract(red, blue).point(lambda v: 255 * (v > 70)).getbbox() or (0, 0, 0, 0)


def test_attitude_moves_the_drone_but_not_the_horizon(track: Track) -> None:
    level = picture(track, (0, 0, 30))
    rolled = picture(track, (0, 0, 30), quaternion=_turned_by_roll(math.radians(40)))
    assert difference(level, rolled, (250, 170, 390, 260)) > 60
    assert difference(level, rolled, (0, 0, 150, 330)) < 12  # same heading, same world


def _turned_by_roll(roll: float) -> tuple[float, float, float, float]:
    """Facing north, then rolled about the nose: product of the two quaternions."""
    (a, _, _, d), (c, s) = LEVEL_NORTH, (math.cos(roll / 2), math.sin(roll / 2))
    return a * c, a * s, d * s, d * c


def test_the_shadow_is_darker_near_the_ground(track: Track) -> None:
    def brightness(height: float) -> float:
        below = picture(track, (0, 0, height)).crop((285, 228, 355, 252)).convert("L")
        return sum(below.tobytes()) / len(below.tobytes())

    assert brightness(0.3) < brightness(5.0) - 10


def test_the_caption_is_written(track: Track) -> None:
    silent, named = picture(track, (0, 0, 2.5)), picture(track, (0, 0, 2.5), caption="epoch 7")
    assert difference(silent, named, (0, 335, 200, 360)) > 100
    assert difference(silent, named, (0, 0, 640, 320)) == 0


def test_speed_and_height_are_told_when_there_is_a_speed(track: Track) -> None:
    numbers = (480, 335, 640, 360)
    silent = picture(track, (0, 0, 2.5))
    slow, fast = (picture(track, (0, 0, 2.5), speed_m_s=speed) for speed in (0.0, 8.8))
    assert difference(silent, slow, numbers) > 100
    assert difference(slow, fast, numbers) > 100


@pytest.mark.parametrize(
    "quaternion", [(0, 0, 0, 0), (0, 1, 0, 0), (2, 0, 0, 0), (math.sqrt(0.5), 0, math.sqrt(0.5), 0)]
)
def test_strange_attitudes_still_make_a_picture(
    track: Track, quaternion: tuple[float, ...]
) -> None:
    assert picture(track, (0, 7, 0.0), quaternion=quaternion).size == (640, 360)


def test_a_frame_costs_little(track: Track) -> None:
    """The web process draws these: thread time, so that a busy machine does not count."""
    costs = []
    for step in range(30):
        begin = time.thread_time()
        render_chase(track, (0, 0.4 * step, 2.5), LEVEL_NORTH, caption="x")
        costs.append(time.thread_time() - begin)
    assert median(costs) < 0.012


def test_drawing_needs_no_learning_library() -> None:
    code = "import sys, racer.vision.chase; sys.exit('jax' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
