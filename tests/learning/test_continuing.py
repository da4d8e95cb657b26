"""A training that begins with another one's weights."""

from __future__ import annotations

import shutil
from itertools import islice
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from safetensors.numpy import load_file

from racer.errors import InvalidInputError, NotFoundError
from racer.learning import checkpoint
from racer.learning.algorithm import World, algorithms, build
from racer.learning.initial import first_state, write_weights
from racer.learning.networks import Normaliser
from racer.learning.training import Training, TrainingConfig
from racer.policy.weights import MUST_AGREE, Weights, read_initial
from racer.sim.airframe import load_airframe
from racer.sim.task import Settings, make_task
from racer.sim.track import load_track
from tests.learning.conftest import TINY
from tests.learning.test_checkpoint import outcome

INITIAL = "initial.safetensors"


@pytest.fixture(scope="module")
def parent(tmp_path_factory: pytest.TempPathFactory, cache: str) -> Path:
    """The weights of a training that is done."""
    folder = tmp_path_factory.mktemp("parent")
    given = TINY | {"epochs": 3, "compile_cache": cache, "seed": 5}
    for _ in Training(TrainingConfig.from_mapping(given), output=folder).epochs():
        pass
    return folder / "policy.safetensors"


def training(folder: Path, cache: str, weights: Path | None, **changes: Any) -> Training:
    given = TINY | {"epochs": 4, "compile_cache": cache} | changes
    if weights is not None:
        shutil.copyfile(weights, folder / INITIAL)
        given["initial"] = INITIAL
    return Training(TrainingConfig.from_mapping(given), output=folder)


def test_it_begins_with_those_weights_and_statistics(
    parent: Path, tmp_path: Path, cache: str
) -> None:
    """With no room to learn, what is left after an epoch is what it began with."""
    still = {"learning_rate": 0.0, "epochs": 1}
    list(training(tmp_path, cache, parent, **still).epochs())
    before, after = load_file(parent), load_file(tmp_path / "policy.safetensors")
    assert before.keys() == after.keys()
    for name in before:
        if not name.startswith("observation_"):
            np.testing.assert_allclose(after[name], before[name], atol=1e-6, err_msg=name)
    flown = 16 * 8  # and the spare drones of the first rollout
    assert after["observation_seen"] == before["observation_seen"] + flown + 16
    shift = np.abs(after["observation_mean"] - before["observation_mean"])
    assert np.all(shift < 3.0 * np.sqrt(before["observation_variance"]) + 1e-3)


def test_the_first_rollout_is_flown_from_real_starts(
    parent: Path, tmp_path: Path, cache: str
) -> None:
    """Known statistics must not be taken for flights that are under way: all arrays are zero then,
    and every number of the report would be wrong or none."""
    reports = list(training(tmp_path, cache, parent, epochs=1).epochs())
    assert np.isfinite(reports[0]["loss"])
    seen = load_file(tmp_path / "policy.safetensors")["observation_mean"]
    assert np.all(np.isfinite(seen))


def test_killed_it_goes_on_bit_for_bit(
    parent: Path, tmp_path: Path, cache: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoint, "_SHARE", 1.0)
    folders = [tmp_path / name for name in ("undisturbed", "killed", "fresh")]
    for folder in folders:
        folder.mkdir()
    whole = outcome(folders[0], list(training(folders[0], cache, parent).epochs()))
    told = training(folders[1], cache, parent).epochs()
    assert len(list(islice(told, 2))) == 2
    told.close()
    again = list(training(folders[1], cache, parent).epochs(resume_after=0))
    assert outcome(folders[1], again) == whole
    fresh = outcome(folders[2], list(training(folders[2], cache, None).epochs()))
    assert fresh[0][0]["loss"] != whole[0][0]["loss"]


def test_other_kinds_of_weights_are_refused_and_the_difference_named(
    parent: Path, tmp_path: Path, cache: str
) -> None:
    for changes, named in (
        ({"hidden": 8}, "'policy_1_weight' is 23×16 there and 23×8 here"),
        ({"action_space": "ctbr"}, "action_space is 'velocity' there and 'ctbr' here"),
        (
            {"track": "lsy_level2", "airframe": "cf21b"},
            "'observation_mean' is 23 there and 29 here",
        ),
    ):
        with pytest.raises(InvalidInputError, match=named):
            training(tmp_path, cache, parent, **changes)
    sac = {key: TINY[key] for key in ("epochs", "hidden", "num_envs", "evaluation_starts")}
    other = TrainingConfig.from_mapping(sac | {"algorithm": "sac", "initial": INITIAL})
    with pytest.raises(InvalidInputError, match="algorithm is 'ppo' there and 'sac' here"):
        Training(other, output=tmp_path)


def test_damaged_weights_are_noticed(parent: Path, tmp_path: Path) -> None:
    content = bytearray(parent.read_bytes())
    content[-20] ^= 1
    for name, bad, why in (
        ("flipped", bytes(content), "checksum"),
        ("cut", bytes(content[:-100]), "no weights"),
        ("empty", b"", "no weights"),
        ("text", b"weights" * 50, "no weights"),
    ):
        (tmp_path / name).write_bytes(bad)
        with pytest.raises(InvalidInputError, match=why):
            read_initial(tmp_path / name)
    with pytest.raises(NotFoundError):
        read_initial(tmp_path / "absent")


def test_the_defaults_that_must_agree_are_the_trainings() -> None:
    config = TrainingConfig()
    assert {key: getattr(config, key) for key in MUST_AGREE} == MUST_AGREE


def test_every_algorithm_leaves_all_that_it_begins_with(tmp_path: Path) -> None:
    """Critics too: the names and shapes that are written are those that a new training has."""
    world = World(load_airframe("x500"), Settings())
    limits = {"velocity_limit_m_s": 8.0, "yaw_limit_deg_s": 90.0}
    task = make_task(load_track("toledo"), world.simulation, **limits)
    for name in algorithms():
        config = TrainingConfig.from_mapping({"algorithm": name})
        algorithm = build(name, world, config.settings)
        fresh = algorithm.initial_parameters(0)
        state = jax.eval_shape(algorithm.initialise, task, fresh, jax.random.key(0))
        left = jax.eval_shape(algorithm.weights, state)
        assert {n: a.shape for n, a in left.items()} == {n: a.shape for n, a in fresh.items()}
        size = world.simulation.observation_size
        wide = Normaliser(np.full(size, 2.0), np.full(size, 3.0), np.array(7.0))
        write_weights(
            tmp_path / name, fresh, Normaliser(*map(np.float32, wide)), metadata={"config": "{}"}
        )
        found = read_initial(tmp_path / name)
        assert isinstance(found, Weights)
        begun = first_state(
            lambda task, given, seed, state=state: state._replace(key=given),
            algorithm,
            task,
            seed=0,
            known=found,
        )
        assert float(begun.normaliser.seen) == 7.0
        for key, array in fresh.items():
            np.testing.assert_array_equal(begun.key[key], array)
