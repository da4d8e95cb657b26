"""The Jobs API of a Ray cluster's dashboard, as far as trainings need it.

It is plain HTTP and JSON (docs.ray.io, "Ray Jobs REST API"), so the server needs no Ray of its own,
and none of the cluster's version.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, TypeVar

import httpx
import structlog
from pydantic import BaseModel, TypeAdapter, ValidationError

_TIMEOUT_S = 5.0
_ENDED = frozenset({"SUCCEEDED", "FAILED", "STOPPED"})
_NO_ACCESS = (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN)

T = TypeVar("T")

log = structlog.get_logger(__name__)


class RayUnreachableError(Exception):
    """The cluster cannot be asked now; the text says why, for a person."""


class RayRefusedError(Exception):
    """The cluster will not have the job."""


class Job(BaseModel):
    """What Ray tells of a job."""

    submission_id: str | None = None  # None: somebody's driver that was not submitted
    status: str  # PENDING, RUNNING, STOPPED, SUCCEEDED, FAILED
    message: str | None = None
    error_type: str | None = None
    metadata: dict[str, str] | None = None
    driver_exit_code: int | None = None  # of its command; None when that is not what ended it
    driver_node_id: str | None = None

    @property
    def ended(self) -> bool:
        """Whether its processes are gone."""
        return self.status in _ENDED


_JOB, _JOBS = TypeAdapter(Job), TypeAdapter(list[Job])


class RayJobs:
    """A client. Every call raises RayUnreachableError when the cluster cannot be asked."""

    def __init__(self, address: str, *, token: str) -> None:
        self._address = re.sub(r"//[^/@]*@", "//", address)  # as it is told: without a password
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._http = httpx.AsyncClient(base_url=address, headers=headers, timeout=_TIMEOUT_S)
        self._away = False

    async def close(self) -> None:
        """Close its connections."""
        await self._http.aclose()

    async def submit(
        self, submission_id: str, entrypoint: str, *, cpus: float, metadata: Mapping[str, str]
    ) -> None:
        """Queue a shell command. Raises RayRefusedError unless it, or an earlier job of that id, is
        queued."""
        body = {
            "submission_id": submission_id,
            "entrypoint": entrypoint,
            "entrypoint_num_cpus": cpus,  # also what lets it run on other nodes than the head
            "metadata": dict(metadata),
        }
        try:
            await self._ask("POST", "/api/jobs/", json=body)
        except RayUnreachableError:
            if await self.find(submission_id) is None:  # an answer can be lost, and ids are taken
                raise

    async def find(self, submission_id: str) -> Job | None:
        """The job of that id."""
        answer = await self._ask("GET", f"/api/jobs/{submission_id}")
        return None if answer is None else self._understood(_JOB, answer)

    async def all(self) -> list[Job]:
        """Every job that the cluster remembers, whoever's it is."""
        answer = await self._ask("GET", "/api/jobs/")
        return [] if answer is None else self._understood(_JOBS, answer)

    async def stop(self, submission_id: str) -> None:
        """Ask its processes to end; they are killed some seconds later."""
        await self._ask("POST", f"/api/jobs/{submission_id}/stop")

    async def _ask(self, method: str, path: str, **options: Any) -> httpx.Response | None:
        """The answer; None when there is no such thing."""
        try:
            answer = await self._http.request(method, path, **options)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            why = str(error) or type(error).__name__
            raise self._unreachable(f"cannot be reached ({why})") from error
        if answer.status_code == httpx.codes.NOT_FOUND and "does not exist" in answer.text:
            self._reached()
            return None
        if answer.status_code in _NO_ACCESS:
            raise self._unreachable("wants another RAY_AUTH_TOKEN")
        if answer.status_code == httpx.codes.BAD_REQUEST:
            raise RayRefusedError(f"The Ray cluster refused the job: {_last_line(answer.text)}")
        if not answer.is_success:
            raise self._unreachable(
                f"answers {answer.status_code} to {method} {path}: {_last_line(answer.text)}"
            )
        return answer

    def _understood(self, form: TypeAdapter[T], answer: httpx.Response) -> T:
        try:
            understood = form.validate_json(answer.content)
        except ValidationError as error:
            raise self._unreachable("does not answer as Ray's dashboard does") from error
        self._reached()
        return understood

    def _reached(self) -> None:
        if self._away:
            log.info("ray_reachable", address=self._address)
            self._away = False

    def _unreachable(self, why: str) -> RayUnreachableError:
        text = f"The Ray cluster at {self._address} {why}."
        if not self._away:
            log.warning("ray_unreachable", error=text)
            self._away = True
        return RayUnreachableError(text)


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip(" .")]
    return lines[-1][:300] if lines else "nothing"
