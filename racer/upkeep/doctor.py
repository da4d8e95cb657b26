"""What this machine has of what the service needs, and how to get the rest. Changes nothing."""

from __future__ import annotations

import errno
import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from tempfile import TemporaryFile
from typing import Literal

import httpx
import psutil
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from packaging.requirements import Requirement
from sqlalchemy.exc import SQLAlchemyError

from database import Database, alembic_config
from racer.errors import ConfigurationError
from racer.flight.middleware import ros_environment
from racer.flight.ports import port_conflict
from racer.settings import REPOSITORY, Settings

Mark = Literal["ok", "note", "missing"]
_OLDEST_PYTHON = (3, 11)
_FREE_BYTES = 2e9  # of disk: a night of trainings and flights
_FREE_MEMORY = 2e9  # one training of the default model stays below it
_PATIENCE_S = 60.0  # of a child that imports JAX or ROS 2 on a busy machine


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report. `missing` keeps the service from running as it is set."""

    part: str
    mark: Mark
    said: str
    advice: str = ""

    @property
    def as_dict(self) -> dict[str, str]:
        """For `--json`."""
        return asdict(self)


def examine(settings: Settings) -> Iterator[Finding]:
    """Every finding, as soon as it is known."""
    yield _python()
    yield _packages(REPOSITORY / "requirements.txt")
    yield _disk(settings.data_dir)
    yield _memory()
    yield _database(settings)
    yield _web_port(settings)
    yield _vehicle_port(settings)
    yield _ros(settings)
    yield _accelerator()


def _python() -> Finding:
    said = f"{sys.version.split()[0]} at {sys.executable}"
    if sys.version_info < _OLDEST_PYTHON:
        return Finding("Python", "missing", said, "Install Python 3.11 or later, then `make run`.")
    return Finding("Python", "ok", said)


def _packages(file: Path) -> Finding:
    """Every line of requirements.txt against what is installed."""
    lines = [line.partition("#")[0].strip() for line in file.read_text().splitlines()]
    wanted = [Requirement(line) for line in lines if line]
    wrong = [problem for requirement in wanted if (problem := _package(requirement))]
    if wrong:
        return Finding("Packages", "missing", "; ".join(wrong), "Run `make install`.")
    return Finding("Packages", "ok", f"all {len(wanted)} of requirements.txt")


def _package(requirement: Requirement) -> str | None:
    try:
        found = version(requirement.name)
    except PackageNotFoundError:
        return f"{requirement.name} is not installed"
    if requirement.specifier.contains(found, prereleases=True):
        return None
    return f"{requirement.name} is {found}, wanted {requirement.specifier}"


def _disk(data_dir: Path) -> Finding:
    folder = data_dir.resolve()
    while not folder.exists():
        folder = folder.parent
    try:
        TemporaryFile(dir=folder).close()  # has no name: nothing is left
    except OSError as error:
        return Finding(
            "Disk",
            "missing",
            f"{folder} cannot be written: {error.strerror}",
            "Set DATA_DIR to a folder that can be, change its owner, or make room.",
        )
    free = shutil.disk_usage(folder).free
    said = f"{free / 1e9:.1f} GB free for {data_dir}"
    if free < _FREE_BYTES:
        return Finding("Disk", "note", said, "Trainings pause when it is full: make room.")
    return Finding("Disk", "ok", said)


def _memory() -> Finding:
    free = psutil.virtual_memory().available
    said = f"{free / 1e9:.1f} GB free, {psutil.cpu_count()} cores"
    if free < _FREE_MEMORY:
        return Finding("Memory", "note", said, "Trainings wait until there is more.")
    return Finding("Memory", "ok", said)


def _database(settings: Settings) -> Finding:
    try:
        database = Database(settings.effective_database_url)
    except ConfigurationError as error:
        return Finding("Database", "missing", error.message)
    file = database.engine.url.database or ""
    if database.engine.dialect.name == "sqlite" and not Path(file).exists():
        return Finding("Database", "ok", f"{database.place} will be made at the first start")
    try:
        with database.engine.connect() as connection:
            revision = MigrationContext.configure(connection).get_current_revision()
    except SQLAlchemyError as error:
        reason = str(getattr(error, "orig", None) or error).strip().partition("\n")[0]
        return Finding(
            "Database",
            "missing",
            f"{database.place}: {reason}",
            "Start it, or mend DATABASE_URL; empty means SQLite in DATA_DIR.",
        )
    finally:
        database.dispose()
    scripts = ScriptDirectory.from_config(alembic_config())
    if revision == scripts.get_current_head():
        return Finding("Database", "ok", f"{database.place}, tables of this release")
    if revision in {None, *(script.revision for script in scripts.walk_revisions())}:
        return Finding("Database", "ok", f"{database.place} will be migrated at the next start")
    return Finding(
        "Database",
        "missing",
        f"{database.place} is of a newer release ({revision})",
        "Use that release, or another database.",
    )


def _web_port(settings: Settings) -> Finding:
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    place = f"{host}:{settings.port}"
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the server does
        try:
            probe.bind((settings.host, settings.port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return _who_serves(place)
            return Finding("Web port", "missing", f"{place}: {error.strerror}", "Set HOST, PORT.")
    return Finding("Web port", "ok", f"{place} is free")


def _who_serves(place: str) -> Finding:
    try:
        ours = httpx.get(f"http://{place}/livez", timeout=2).json() == {"alive": True}
    except (httpx.HTTPError, httpx.InvalidURL, ValueError):
        ours = False
    if ours:
        return Finding("Web port", "ok", f"a Toledo Racer answers at http://{place}")
    return Finding(
        "Web port", "missing", f"{place} is taken by another program", "Set PORT to a free one."
    )


def _vehicle_port(settings: Settings) -> Finding:
    try:
        conflict = port_conflict(settings.effective_autopilot_url)
    except ConfigurationError as error:
        return Finding("Vehicle", "missing", error.message)
    if conflict:
        return Finding(
            "Vehicle",
            "note",
            conflict,
            "Fine if that is the controller; else stop it, or set VEHICLE_INSTANCE.",
        )
    return Finding("Vehicle", "ok", f"{settings.effective_autopilot_url} is free")


def _ros(settings: Settings) -> Finding:
    program = "import rclpy; rclpy.init(); rclpy.create_node('doctor').destroy_node(); print('ok')"
    variables = ros_environment(
        settings.ros_domain_id, settings.ros_automatic_discovery_range, os.environ
    )
    said, error = _child(program, variables)
    if said == "ok":
        return Finding("ROS 2", "ok", f"a node starts in domain {settings.ros_domain_id}")
    return Finding("ROS 2", "missing", error, "Run `make install`; unset a foreign PYTHONPATH.")


def _accelerator() -> Finding:
    said, error = _child(
        "import json, jax; print(json.dumps([d.device_kind for d in jax.devices() "
        "if d.platform != 'cpu']))",
        {},
    )
    try:
        devices = json.loads(said)
    except ValueError:
        return Finding("JAX", "missing", error, "Run `make install`.")
    if devices:
        return Finding("JAX", "ok", f"trains on {', '.join(devices)}")
    if shutil.which("nvidia-smi"):
        return Finding(
            "JAX",
            "note",
            "trains on the CPU although there is an NVIDIA driver",
            'Run `.venv/bin/pip install "jax[cuda13]"`.',
        )
    return Finding("JAX", "ok", "trains on the CPU")


def _child(program: str, variables: dict[str, str]) -> tuple[str, str]:
    """What a Python of its own prints last, and the last line of what went wrong: a library that
    crashes takes only that one with it."""
    try:
        done = subprocess.run(  # noqa: S603 - ours
            [sys.executable, "-c", program],
            check=False,
            capture_output=True,
            text=True,
            timeout=_PATIENCE_S,
            env=os.environ | variables,
        )
    except subprocess.TimeoutExpired:
        return "", f"no answer within {_PATIENCE_S:.0f} s"
    lines = done.stdout.strip().splitlines() or [""]
    errors = done.stderr.strip().splitlines() or [f"it ended with {done.returncode}"]
    return lines[-1] if done.returncode == 0 else "", errors[-1]
