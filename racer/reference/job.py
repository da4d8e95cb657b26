"""The reference's process: `python -m racer.reference.job --config FILE --output DIR`.

Reads `{"track": TOML text, "airframe": …, "flying": false, "laps": null}` and writes one JSON line
to standard output: `{"result": {"time_s": …, "splits_s": […], "top_speed_m_s": …}}`, or `{"error":
"words for a person", "status": …}` with exit code 1. It leaves no files; DIR is there because every
job has one.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from racer.errors import InvalidInputError, RacerError
from racer.process import configure_logging, die_with_parent
from racer.reference.plan import fastest
from racer.sim.airframe import load_airframe
from racer.sim.track import MAX_LAPS, MAX_TEXT_BYTES, parse_track


class ReferenceConfig(BaseModel):
    """Which flight; `laps` None means as many as the course says, a flying lap is always one."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    track: str = Field(max_length=MAX_TEXT_BYTES)  # TOML text
    airframe: str = Field(min_length=1, max_length=4096)
    flying: bool = False
    laps: int | None = Field(default=None, ge=1, le=MAX_LAPS)


def main(arguments: list[str] | None = None) -> int:
    """Plan the flight that the command line names; returns the exit code."""
    die_with_parent()
    os.nice(5)  # the API and the vehicle's clock go first when cores are scarce
    configure_logging(os.environ.get("LOG_LEVEL", "INFO"), program="reference")
    parser = argparse.ArgumentParser(prog="python -m racer.reference.job")
    parser.add_argument("--config", type=Path, required=True, help="JSON file")
    parser.add_argument("--output", type=Path, required=True, help="folder; nothing is left there")
    options = parser.parse_args(arguments)
    try:
        _say({"result": _plan(_read(options.config))})
    except RacerError as error:
        _say({"error": error.message, "status": error.status})
        return 1
    except Exception as error:
        _say({"error": f"The plan stopped on an unexpected fault ({type(error).__name__})."})
        raise
    return 0


def _read(path: Path) -> ReferenceConfig:
    try:
        return ReferenceConfig.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise InvalidInputError(f"Reference: '{where}': {first['msg']}.") from error
    except OSError as error:
        raise InvalidInputError(f"Cannot read {path}: {error.strerror}.") from error
    except (ValueError, RecursionError) as error:
        raise InvalidInputError(f"{path.name} is not JSON: {error}") from error


def _plan(config: ReferenceConfig) -> dict[str, Any]:
    found = fastest(
        parse_track(config.track),
        load_airframe(config.airframe),
        laps=None if config.flying else config.laps,
        flying=config.flying,
    )
    return {
        "time_s": round(found.time_s, 4),
        "splits_s": [round(split, 4) for split in found.splits_s.tolist()],
        "top_speed_m_s": round(found.top_speed_m_s, 3),
    }


def _say(line: dict[str, Any]) -> None:
    print(json.dumps(line), flush=True)


if __name__ == "__main__":
    sys.exit(main())
