"""Memory: what a run is said to need, and when one more is begun."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest

from racer.learning.algorithm import algorithms, settings_class
from racer.training.memory import NEEDS, Budget, cgroup_room, needed_mb
from tests.support import wait_for

MEASURED_MB: list[tuple[dict[str, Any], int]] = [  # as racer.training.memory tells
    ({"algorithm": "ppo"}, 1050),
    ({"algorithm": "ppo", "num_envs": 4096}, 1303),
    ({"algorithm": "ppo", "hidden": 256}, 1364),
    ({"algorithm": "sac"}, 1465),
    ({"algorithm": "sac", "num_envs": 2048}, 1671),
    ({"algorithm": "apg"}, 1642),
    ({"algorithm": "apg", "num_envs": 1024}, 1597),
    ({"algorithm": "apg", "hidden": 256}, 1686),
]


@pytest.mark.parametrize(("config", "measured"), MEASURED_MB)
def test_the_estimate_covers_what_was_measured_and_no_half_more(
    config: dict[str, Any], measured: int
) -> None:
    assert measured < needed_mb(config) < 1.5 * measured


def test_the_estimate_knows_every_algorithms_defaults() -> None:
    assert sorted(NEEDS) == algorithms()
    for name, needs in NEEDS.items():
        settings: Any = settings_class(name)()
        assert needs.drones == settings.num_envs
        assert needs.steps == getattr(settings, needs.steps_key)
        assert needs.hidden in (None, settings.hidden)


def budget(*, available: float, taken: float = 0.0, most: int = 0) -> Budget:
    return Budget(most_mb=most, available_mb=lambda: available, taken_mb=lambda folder: taken)


def test_one_run_always_may() -> None:
    assert budget(available=1.0, most=1).fits(5000.0, {})


def test_another_one_needs_room_beside_what_the_first_will_still_take() -> None:
    running = {"a": 1000.0}
    assert budget(available=2600.0).fits(1000.0, running)
    assert not budget(available=2400.0).fits(1000.0, running)
    assert budget(available=2400.0, taken=600.0).fits(1000.0, running)
    assert not budget(available=1400.0, taken=3000.0).fits(1000.0, running)  # the reserve


def test_a_limit_bounds_the_sum() -> None:
    running = {"a": 1000.0, "b": 500.0}
    assert budget(available=1e6, most=2500).fits(1000.0, running)
    assert not budget(available=1e6, most=2499).fits(1000.0, running)
    assert budget(available=1.0, most=2500).fits(1000.0, running)  # who sets it knows better


def test_what_a_process_has_taken_is_seen(tmp_path: Path) -> None:
    """A child that works in a folder needs no more than it has; another folder's still all."""
    hold = f"import sys; x = bytearray({300 * 10**6}); print(flush=True); sys.stdin.read()"
    command = [sys.executable, "-c", hold, "--output", str(tmp_path / "run")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        wait_for(
            "its memory", lambda: psutil.Process(child.pid).memory_info().rss > 3e8, timeout_s=10
        )
        decides = Budget(available_mb=lambda: 1000.0)
        assert decides.fits(400.0, {str(tmp_path / "run"): 300.0})
        assert not decides.fits(400.0, {str(tmp_path / "other"): 300.0})
        child.communicate()


def group(folder: Path, *, most: str, used: int, forgettable: int = 0) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "memory.max").write_text(most + "\n")
    (folder / "memory.current").write_text(f"{used}\n")
    (folder / "memory.stat").write_text(f"anon 5\ninactive_file {forgettable}\n")


def test_control_groups_bound_us_at_every_level(tmp_path: Path) -> None:
    root, own = tmp_path / "cgroup", tmp_path / "own"
    assert cgroup_room(root, own) is None
    own.write_text("0::/user/service\n")
    root.mkdir()
    assert cgroup_room(root, own) is None
    group(root / "user/service", most="max", used=70)
    assert cgroup_room(root, own) is None
    group(root / "user", most="1000", used=900, forgettable=50)
    assert cgroup_room(root, own) == 150
    group(root / "user/service", most="100", used=70)
    assert cgroup_room(root, own) == 30
    group(root / "user/service", most="100", used=120)
    assert cgroup_room(root, own) == 0


def test_inside_a_container_the_limit_stands_at_the_root(tmp_path: Path) -> None:
    root, own = tmp_path / "cgroup", tmp_path / "own"
    group(root, most="1000", used=400)
    for path in ("/", "/../../host/docker", "/not/mounted/here"):
        own.write_text(f"1:name=systemd:/x\n0::{path}\n")
        assert cgroup_room(root, own) == 600
