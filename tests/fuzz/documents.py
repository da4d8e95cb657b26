"""The parsers of what users write, draw and upload, each with valid examples to begin from."""

from __future__ import annotations

import asyncio
import functools
import json
import random
import tempfile
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import onnx
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError

from racer.errors import InvalidInputError
from racer.policy import archive
from racer.policy.export import write_policy
from racer.policy.loading import open_network
from racer.policy.manifest import Manifest, parse_manifest
from racer.rewards.check import check, compile_source
from racer.rewards.diagnostics import InvalidRewardError
from racer.sim.airframe import airframe_names, parse_airframe
from racer.sim.track import parse_track, shipped_text, track_names
from racer.tracks import courses
from racer.tracks.drawing import draw
from racer.web import errors
from schemas import DroneDetails, DroneModelCreate, FlightSettings
from tests.fuzz import mutate
from tests.fuzz.mutate import decoded, encoded
from tests.policy.rig import CONFIG, origin, random_network
from tests.tracks.texts import LOOP

REPOSITORY = Path(__file__).resolve().parents[2]
DETAILS: tuple[dict[str, Any], ...] = (
    {},
    {
        "raceType": "time-trial",
        "algorithm": "SAC",
        "flightAltitude": "2.5",
        "velocityLimit": 10,
        "yawLimit": " 120 ",
        "enableWind": "on",
        "windSpeed": "3",
        "track": "split_s",
        "rewardFunction": "def reward_function(params):\n    return params['speed']\n",
        "colour": {"hue": [0.5, None, True]},
    },
    {"algorithm": "apg", "enableWind": True, "windSpeed": 7.5, "track": "ada/my course"},
)


class RefusedJsonError(Exception):
    """What FastAPI answers itself, before anything of ours."""


def drone_model(data: bytes) -> None:
    """The body of a new drone model, and how its refusal is told."""
    try:
        body = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise RefusedJsonError from error
    try:
        model = DroneModelCreate.model_validate(body)
    except ValidationError as error:
        _tell(error)
        raise
    _sane(model.drone_details.flight_settings())
    model.model_dump_json()
    stored = json.loads(json.dumps(model.drone_details.as_sent(), ensure_ascii=False).encode())
    assert (
        DroneDetails.model_validate(stored).flight_settings()
        == model.drone_details.flight_settings()
    )


def _tell(error: ValidationError) -> None:
    answering = errors._validation_error(None, RequestValidationError(error.errors()))  # type: ignore[arg-type]
    answer = asyncio.run(answering)
    assert len(answer.body) < 64_000, "a short text can make a long answer"


def _sane(settings: FlightSettings) -> None:
    """As racer.training takes them on trust."""
    assert settings.altitude_m is None or 1.5 <= settings.altitude_m <= 100.0
    assert 0.5 <= settings.velocity_limit_m_s <= 20.0
    assert 5.0 <= settings.yaw_limit_deg_s <= 360.0
    assert 0.0 <= settings.wind_speed_m_s <= 15.0
    settings.race_type.encode()


def reward(data: bytes) -> None:
    """A reward function's text: checking never raises, and agrees with compiling."""
    source = decoded(data)
    program, diagnostics = check(source)
    told = json.dumps([item.as_dict() for item in diagnostics])
    assert len(told) < 64_000, "a short text can make a long answer"
    assert all(item.message for item in diagnostics), "a complaint that says nothing"
    if program is None:
        assert diagnostics, "refused without a word"
        raise InvalidRewardError(diagnostics)
    kept = {len(program.memory), len(program.memory_kinds), len(program.memory_first)}
    assert len(kept) == 1, "what is kept has not as many starts, kinds and ends"


def reward_in_full(data: bytes) -> None:
    """The same by its other door."""
    compile_source(decoded(data))


def track_toml(data: bytes) -> None:
    """A course as TOML; what is taken is the same after being written out by us."""
    _course(data, is_json=False)


def track_json(data: bytes) -> None:
    """A course as JSON."""
    _course(data, is_json=True)


def _course(data: bytes, *, is_json: bool) -> None:
    content = courses.read_text(data, is_json=is_json)
    track = courses.read_course(content)
    content.encode()
    assert 0.0 <= courses.length_m(track) < 1e7
    courses.airframes_for(track)
    again = parse_track(courses.canonical(track))
    assert courses.canonical(again) == courses.canonical(track)


def drawing(data: bytes) -> None:
    """The picture of whatever course is taken."""
    track = courses.read_course(courses.read_text(data, is_json=False))
    draw(track, title=track.name).encode()


def airframe(data: bytes) -> None:
    """A vehicle's table, as manifests carry it."""
    try:
        table = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise RefusedJsonError from error
    if not isinstance(table, dict):
        raise RefusedJsonError
    parse_airframe(table)


def manifest(data: bytes) -> None:
    """A policy's manifest: what is taken can be kept in a row and told to a client."""
    _storable(parse_manifest(data))


def _storable(taken: Manifest) -> None:
    told = taken.model_dump(mode="json")
    if archive.nesting(told) > 16:  # racer.policy.tasks refuses these
        raise InvalidInputError("too deep")
    json.dumps(told, allow_nan=False, ensure_ascii=False).encode()


def upload(data: bytes) -> None:
    """A zip from a stranger."""
    with tempfile.NamedTemporaryFile(dir=_memory()) as file:
        file.write(data)
        file.flush()
        archive.read_archive(Path(file.name))


def _memory() -> str | None:
    """A folder in memory: a million files need no disk."""
    return "/dev/shm" if Path("/dev/shm").is_dir() else None  # noqa: S108


def network(data: bytes) -> None:
    """An ONNX file from a stranger, loaded and probed."""
    open_network(data, observations=_policy().observations)


class _Files:
    """A small policy's files."""

    def __init__(self) -> None:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            report = {"epoch": 2, "env_steps": 1024, "accuracy": 0.5, "mean_lap_time_s": None}
            made = write_policy(
                folder, random_network(hidden=8), origin(), config=CONFIG, epoch=2, report=report
            )
            self.observations = len(made.observation)
            self.network = (folder / "policy.onnx").read_bytes()
            self.manifest = (folder / "manifest.json").read_bytes()
            packed = folder / "policy.zip"
            with packed.open("wb") as file:
                archive.write_archive(file, folder, sha256=made.policy.sha256)
            self.zip = packed.read_bytes()


@functools.cache
def _policy() -> _Files:
    return _Files()


def reward_corpus() -> tuple[bytes, ...]:
    """Published reward functions, and texts that use what is seldom used."""
    published = sorted((REPOSITORY / "tests/rewards/published").glob("*.txt"))
    return tuple(path.read_bytes() for path in published)


def track_corpus() -> tuple[bytes, ...]:
    """The shipped courses and one with everything in it."""
    return (encoded(LOOP), *(encoded(shipped_text(name)) for name in track_names()))


def track_tables() -> tuple[bytes, ...]:
    """The same as JSON."""
    return tuple(encoded(json.dumps(tomllib.loads(decoded(text)))) for text in track_corpus())


def airframe_corpus() -> tuple[bytes, ...]:
    """The shipped airframes."""
    folder = REPOSITORY / "racer/sim/airframes"
    texts = [(folder / f"{name}.toml").read_text() for name in airframe_names()]
    return tuple(encoded(json.dumps(tomllib.loads(text))) for text in texts)


def model_corpus() -> tuple[bytes, ...]:
    """Bodies of new drone models."""
    head = {"title": "First laps", "description": "", "training_epochs": 20}
    return tuple(encoded(json.dumps(head | {"drone_details": details})) for details in DETAILS)


def policy_files() -> dict[str, tuple[bytes, ...]]:
    """Examples of what a policy is made of, by parser."""
    files = _policy()
    return {"network": (files.network,), "manifest": (files.manifest,), "upload": (files.zip,)}


def as_graph(  # noqa: PLR0912 - one branch a change
    rng: random.Random, corpus: Sequence[bytes]
) -> bytes:
    """A network of which a node, a layer or a port is changed."""
    model = onnx.load_model_from_string(rng.choice(corpus))
    graph = model.graph
    for _ in range(rng.choice((1, 1, 2, 4))):
        node, layer = rng.choice(graph.node), rng.choice(graph.initializer)
        match rng.randrange(12):
            case 0:
                node.op_type = rng.choice(
                    ("Add", "Mul", "MatMul", "Gemm", "Loop", "If", "Tile", "Tanh", "Clip", "", "é")
                )
            case 1:
                node.input.append(rng.choice([*node.input, *node.output, "", "nothing"]))
            case 2 if node.input:
                node.input[rng.randrange(len(node.input))] = rng.choice(graph.initializer).name
            case 3:
                graph.node.append(node)
            case 4:
                graph.node.remove(node)
                if not graph.node:
                    break
            case 5:
                layer.dims[:] = [rng.choice((0, 1, 8, 1024, 1025, 2**40, -1)) for _ in range(2)]
            case 6:
                layer.raw_data = layer.raw_data[: rng.randrange(len(layer.raw_data) + 1)]
            case 7:
                layer.data_type = rng.randrange(24)
            case 8:
                node.attribute.append(
                    onnx.helper.make_attribute("alpha", rng.choice((0.0, 7, float("nan"))))
                )
            case 9:
                port = rng.choice([graph.input[0], graph.output[0]])
                size = port.type.tensor_type.shape.dim.add()
                size.dim_value = rng.choice((0, 1, 2**40))
            case 10:
                model.opset_import[0].version = rng.choice((0, 1, 99, 2**40))
            case _:
                layer.raw_data = (
                    bytes(rng.randrange(256) for _ in layer.raw_data[:64]) + layer.raw_data[64:]
                )
    data: bytes = model.SerializeToString()
    return data


as_network = mutate.mixed((2, as_graph), (1, mutate.raw))
