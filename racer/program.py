"""What a child program of the service does: read its configuration, tell JSON lines, end when told.

It is called with `--config FILE --output DIR`. It writes files to DIR, each whole at any moment,
and JSON lines to standard output: any number of `{"progress": 0..1}`, then `{"result": {…}}`, or
`{"error": "words for a person", "status": …}` with exit code 1. The status is that of racer.errors,
422 for what the configuration says wrong; `"disk_full": true` means that it can be done once there
is room. Standard output may be a file there, too, as on Ray: what could not even say that ends with
code 94. Logs go to stderr. `run_job` does all of this around a function; the training process
(racer.learning.worker), whose lines are others, uses the parts.

SIGTERM is waited for by a thread, because Python's own handlers do not run while the main thread
is inside a compiled program; it ends the process at once, between two lines of output, with code
143.
"""

from __future__ import annotations

import argparse
import errno
import fcntl
import json
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

import psutil

from racer.errors import InvalidInputError, RacerError
from racer.identity import living_pid, this_process
from racer.process import configure_logging, die_with_parent

FULL = (errno.ENOSPC, errno.EDQUOT)
DISK_FULL = 94  # how a process ends that finds no room for its last word either; none of Python's
_PATIENCE_S = 10.0  # with a process that still holds the folder

log = logging.getLogger(__name__)
_telling = threading.Lock()


def begin(noun: str) -> None:
    """First of all: be told to end, die with the parent, step back, log. `noun`: training, …"""
    end_on_sigterm()
    die_with_parent()
    os.nice(5)  # the API and the vehicle's clock go first when cores are scarce
    configure_logging(os.environ.get("LOG_LEVEL", "INFO"), program=noun)
    logging.getLogger("jax").setLevel(logging.WARNING)  # it tells of every accelerator it lacks


def add_job_arguments(parser: argparse.ArgumentParser) -> None:
    """The options that every such program has."""
    parser.add_argument("--config", type=Path, required=True, help="JSON file")
    parser.add_argument("--output", type=Path, required=True, help="folder for the results")


def run_job(
    noun: str,
    work: Callable[[dict[str, Any], argparse.Namespace], dict[str, Any]],
    parser: argparse.ArgumentParser,
    arguments: list[str] | None = None,
) -> int:
    """A whole program: `work` makes the result of the configuration and the options, may tell
    progress, and writes to `options.output`, where it is alone. Returns the exit code.

    `parser` may have options of its own, as JobKind.program gives them.
    """
    begin(noun)
    add_job_arguments(parser)
    options = parser.parse_args(arguments)
    try:
        config = read_config(options.config)
        options.output.mkdir(parents=True, exist_ok=True)
        with alone_in(options.output):
            result = work(config, options)
        tell({"result": result})
    except Exception as error:
        tell_end(error, noun)
        if isinstance(error, RacerError):
            return 1
        raise
    return 0


def tell(line: dict[str, Any]) -> None:
    """One whole line to the reader, or none. Raises OSError when it is a file and the disk full."""
    with _telling:
        print(json.dumps(line), flush=True)
        try:  # a network file system sends it now, and says now if there is no room
            os.fsync(sys.stdout.fileno())
        except OSError as error:
            if error.errno in FULL:  # a pipe has nothing to be synced
                raise


def tell_end(error: Exception, noun: str) -> None:
    """Tell of the error that ends the program; it ends here when there is no room for that."""
    try:
        tell(_last_words(error, noun))
    except OSError as unheard:
        if unheard.errno in FULL:
            os._exit(DISK_FULL)  # Python would try to write that line again, and end with 120
        raise


def _last_words(error: Exception, noun: str) -> dict[str, Any]:
    """What to tell of the error that ends the program."""
    if isinstance(error, RacerError):
        return {"error": error.message, "status": error.status}
    if isinstance(error, OSError):
        message = f"The {noun} cannot write its files: {error.strerror or error}."
        return {"error": message, "disk_full": error.errno in FULL}
    return {"error": f"The {noun} stopped on an unexpected fault ({type(error).__name__})."}


def read_config(path: Path) -> dict[str, Any]:
    """The object in a JSON file; InvalidInputError says what is wrong with the file."""
    try:
        given = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InvalidInputError(f"Cannot read {path}: {error.strerror}.") from error
    except (ValueError, RecursionError) as error:
        raise InvalidInputError(f"{path.name} is not JSON: {error}") from error
    if not isinstance(given, dict):
        raise InvalidInputError(f"{path.name} must hold one JSON object.")
    return given


@contextmanager
def alone_in(output: Path) -> Iterator[None]:
    """One process writes a folder's files. Who comes back after an interruption waits until the
    one before has ended, and kills it if it does not: it was told to long ago, and may be stopped.
    """
    with (output / "lock").open("a+") as lock:
        if not _locked(lock, within_s=_PATIENCE_S):
            lock.seek(0)
            _kill_holder(lock.read().strip(), output)
            fcntl.flock(lock, fcntl.LOCK_EX)
        lock.truncate(0)
        print(this_process(), file=lock, flush=True)
        for abandoned in output.glob(".*.tmp"):  # of files that a killed process was writing
            abandoned.unlink(missing_ok=True)
        yield


def _locked(lock: IO[str], *, within_s: float) -> bool:
    deadline = time.monotonic() + within_s
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.1)
        else:
            return True


def _kill_holder(name: str, output: Path) -> None:
    """If that process is one of ours in this folder. One of another machine is waited for: a number
    of its says nothing here."""
    log.warning("%s still holds %s", name or "a process", output)
    if (pid := living_pid(name)) is None:
        return
    with suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        if str(output) in process.cmdline():
            log.warning("process %s is killed", pid)
            process.kill()


def end_on_sigterm() -> None:
    """See the top of this file."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})  # for every thread made from here

    def wait() -> None:
        signal.sigwait({signal.SIGTERM})
        with _telling:
            os._exit(128 + signal.SIGTERM)

    threading.Thread(target=wait, name="sigterm", daemon=True).start()
