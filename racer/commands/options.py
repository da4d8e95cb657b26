"""What several commands read from the command line in the same way."""

from __future__ import annotations

import argparse
import json
import signal
import threading
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from racer.errors import InvalidInputError, NotFoundError

MAX_CONFIG_BYTES = 1 << 20


def shipped(folder: str) -> str:
    """Names of the TOML files that come along in a folder of `racer`, for help texts."""
    files = (Path(__file__).resolve().parents[1] / folder).glob("*.toml")
    return ", ".join(sorted(file.stem for file in files)) or "none"


def add_policy(parser: argparse.ArgumentParser) -> None:
    """The option that names a policy's folder."""
    parser.add_argument(
        "--policy",
        type=Path,
        required=True,
        metavar="DIR",
        help="folder with policy.onnx and manifest.json: a training's, or an exported one",
    )


def read_config(path: Path) -> dict[str, Any]:
    """The table in a JSON or TOML file; RacerError says what is wrong with the file."""
    try:
        if path.stat().st_size > MAX_CONFIG_BYTES:
            raise InvalidInputError(f"{path} is larger than {MAX_CONFIG_BYTES} bytes.")
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise NotFoundError(f"There is no file {path}.") from error
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInputError(f"Cannot read {path}: {error}.") from error
    kind = "TOML" if path.suffix == ".toml" else "JSON"
    try:
        given = tomllib.loads(text) if kind == "TOML" else json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidInputError(f"{path} is not {kind}: {error}") from error
    if not isinstance(given, dict):
        raise InvalidInputError(f"{path} must hold one table of keys and values.")
    return given


def assignment(text: str) -> tuple[str, Any]:
    """`key=value` for argparse; the value is JSON, or a text when it is not."""
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise argparse.ArgumentTypeError(f"'{text}' is not KEY=VALUE")
    try:
        return key.strip(), json.loads(value)
    except (ValueError, RecursionError):
        return key.strip(), value


@contextmanager
def ends_at_once() -> Iterator[None]:
    """Let Ctrl-C end the process at once meanwhile: Python's own handler would wait for the end
    of a compiled program. Only where nothing has to be put in order afterwards."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
