"""What a slice says of the jobs that it submits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import Select
from sqlalchemy.orm import Session

from models import Job


@dataclass(frozen=True)
class JobKind:
    """One kind of job.

    `program` is called with `--config FILE --output DIR` (racer.program says what it has to do). It
    may be called again after a kill: it must replace its files whole and find the same again.

    `ended` is called once for each job, in the transaction that ends it, as finished, failed or
    cancelled; not for one that is deleted. It must not raise: what it wrote is undone then, and the
    job counts as failed. Who locks more than the job locks the job first.

    `wanted` selects the ids of jobs that somebody still wants, none of them null: others of this
    kind are deleted within seconds. Submit a job in the transaction that writes its id there.
    """

    name: str  # 32 characters at most; people read it in messages: evaluation, race
    program: tuple[str, ...]
    ended: Callable[[Session, Job], None]
    wanted: Select[str] | None = None
    limit_s: float = 3600.0  # one that takes longer fails: others wait for its place
