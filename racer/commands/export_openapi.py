"""`python -m racer export-openapi`: the API's description."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from racer.errors import UnavailableError

HELP = "print the OpenAPI document of the HTTP API"
EXAMPLES = """\
The same as /openapi.json of a running service.

  python -m racer export-openapi > openapi.json
  python -m racer export-openapi --out openapi.json
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--out", type=Path, metavar="FILE", help="instead of standard output")


def run(options: argparse.Namespace) -> int:
    """Build the application without starting it, and print what it offers."""
    from main import create_app  # noqa: PLC0415 - everything

    text = json.dumps(create_app().openapi(), indent=2)
    if options.out is None:
        print(text)
        return 0
    try:
        options.out.write_text(text + "\n")
    except OSError as error:
        raise UnavailableError(f"{options.out} cannot be written: {error.strerror}.") from error
    return 0
