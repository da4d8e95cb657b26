"""Runs trainings as jobs of a Ray cluster, and finds them again when server or cluster come back.

A job's process writes its JSON lines to a file in the run's folder, which every node shares, as it
does its checkpoints. So whoever follows the run, now or after a restart, reads it from its
beginning, and a node that dies takes nothing along. Which job is the run's newest is on record in
that folder before it is submitted (docs/decisions/0016-ray.md).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from typing import Any

import structlog

from racer.jobs.child import ChildFailedError, ChildInterruptedError, end_without_a_word, with_log
from racer.program import DISK_FULL
from racer.settings import Settings
from racer.training.executors import Launch, Wanted
from racer.training.ray_jobs import Job, RayJobs, RayRefusedError, RayUnreachableError
from racer.training.ray_submission import (
    ENTRYPOINT_FAULTS,
    Lines,
    Submission,
    entrypoint,
    installation,
)
from racer.training.transcript import Transcript

_READ_S = 0.25  # between looks into the file; a shared folder rings no bell
_LOOK_S = 1.0  # between questions to Ray
_EXIT_GRACE_S = 15.0  # from the last line to the exit
_STOP_S = 8.0  # Ray asks, and kills after three seconds
_PENDING_TOLD_S = 5.0  # a job that waits for so long waits for room

log = structlog.get_logger(__name__)


class RayExecutor:
    """See racer.training.executors.Executor."""

    outlives_us = True

    def __init__(self, settings: Settings) -> None:
        self._jobs = RayJobs(settings.ray_address, token=settings.ray_auth_token)
        self._cpus = settings.ray_cpus
        self._data_dir = settings.data_dir.resolve()
        self._told = {"LOG_LEVEL": settings.log_level, "LOG_FORMAT": settings.log_format}

    async def epochs_of(self, launch: Launch) -> AsyncGenerator[dict[str, Any], None]:
        """Follow the run's job; submit one unless there is one that goes on or is done."""
        submission: Submission | None = None
        told: str | None = None
        while submission is None:
            try:
                submission = await self._submission(launch)
            except RayUnreachableError as error:
                if str(error) != told:
                    told = str(error)
                    yield {"waiting": f"The run waits. {error}"}
                await asyncio.sleep(_LOOK_S)
            except RayRefusedError as error:
                raise ChildFailedError(str(error)) from error
        if told:
            yield {"waiting": None}
        try:
            async with aclosing(self._follow(launch, submission)) as messages:
                async for message in messages:
                    yield message
        except ChildFailedError as failure:
            if failure.logged:
                await self._exit_of(submission)
            await self._stop(submission)
            raise await asyncio.to_thread(with_log, failure, launch.log_file) from None

    async def end(self, run_id: str) -> None:
        """Stop the run's job and wait until it has ended."""
        folder = self._data_dir / "runs" / run_id
        submission = await asyncio.to_thread(Submission.recorded, folder)
        if submission is not None:
            await self._stop(submission)

    async def end_unwanted(self, wanted: Wanted) -> None:
        """Stop this installation's jobs of runs that are not wanted, and superseded jobs."""
        with suppress(RayUnreachableError, RayRefusedError):
            mark = await asyncio.to_thread(installation, self._data_dir)
            found = [Submission.of(job, self._data_dir) for job in await self._jobs.all()]
            ours = [submission for submission, its in found if submission and its == mark]
            keep = await wanted({submission.folder.name for submission in ours}) if ours else ()
            for submission in ours:
                newest = await asyncio.to_thread(Submission.recorded, submission.folder)
                superseded = newest is not None and newest.attempt > submission.attempt
                name = submission.folder.name
                # Asked again: while others were stopped it may have been resumed.
                if superseded or (name not in keep and not await wanted({name})):
                    await self._stop(submission)

    async def close(self) -> None:
        """Jobs go on."""
        await self._jobs.close()

    async def _submission(self, launch: Launch) -> Submission:
        """The run's newest, if its job goes on or is done; else a new one, now submitted."""
        newest = await asyncio.to_thread(Submission.recorded, launch.folder)
        if newest is not None:
            job = await self._own_job(newest)
            if job is not None and await asyncio.to_thread(newest.counts, job):
                log.info("ray_job_followed", job=newest.id, status=job.status)
                return newest
        submission = Submission(launch.folder, launch.attempt)
        await asyncio.to_thread(launch.prepare)
        if not await asyncio.to_thread(submission.record):
            raise ChildInterruptedError("A later attempt has submitted a job.", blameless=True)
        mark = await asyncio.to_thread(installation, self._data_dir)
        command = entrypoint(launch, submission, self._told)
        metadata = submission.metadata(mark)
        await self._jobs.submit(submission.id, command, cpus=self._cpus, metadata=metadata)
        log.info("ray_job_submitted", job=submission.id)
        return submission

    async def _follow(
        self, launch: Launch, submission: Submission
    ) -> AsyncGenerator[dict[str, Any], None]:
        transcript = Transcript(after=launch.after, replayed=True)
        lines, look = Lines(submission.messages), _Look(self._jobs, submission.id, self._cpus)
        while not transcript.done:
            told = look.waiting
            job = await look()
            if look.waiting != told:
                yield {"waiting": look.waiting}
            for line in await asyncio.to_thread(lines.read):  # whatever an ended job has said
                if (message := transcript.take(line)) is not None:
                    yield message
            if not transcript.done:
                if job is not None and job.ended:
                    raise await asyncio.to_thread(_obituary, job, launch, submission)
                await asyncio.sleep(_READ_S)
        await self._exit_of(submission)

    async def _stop(self, submission: Submission) -> None:
        """Nobody follows it again; whoever resumes the run begins another."""
        await asyncio.to_thread(submission.forget)
        try:
            async with asyncio.timeout(_STOP_S):
                job = await self._own_job(submission)
                # Ray cannot stop one that waits for room: it ends itself when it begins.
                if job is not None and job.status != "PENDING" and not job.ended:
                    log.info("ray_job_stopped", job=submission.id)
                    await self._jobs.stop(submission.id)
                    await self._until_ended(submission.id)
        except (RayUnreachableError, RayRefusedError, TimeoutError) as error:
            log.warning("ray_job_not_stopped_yet", job=submission.id, error=str(error))

    async def _own_job(self, submission: Submission) -> Job | None:
        job = await self._jobs.find(submission.id)
        mark = await asyncio.to_thread(installation, self._data_dir)
        return job if job is not None and Submission.is_of(job, mark) else None

    async def _exit_of(self, submission: Submission) -> None:
        with suppress(TimeoutError, RayUnreachableError):
            async with asyncio.timeout(_EXIT_GRACE_S):
                await self._until_ended(submission.id)

    async def _until_ended(self, submission_id: str) -> None:
        while True:
            job = await self._jobs.find(submission_id)
            if job is None or job.ended:
                return
            await asyncio.sleep(_READ_S)


class _Look:
    """Asks for a job once a second, and knows what it waits for."""

    def __init__(self, jobs: RayJobs, submission_id: str, cpus: float) -> None:
        self._jobs, self._id, self._cpus = jobs, submission_id, cpus
        self._next_s, self._begun_s = 0.0, time.monotonic()
        self._job: Job | None = None
        self.waiting: str | None = None  # words for whoever follows the run

    async def __call__(self) -> Job | None:
        """The job; None when that is not known. ChildInterruptedError when there is none."""
        if time.monotonic() < self._next_s:
            return self._job
        try:
            found = await self._jobs.find(self._id)
        except RayUnreachableError as error:
            self._job, self.waiting = None, f"{error} The run goes on when it is back."
        else:
            if found is None:
                raise ChildInterruptedError(
                    "Ray knows nothing of the job any more, as after a restart of its head node.",
                    blameless=True,
                )
            self._job, self.waiting = found, None
            if found.status == "PENDING" and time.monotonic() - self._begun_s > _PENDING_TOLD_S:
                self.waiting = f"The run waits for room in Ray (RAY_CPUS={self._cpus:g})."
        self._next_s = time.monotonic() + _LOOK_S
        return self._job


def _obituary(job: Job, launch: Launch, submission: Submission) -> Exception:
    """The error to raise for a job that ended without the process's last word."""
    if Submission.recorded(launch.folder) != submission:  # then it ends itself
        return ChildInterruptedError("The job was given up for another one.", blameless=True)
    if job.status == "STOPPED":
        return ChildInterruptedError("Somebody stopped the job in Ray.")
    if job.error_type == "JOB_SUPERVISOR_ACTOR_START_TIMEOUT":
        return ChildInterruptedError("Ray found no room for the job.", blameless=True)
    if job.status == "FAILED" and job.driver_exit_code is None:
        why = (job.message or "Ray does not say why.").strip().splitlines()[0][:500]
        return ChildInterruptedError(f"The job's Ray node was lost: {why}")
    code = job.driver_exit_code
    if (fault := ENTRYPOINT_FAULTS.get(code or 0)) is not None:
        why = fault.format(node=job.driver_node_id, folder=launch.folder)
        return ChildFailedError(why, disk_full=code == DISK_FULL)
    return end_without_a_word("training", code, launch.log_file)
