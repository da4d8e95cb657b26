"""The training process: `python -m racer.learning.worker --config FILE --output DIR`.

Reads a JSON object (racer.learning.training.TrainingConfig says which keys). Writes
`policy.safetensors`, `flight.npz`, checkpoints and TensorBoard's event files to DIR, and JSON lines
to standard output: first `{"resolved": …, "revision": …}`, the configuration with every default and
which code this is, then one an epoch, at last `{"done": true}`, or `{"error": "words for a person",
"status": …}` with exit code 1. The status is that of racer.errors, 422 for what the configuration
says wrong; `"disk_full": true` means that the training can go on once there is room.
`--resume-after EPOCH` goes on where a killed process was. Logs go to stderr.

SIGTERM is waited for by a thread, because Python's own handlers do not run while the main thread
is inside a compiled program; it ends the process at once, between two lines of output, with code
143. The files in DIR are whole at any moment.
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
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import psutil

from racer.errors import InvalidInputError, RacerError
from racer.policy.revision import git_revision
from racer.process import configure_logging, die_with_parent

if TYPE_CHECKING:
    from tensorboardX import SummaryWriter

_FULL = (errno.ENOSPC, errno.EDQUOT)
_PATIENCE_S = 10.0  # with a process that still holds the folder

log = logging.getLogger(__name__)
_writing = threading.Lock()


def main(arguments: list[str] | None = None) -> int:
    """Train as told by the command line; returns the exit code."""
    _end_on_sigterm()
    die_with_parent()
    os.nice(5)  # the API and the vehicle's clock go first when cores are scarce
    configure_logging(os.environ.get("LOG_LEVEL", "INFO"), program="training")
    logging.getLogger("jax").setLevel(logging.WARNING)  # it tells of every accelerator it lacks
    parser = argparse.ArgumentParser(prog="python -m racer.learning.worker")
    parser.add_argument("--config", type=Path, required=True, help="JSON file")
    parser.add_argument("--output", type=Path, required=True, help="folder for the results")
    parser.add_argument(
        "--resume-after",
        type=int,
        metavar="EPOCH",
        help="go on from the newest checkpoint in that folder; epochs up to this one are known",
    )
    options = parser.parse_args(arguments)
    try:
        _train(options.config, options.output, resume_after=options.resume_after)
    except RacerError as error:
        _say({"error": error.message, "status": error.status})
        return 1
    except OSError as error:
        message = f"The training cannot write its files: {error.strerror or error}."
        _say({"error": message, "disk_full": error.errno in _FULL})
        raise
    except Exception as error:
        _say({"error": f"The training stopped on an unexpected fault ({type(error).__name__})."})
        raise
    _say({"done": True})
    return 0


def _train(config: Path, output: Path, *, resume_after: int | None) -> None:
    given = _read(config)
    # Only now: a wrong configuration file is answered before JAX's second of loading.
    from racer.learning.training import Training, TrainingConfig  # noqa: PLC0415

    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        if error.errno in _FULL:
            raise
        raise InvalidInputError(f"Cannot write to {output}: {error.strerror}.") from error
    resolved = TrainingConfig.from_mapping(given)
    training = Training(resolved, output=output)
    known, curves = resume_after or 0, _Curves(output)
    with _alone_in(output):
        _say({"resolved": resolved.to_mapping(), "revision": git_revision()})
        # The last epoch that is known may lack its point: it was told first.
        last_known = None if resume_after is None else max(known - 1, 0)
        for report in training.epochs(resume_after=last_known, keep_checkpoints=True):
            if report["epoch"] > known:
                _say(report)
            curves.add(report)


class _Curves:
    """TensorBoard's event files, for `tensorboard --logdir DATA_DIR/runs`; begun after the first
    report, because the library takes half a second to load."""

    def __init__(self, output: Path) -> None:
        self._output = output
        self._writer: SummaryWriter | None = None

    def add(self, report: dict[str, Any]) -> None:
        """All scalars of an epoch, on the disk when this returns. What an interrupted attempt wrote
        of it and later ones counts no more."""
        if self._writer is None:
            from tensorboardX import SummaryWriter  # noqa: PLC0415 - see above

            self._writer = SummaryWriter(str(self._output), purge_step=report["epoch"])
        for name, value in report.items():
            if value is not None:
                self._writer.add_scalar(name, value, report["epoch"])
        self._writer.flush()


@contextmanager
def _alone_in(output: Path) -> Iterator[None]:
    """One process writes a training's files. Who comes back after an interruption waits until the
    one before has ended, and kills it if it does not: it was told to long ago, and may be stopped.
    """
    with (output / "lock").open("a+") as lock:
        if not _locked(lock, within_s=_PATIENCE_S):
            lock.seek(0)
            _kill_trainer(lock.read(), output)
            fcntl.flock(lock, fcntl.LOCK_EX)
        lock.truncate(0)
        print(os.getpid(), file=lock, flush=True)
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


def _kill_trainer(pid: str, output: Path) -> None:
    """If that process is one of ours in this folder."""
    with suppress(ValueError, psutil.NoSuchProcess):
        process = psutil.Process(int(pid))
        if str(output) in process.cmdline():
            log.warning("process %s still holds %s and is killed", process.pid, output)
            process.kill()


def _read(config: Path) -> dict[str, Any]:
    try:
        given = json.loads(config.read_text(encoding="utf-8"))
    except OSError as error:
        raise InvalidInputError(f"Cannot read {config}: {error.strerror}.") from error
    except (ValueError, RecursionError) as error:
        raise InvalidInputError(f"{config.name} is not JSON: {error}") from error
    if not isinstance(given, dict):
        raise InvalidInputError(f"{config.name} must hold one JSON object.")
    return given


def _say(line: dict[str, Any]) -> None:
    """One whole line to the reader, or none."""
    with _writing:
        print(json.dumps(line), flush=True)


def _end_on_sigterm() -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})  # for every thread made from here

    def wait() -> None:
        signal.sigwait({signal.SIGTERM})
        with _writing:
            os._exit(128 + signal.SIGTERM)

    threading.Thread(target=wait, name="sigterm", daemon=True).start()


if __name__ == "__main__":
    sys.exit(main())
