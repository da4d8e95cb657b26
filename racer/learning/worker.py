"""The training process: `python -m racer.learning.worker --config FILE --output DIR`.

Reads a JSON object (racer.learning.training.TrainingConfig says which keys), writes one JSON line
an epoch to standard output and `policy.safetensors` and `flight.npz` to DIR. The last line is
`{"done": true}`, or `{"error": "words for a person", "status": …}` with exit code 1; the status is
that of racer.errors, 422 for what the configuration says wrong. Logs go to stderr.

SIGTERM is waited for by a thread, because Python's own handlers do not run while the main thread
is inside a compiled program; it ends the process at once, between two lines of output, with code
143. The files in DIR are whole at any moment.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import signal
import sys
import threading
from pathlib import Path
from typing import Any

from racer.errors import InvalidInputError, RacerError
from racer.process import configure_logging, die_with_parent

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
    options = parser.parse_args(arguments)
    try:
        _train(options.config, options.output)
    except RacerError as error:
        _say({"error": error.message, "status": error.status})
        return 1
    except OSError as error:  # a full disk, most likely
        _say({"error": f"The training cannot write its files: {error.strerror or error}."})
        raise
    except Exception as error:
        _say({"error": f"The training stopped on an unexpected fault ({type(error).__name__})."})
        raise
    _say({"done": True})
    return 0


def _train(config: Path, output: Path) -> None:
    given = _read(config)
    # Only now: a wrong configuration file is answered before JAX's second of loading.
    from racer.learning.training import Training, TrainingConfig  # noqa: PLC0415

    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InvalidInputError(f"Cannot write to {output}: {error.strerror}.") from error
    for report in Training(TrainingConfig.from_mapping(given), output=output).epochs():
        _say(report)


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
