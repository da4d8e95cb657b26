"""The command line, `python -m racer …`: train a policy, evaluate it, export it, fly it, and know
the best time that there is to fly; and what whoever runs a service needs.

Exit codes: 0 done; 1 it was tried and failed (a training that diverged, no vehicle, a race that
did not finish); 2 the command or its input is wrong; 130 Ctrl-C. Errors are one line on standard
error that says what to do, never a traceback for something that a person can mend.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Protocol, cast

from racer.errors import ConfigurationError, InvalidInputError, NotFoundError, RacerError

COMMANDS = (  # modules of racer.commands, with - for _
    *("train", "evaluate", "reference", "export", "fly"),
    *("init-db", "create-admin", "seed", "backup", "restore", "export-openapi", "doctor"),
)
FAILED, WRONG_INPUT, INTERRUPTED = 1, 2, 130
_DESCRIPTION = """\
Train, evaluate, export and fly drone-racing policies, and look after a service.

  python -m racer train --track toledo         learn to race; ends with a folder
  python -m racer evaluate --policy DIR        fly it from fresh starts, in simulation
  python -m racer reference --track toledo     the best time that physics allows
  python -m racer fly --policy DIR             race it on a vehicle (PX4, or the embedded one)
  python -m racer backup                       everything that the service knows, in one file

Every command has its own --help."""


class Command(Protocol):
    """A module of racer.commands."""

    HELP: str  # one line
    EXAMPLES: str

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declare its options."""

    def run(self, options: argparse.Namespace) -> int:
        """Do it; returns the exit code. RacerErrors become one line and an exit code."""


def make_parser() -> argparse.ArgumentParser:
    """The parser of every command."""
    parser = argparse.ArgumentParser(
        prog="python -m racer",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name in COMMANDS:
        command = cast(Command, import_module(f"racer.commands.{name.replace('-', '_')}"))
        sub = commands.add_parser(
            name,
            help=command.HELP,
            description=command.HELP[:1].upper() + command.HELP[1:] + ".",
            epilog=command.EXAMPLES,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        command.add_arguments(sub)
        sub.set_defaults(run=command.run)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line; returns the exit code."""
    options = make_parser().parse_args(arguments)
    try:
        code = int(options.run(options))
        sys.stdout.flush()
    except RacerError as error:
        print(f"Error: {error.message}", file=sys.stderr)
        wrong = isinstance(error, (InvalidInputError, NotFoundError, ConfigurationError))
        return WRONG_INPUT if wrong else FAILED
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:  # `| head` has read enough; nothing may be written at exit any more
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    return code
