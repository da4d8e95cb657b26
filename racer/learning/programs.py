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
import logging
import os
import pickle
import platform
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import TypeAlias

import jax
from jax.experimental.serialize_executable import deserialize_and_load, serialize

from racer.files import write_atomically
from racer.learning.files import private_folder

_PACKAGE = Path(__file__).parents[1]
_SOURCES = ("geometry", "sim", "learning", "rewards")
_SETTINGS = ("JAX_", "XLA_")  # environment variables that may change what is compiled
_OPTIONS = ("jax_enable_x64", "jax_default_matmul_precision", "jax_default_prng_impl")
_CPU = ("model name", "flags", "Features", "CPU implementer", "CPU part")  # x86; Arm
_KEPT = 30  # files; the oldest go first
_MAX_DEVICES = 4  # more would make minibatches too small to pay
_ABANDONED_S = 3600.0  # a part of a file this old belongs to a process that was killed

log = logging.getLogger(__name__)


Lower: TypeAlias = Callable[[], jax.stages.Lowered]  # traces; called only when there is no file


def use_cores() -> None:
    """Make every core a device, up to four, so that algorithms can share drones among them.

    Without effect when JAX has begun to work already, and on machines with an accelerator.
    """
    has_affinity = hasattr(os, "sched_getaffinity")  # on Linux
    available = len(os.sched_getaffinity(0)) if has_affinity else os.cpu_count() or 1
    cores = min(available, _MAX_DEVICES)
    try:
        jax.config.update("jax_num_cpu_devices", 1 << (cores.bit_length() - 1))  # type: ignore[no-untyped-call]  # JAX leaves it untyped
    except RuntimeError:  # its devices are made: what there is has to do
        return


def prepare(
    programs: Mapping[str, Lower], *, compiled_in: str, folder: Path | None
) -> dict[str, jax.stages.Compiled]:
    """Load or compile programs, several at a time: XLA lets go of Python meanwhile.

    `compiled_in`: all that the programs depend on besides this package's code and the machine.
    `folder`: where they are kept; None keeps nothing, and so does JAX_COMPILATION_CACHE_DIR.
    """
    # What comes out of JAX's own cache can be serialised, but fails when it is called afterwards.
    if jax.config.values["jax_compilation_cache_dir"]:
        folder = None
    if folder is not None and not private_folder(folder):
        folder = None
    paths = {name: _path(folder, name, compiled_in) for name in programs}
    with ThreadPoolExecutor(len(programs)) as pool:
        loading = {n: pool.submit(_load, path) for n, path in paths.items()}
        ready = {name: task.result() for name, task in loading.items()}
        lowered = {n: lower() for n, lower in programs.items() if ready[n] is None}
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


def _load(path: Path | None) -> jax.stages.Compiled | None:
    if path is None:
        return None
    try:
        pickled = _content(path)
        if pickled is None:
            return None
        (executable, arguments, results), devices = pickle.loads(pickled)  # noqa: S301 # nosec B301
        loaded: jax.stages.Compiled = deserialize_and_load(
            executable, arguments, results, execution_devices=jax.devices()[:devices]
        )
    except Exception as error:  # noqa: BLE001 - whatever is wrong, compiling mends it
        log.warning("%s cannot be loaded and is compiled again: %r", path, error)
        return None
    return loaded


def _content(path: Path) -> bytes | None:
    """The pickle in a file of ours; None when there is none, or it is damaged."""
    try:
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_uid != os.geteuid():
                return None
            content = file.read()
        os.utime(path)
    except FileNotFoundError:  # never written, or another training made room meanwhile
        return None
    digest, pickled = content[:32], content[32:]
    return pickled if hashlib.sha256(pickled).digest() == digest else None


def _save(path: Path | None, compiled: jax.stages.Compiled) -> None:
    if path is None:
        return
    try:
        # Loading wants to know how many of this machine's devices run it, from the first on.
        devices = max(len(s.device_set) for s in jax.tree.leaves(compiled.input_shardings))
        pickled = pickle.dumps((serialize(compiled), devices))
        write_atomically(path, hashlib.sha256(pickled).digest() + pickled)
        _make_room(path.parent)
    except Exception as error:  # noqa: BLE001 - a full disk, what XLA cannot serialise
        log.warning("%s cannot be kept: %r", path, error)


def _make_room(folder: Path) -> None:
    """Delete the oldest programs and what killed processes left; others may do so as well."""
    ages = {}
    for file in (*folder.glob("*.program"), *folder.glob(".*.tmp")):
        with suppress(FileNotFoundError):
            ages[file] = file.stat().st_mtime
    programs = sorted((file for file in ages if file.suffix == ".program"), key=ages.__getitem__)
    parts = (file for file in ages if file.suffix == ".tmp")
    abandoned = [file for file in parts if time.time() - ages[file] > _ABANDONED_S]
    for file in (*programs[:-_KEPT], *abandoned):
        file.unlink(missing_ok=True)


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
            *(f"{name} {version(name)}" for name in ("jax", "jaxlib", "optax")),
            platform.python_version(),
            _processor(),
            f"{jax.device_count()} {device.platform} {device.device_kind}",
            device.client.platform_version,  # of the driver, on an accelerator
            *(f"{n}={v}" for n, v in sorted(os.environ.items()) if n.startswith(_SETTINGS)),
            *(f"{name}={jax.config.values[name]}" for name in _OPTIONS),
        ]
    )


def _processor() -> str:
    """Compiled code uses all that this processor can do."""
    machine = f"{platform.machine()} {platform.processor()}"
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:  # not Linux
        return machine
    return "\n".join([machine, *sorted({line for line in lines if line.startswith(_CPU)})])
