"""The race's process: `python -m racer.racing.job --config FILE --output DIR`.

racer.program says how it speaks. The configuration is racer.racing.config.RaceConfig, its policies'
folders lie in `--policies`. DIR gets `replay.bin` (docs/replays.md) and `result.json`, which is the
result that is told, too. The same race flown again is the same race.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from racer.files import write_atomically
from racer.program import run_job, tell
from racer.racing.config import race_config
from racer.racing.replay import REPLAY_FILE, encode

RESULT_FILE = "result.json"


def main(arguments: list[str] | None = None) -> int:
    """Fly the race that the command line names; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m racer.racing.job")
    parser.add_argument("--policies", type=Path, default=Path(), help="folder of policies' folders")
    parser.add_argument("--compile-cache", type=Path, help="folder that keeps compiled programs")
    return run_job("race", _fly, parser, arguments)


def _fly(config: dict[str, Any], options: argparse.Namespace) -> dict[str, Any]:
    race = race_config(config)
    race.load_track()
    tell({"progress": 0.0})
    # Only now: a wrong configuration is answered before JAX's second of loading.
    from racer.racing.race import run_race  # noqa: PLC0415

    outcome = run_race(
        race,
        lambda share: tell({"progress": round(share, 4)}),
        policies=options.policies,
        compile_cache=options.compile_cache,
    )
    write_atomically(options.output / REPLAY_FILE, encode(outcome.replay))
    told = json.dumps(outcome.result, allow_nan=False)
    write_atomically(options.output / RESULT_FILE, told.encode())
    return outcome.result


if __name__ == "__main__":
    sys.exit(main())
