"""The training process: `python -m racer.learning.worker --config FILE --output DIR`.

Reads a JSON object (racer.learning.training.TrainingConfig says which keys). Writes
`policy.safetensors`, `flight.npz`, checkpoints and TensorBoard's event files to DIR, and JSON lines
to standard output: first `{"resolved": …, "revision": …}`, the configuration with every default and
which code this is, then one an epoch, at last `{"done": true}`, or `{"error": "words for a person",
"status": …}` with exit code 1. The status is that of racer.errors, 422 for what the configuration
says wrong; `"disk_full": true` means that the training can go on once there is room.
`--resume-after EPOCH` goes on where a killed process was. Logs go to stderr.

racer.program has the parts that other programs share, and says how it ends when it is told to.
The files in DIR are whole at any moment.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from racer.errors import InvalidInputError, RacerError
from racer.policy.revision import git_revision
from racer.program import (
    FULL,
    add_job_arguments,
    alone_in,
    begin,
    read_config,
    tell,
    tell_end,
)

if TYPE_CHECKING:
    from tensorboardX import SummaryWriter


def main(arguments: list[str] | None = None) -> int:
    """Train as told by the command line; returns the exit code."""
    begin("training")
    parser = argparse.ArgumentParser(prog="python -m racer.learning.worker")
    add_job_arguments(parser)
    parser.add_argument(
        "--resume-after",
        type=int,
        metavar="EPOCH",
        help="go on from the newest checkpoint in that folder; epochs up to this one are known",
    )
    options = parser.parse_args(arguments)
    try:
        _train(options.config, options.output, resume_after=options.resume_after)
        tell({"done": True})
    except Exception as error:
        tell_end(error, "training")
        if isinstance(error, RacerError):
            return 1
        raise
    return 0


def _train(config: Path, output: Path, *, resume_after: int | None) -> None:
    given = read_config(config)
    # Only now: a wrong configuration file is answered before JAX's second of loading.
    from racer.learning.training import Training, TrainingConfig  # noqa: PLC0415

    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        if error.errno in FULL:
            raise
        raise InvalidInputError(f"Cannot write to {output}: {error.strerror}.") from error
    resolved = TrainingConfig.from_mapping(given)
    training = Training(resolved, output=output)
    known, curves = resume_after or 0, _Curves(output)
    with alone_in(output):
        tell({"resolved": resolved.to_mapping(), "revision": git_revision()})
        # The last epoch that is known may lack its point: it was told first.
        last_known = None if resume_after is None else max(known - 1, 0)
        for report in training.epochs(resume_after=last_known, keep_checkpoints=True):
            if report["epoch"] > known:
                tell(report)
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


if __name__ == "__main__":
    sys.exit(main())
