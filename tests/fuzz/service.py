"""`main.py` whose trainings and jobs compute nothing: a stranger's requests may start hundreds."""

from __future__ import annotations

import dataclasses
import functools
import sys
from collections.abc import Sequence
from typing import Any

import main
from racer.jobs.kinds import JobKind
from racer.jobs.service import JobService
from racer.training.service import TrainingService

_WORKER = (sys.executable, "-m", "tests.training.fake_worker", "--behaviour", "good")
_NO_JOB = (sys.executable, "-c", "raise SystemExit('There is nothing to compute here.')")


def _idle(settings: Any, sessions: Any, kinds: Sequence[JobKind]) -> JobService:
    return JobService(
        settings, sessions, [dataclasses.replace(kind, program=_NO_JOB) for kind in kinds]
    )


if __name__ == "__main__":
    main.TrainingService = functools.partial(TrainingService, worker=_WORKER)  # type: ignore[misc,assignment]
    main.JobService = _idle  # type: ignore[misc,assignment]
    sys.exit(main.main())
