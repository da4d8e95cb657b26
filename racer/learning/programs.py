"""Compiled programs that outlive the process: the second training of a shape compiles nothing.

JAX's own compilation cache spares the compilation, but not the tracing and lowering that lead to
it (a second of Python for a training). Here the finished executables are kept, under a name made
of everything they depend on: this package's source, the versions of JAX and XLA, the processor
and the devices, what the caller says is compiled in, and the arguments' shapes. Numbers are
arguments, not part of the name.

A file that cannot be read back is no fault: its program is compiled again and the file replaced.
The folder must be as private as the rest of DATA_DIR, because pickles are code.
"""

from __future__ import annotations

import hashlib
import os
import pickle
import platform
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import jax
from jax.experimental.serialize_executable import deserialize_and_load, serialize

from racer.learning.files import write_atomically

_PACKAGE = Path(__file__).parents[1]
_SOURCES = ("geometry", "sim", "learning", "rewards")
_KEPT = 30  # files; the oldest go first
_MAX_DEVICES = 4  # more would make minibatches too small to pay


class Program(NamedTuple):
    """What is to be compiled."""

    lower: Callable[[], jax.stages.Lowered]  # traces; called only when there is no file
    devices: int | None = 1  # that run it; None: all


def use_cores() -> None:
    """Make every core a device, up to four, so that algorithms can share drones among them.

    Without effect when JAX has begun to work already, and on machines with an accelerator.
    """
    cores = min(len(os.sched_getaffinity(0)), _MAX_DEVICES)
    try:
        jax.config.update("jax_num_cpu_devices", 1 << (cores.bit_length() - 1))  # type: ignore[no-untyped-call]  # JAX leaves it untyped
    except RuntimeError:  # its devices are made: what there is has to do
        return


def prepare(
    programs: Mapping[str, Program], *, compiled_in: str, folder: Path | None
) -> dict[str, jax.stages.Compiled]:
    """Load or compile programs, several at a time: XLA lets go of Python meanwhile.

    `compiled_in`: all that the programs depend on besides this package's code and the machine.
    `folder`: where they are kept; None keeps nothing.
    """
    paths = {name: _path(folder, name, compiled_in) for name in programs}
    with ThreadPoolExecutor(len(programs)) as pool:
        loading = {n: pool.submit(_load, paths[n], program) for n, program in programs.items()}
        ready = {name: task.result() for name, task in loading.items()}
        lowered = {n: program.lower() for n, program in programs.items() if ready[n] is None}
        compiling = {n: pool.submit(program.compile) for n, program in lowered.items()}
        compiled = {name: task.result() for name, task in compiling.items()}
    for name, program in compiled.items():
        _save(paths[name], program)
    return {name: ready[name] or compiled[name] for name in programs}


def _path(folder: Path | None, name: str, compiled_in: str) -> Path | None:
    if folder is None:
        return None
    digest = hashlib.sha256("\n".join([_surroundings(), compiled_in]).encode()).hexdigest()
    return folder / f"{name}-{digest[:32]}.program"


def _load(path: Path | None, program: Program) -> jax.stages.Compiled | None:
    if path is None or not path.is_file():
        return None
    content = path.read_bytes()
    digest, pickled = content[:32], content[32:]
    if hashlib.sha256(pickled).digest() != digest:
        return None
    os.utime(path)
    executable, arguments, results = pickle.loads(pickled)  # noqa: S301 - ours, in a private folder
    devices = jax.devices()[: program.devices]
    loaded: jax.stages.Compiled = deserialize_and_load(
        executable, arguments, results, execution_devices=devices
    )
    return loaded


def _save(path: Path | None, compiled: jax.stages.Compiled) -> None:
    if path is None:
        return
    pickled = pickle.dumps(serialize(compiled))
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, hashlib.sha256(pickled).digest() + pickled)
    files = sorted(path.parent.glob("*.program"), key=lambda file: file.stat().st_mtime)
    for old in files[:-_KEPT]:
        old.unlink(missing_ok=True)


@cache
def _surroundings() -> str:
    """Source, versions, processor and devices."""
    source = hashlib.sha256()
    for folder in _SOURCES:
        for file in sorted((_PACKAGE / folder).rglob("*.py")):
            source.update(file.read_bytes())
    device = jax.devices()[0]
    return "\n".join(
        [
            source.hexdigest(),
            jax.__version__,
            version("jaxlib"),
            platform.python_version(),
            _processor(),
            f"{jax.device_count()} {device.platform} {device.device_kind}",
            os.environ.get("XLA_FLAGS", ""),
        ]
    )


def _processor() -> str:
    """Compiled code uses all that this processor can do."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:  # not Linux
        return platform.processor()
    return "\n".join(sorted({line for line in lines if line.startswith(("model name", "flags"))}))
