"""Evaluations as jobs: which program, with which policies."""

from __future__ import annotations

import sys
from pathlib import Path

from sqlalchemy import select

from models import Evaluation
from racer.evaluations.queries import KIND, ended
from racer.jobs.service import JobKind
from racer.settings import Settings

FLIGHTS_FILE = "flights.npz"  # racer.learning.evaluation_job writes it


def policies_folder(settings: Settings) -> Path:
    """Where the folders of policies lie, each named by its id."""
    return settings.data_dir.resolve() / "policies"


def evaluation_kind(settings: Settings) -> JobKind:
    """What the job service has to know of evaluations."""
    program = (
        *(sys.executable, "-m", "racer.learning.evaluation_job"),
        *("--policies", str(policies_folder(settings))),
        *("--compile-cache", str(settings.data_dir.resolve() / "jax_cache")),
    )
    return JobKind(KIND, program, ended, wanted=select(Evaluation.job_id))
