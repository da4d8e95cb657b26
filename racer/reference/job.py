"""The reference's process: `python -m racer.reference.job --config FILE --output DIR`.

racer.program says how it speaks. The configuration is ReferenceConfig; the result: `time_s`,
`splits_s` of each leg, `top_speed_m_s`. It leaves no files.
"""

from __future__ import annotations

import argparse
import sys
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from racer.errors import InvalidInputError
from racer.program import run_job
from racer.reference.plan import fastest
from racer.sim.airframe import load_airframe
from racer.sim.track import MAX_LAPS, parse_track
from racer.sim.track_keys import MAX_TEXT_BYTES


class ReferenceConfig(BaseModel):
    """Which flight; `laps` None means as many as the course says, a flying lap is always one."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    track: str = Field(max_length=MAX_TEXT_BYTES)  # TOML text
    airframe: str = Field(min_length=1, max_length=4096)
    flying: bool = False
    laps: int | None = Field(default=None, ge=1, le=MAX_LAPS)


def main(arguments: list[str] | None = None) -> int:
    """Plan the flight that the command line names; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m racer.reference.job")
    return run_job("reference", _plan, parser, arguments)


def _plan(given: dict[str, Any], _options: argparse.Namespace) -> dict[str, Any]:
    config = _read(given)
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


def _read(given: dict[str, Any]) -> ReferenceConfig:
    try:
        return ReferenceConfig.model_validate(given)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise InvalidInputError(f"Reference: '{where}': {first['msg']}.") from error


if __name__ == "__main__":
    sys.exit(main())
