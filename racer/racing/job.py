"""The race's process: `python -m racer.racing.job --config FILE --output DIR`.

Reads a race (racer.racing.config.RaceConfig), writes `replay.bin` and `result.json` to DIR, and
JSON lines to standard output: `{"progress": 0.4}` …, then `{"result": {…}}`, or `{"error": "words
for a person", "status": …}` with exit code 1. Logs go to stderr. It may be killed at any moment: a
file is whole or not there, and the same race flown again is the same race.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
from pathlib import Path
from typing import Any

from racer.errors import InvalidInputError, RacerError
from racer.process import configure_logging, die_with_parent

RESULT_FILE = "result.json"
REPLAY_FILE = "replay.bin"


def main(arguments: list[str] | None = None) -> int:
    """Fly the race that the command line names; returns the exit code."""
    die_with_parent()
    os.nice(5)  # the API and the vehicle's clock go first when cores are scarce
    configure_logging(os.environ.get("LOG_LEVEL", "INFO"), program="race")
    logging.getLogger("jax").setLevel(logging.WARNING)  # it tells of every accelerator it lacks
    parser = argparse.ArgumentParser(prog="python -m racer.racing.job")
    parser.add_argument("--config", type=Path, required=True, help="JSON file")
    parser.add_argument("--output", type=Path, required=True, help="folder for the results")
    options = parser.parse_args(arguments)
    try:
        result = _fly(options.config, options.output)
    except RacerError as error:
        _say({"error": error.message, "status": error.status})
        return 1
    except OSError as error:
        _say({"error": f"The race cannot write its files: {error.strerror or error}."})
        raise
    except Exception as error:
        _say({"error": f"The race stopped on an unexpected fault ({type(error).__name__})."})
        raise
    _say({"result": result})
    return 0


def _fly(config: Path, output: Path) -> dict[str, Any]:
    from racer.racing.config import read_config  # noqa: PLC0415 - see below

    given = read_config(config)
    given.load_track()
    # Only now: a wrong configuration is answered before JAX's second of loading.
    from racer.learning.files import write_atomically  # noqa: PLC0415
    from racer.racing.race import run_race  # noqa: PLC0415
    from racer.racing.replay import encode  # noqa: PLC0415

    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InvalidInputError(f"Cannot write to {output}: {error.strerror}.") from error
    outcome = run_race(given, lambda share: _say({"progress": round(share, 4)}))
    write_atomically(output / REPLAY_FILE, encode(outcome.replay))
    write_atomically(output / RESULT_FILE, json.dumps(outcome.result, allow_nan=False).encode())
    return outcome.result


def _say(line: dict[str, Any]) -> None:
    print(json.dumps(line, allow_nan=False), flush=True)


if __name__ == "__main__":
    sys.exit(main())
