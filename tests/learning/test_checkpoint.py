"""A training that was interrupted ends as if it never was."""

from __future__ import annotations

import hashlib
from itertools import islice
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors import safe_open

from racer.learning import checkpoint
from racer.learning.algorithm import World, algorithms, build
from racer.learning.checkpoint import Checkpoint, Checkpoints
from racer.learning.training import Training, TrainingConfig
from racer.sim.airframe import load_airframe
from racer.sim.task import Settings, make_task
from racer.sim.track import load_track
from tests.learning.conftest import TINY

FEW = {"num_envs": 16, "iterations_per_epoch": 2, "hidden": 16, "evaluation_starts": 4}
SAC = FEW | {"algorithm": "sac", "rollout_steps": 4, "n_step": 2, "buffer_steps": 8, "updates": 2}
SAC |= {"batch_size": 16}
SMALL = {"ppo": TINY, "sac": SAC}
EPOCHS = 5
RESULTS = ("policy.onnx", "flight.npz")


@pytest.fixture(autouse=True)
def every_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Checkpoints may take all the time there is."""
    monkeypatch.setattr(checkpoint, "_SHARE", 1.0)


def training(folder: Path, cache: str, algorithm: str = "ppo", **changes: Any) -> Training:
    given = SMALL[algorithm] | {"epochs": EPOCHS, "compile_cache": cache} | changes
    return Training(TrainingConfig.from_mapping(given), output=folder)


def interrupted(folder: Path, cache: str, *, after: int, algorithm: str = "ppo") -> None:
    """As a kill leaves it: the epoch's report was just told."""
    told = training(folder, cache, algorithm).epochs()
    assert [report["epoch"] for report in islice(told, after)] == list(range(1, after + 1))
    told.close()


def outcome(folder: Path, reports: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], list[str]]:
    """All that must be equal: what was told and what the files hold."""
    digests = [hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in RESULTS]
    with safe_open(folder / "policy.safetensors", framework="numpy") as file:
        digests.append(repr(sorted(file.metadata().items())))  # their order in the file varies
        digests += [f"{name} {file.get_tensor(name).tobytes().hex()}" for name in file.keys()]  # noqa: SIM118
    return [{k: v for k, v in report.items() if k != "seconds"} for report in reports], digests


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, cache: str) -> Any:
    known: dict[str, Any] = {}

    def result(algorithm: str = "ppo") -> Any:
        if algorithm not in known:
            folder = tmp_path_factory.mktemp(algorithm)
            known[algorithm] = outcome(folder, list(training(folder, cache, algorithm).epochs()))
        return known[algorithm]

    return result


def checkpoints(folder: Path) -> list[Path]:
    return sorted(folder.glob("checkpoint-*.bin"))


@pytest.mark.parametrize("algorithm", SMALL)
def test_it_goes_on_bit_for_bit(
    tmp_path: Path, cache: str, algorithm: str, undisturbed: Any
) -> None:
    interrupted(tmp_path, cache, after=3, algorithm=algorithm)
    assert [path.name for path in checkpoints(tmp_path)] == [
        "checkpoint-000002.bin",
        "checkpoint-000003.bin",
    ]
    reports = list(training(tmp_path, cache, algorithm).epochs(resume_after=0))
    assert outcome(tmp_path, reports) == undisturbed(algorithm)
    seconds = [report["seconds"] for report in reports]
    assert seconds == sorted(seconds)
    assert checkpoints(tmp_path) == []


def test_every_algorithms_state_comes_back_as_it_was(tmp_path: Path) -> None:
    """Random keys too, which are no plain arrays. (That the same state trains on in the same way,
    each algorithm's own tests say.)"""
    for name in algorithms():
        config = TrainingConfig.from_mapping({"algorithm": name})
        world = World(load_airframe("x500"), Settings())
        algorithm = build(name, world, config.settings)
        limits = {"velocity_limit_m_s": 8.0, "yaw_limit_deg_s": 90.0}
        task = make_task(load_track("toledo"), world.simulation, **limits)
        state = jax.eval_shape(
            algorithm.initialise, task, algorithm.initial_parameters(0), jax.random.key(0)
        )
        written = jax.tree.map(_some, state)
        checkpoints = Checkpoints(tmp_path, config)
        checkpoints.write(Checkpoint(7, written, (0.5, -3.0), 1.5, [{"epoch": 7}]))
        found = checkpoints.newest(written)
        assert found is not None
        assert found._replace(state=None) == Checkpoint(7, None, (0.5, -3.0), 1.5, [{"epoch": 7}])
        pairs = zip(*map(jax.tree.leaves, (written, found.state)), strict=True)
        for before, after in pairs:
            assert before.dtype == after.dtype
            assert bool((before == after).all())
        checkpoints.clear()


def _some(shape: jax.ShapeDtypeStruct) -> Any:
    """Numbers, or keys, of that shape."""
    if jnp.issubdtype(shape.dtype, jax.dtypes.prng_key):
        return jax.random.split(jax.random.key(3), shape.shape)
    return np.random.default_rng(1).integers(0, 2, shape.shape).astype(shape.dtype)


def test_what_is_known_already_is_not_told_again(
    tmp_path: Path, cache: str, undisturbed: Any
) -> None:
    interrupted(tmp_path, cache, after=3)
    reports = list(training(tmp_path, cache).epochs(resume_after=4))  # a checkpoint behind
    assert outcome(tmp_path, reports)[0] == undisturbed()[0][4:]


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "gone"])
def test_a_damaged_checkpoint_is_noticed_and_the_one_before_used(
    tmp_path: Path, cache: str, damage: str, undisturbed: Any, caplog: pytest.LogCaptureFixture
) -> None:
    interrupted(tmp_path, cache, after=3)
    newest = checkpoints(tmp_path)[-1]
    content = bytearray(newest.read_bytes())
    content[len(content) // 2] ^= 1
    damaged = {"cut": content[:-100], "flipped": content, "empty": b""}
    newest.unlink() if damage == "gone" else newest.write_bytes(damaged[damage])
    reports = list(training(tmp_path, cache).epochs(resume_after=0))
    assert outcome(tmp_path, reports) == undisturbed()
    assert ("checksum" in caplog.text) == (damage != "gone")


def test_without_any_it_begins_anew(tmp_path: Path, cache: str, undisturbed: Any) -> None:
    reports = list(training(tmp_path, cache).epochs(resume_after=0))
    assert outcome(tmp_path, reports) == undisturbed()


def test_another_configurations_checkpoint_is_not_used(
    tmp_path: Path, cache: str, undisturbed: Any
) -> None:
    told = training(tmp_path, cache, seed=7).epochs()
    next(told)
    told.close()
    reports = list(training(tmp_path, cache).epochs(resume_after=0))
    assert outcome(tmp_path, reports) == undisturbed()


def test_all_epochs_done_but_not_exported(tmp_path: Path, cache: str, undisturbed: Any) -> None:
    interrupted(tmp_path, cache, after=EPOCHS)
    assert not (tmp_path / "policy.onnx").exists()
    reports = list(training(tmp_path, cache).epochs(resume_after=EPOCHS))
    assert reports == []
    assert outcome(tmp_path, [])[1] == undisturbed()[1]


def test_large_states_are_written_rarely(
    tmp_path: Path, cache: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoint, "_SHARE", 1e-9)
    interrupted(tmp_path, cache, after=3)
    assert [path.name for path in checkpoints(tmp_path)] == ["checkpoint-000001.bin"]
