"""`/metrics` for Prometheus: what is asked of the service, how long it takes, what it works on."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from typing import Any

from fastapi import APIRouter, Depends, Request, Response
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    exposition,
)
from prometheus_client.core import GaugeMetricFamily
from sqlalchemy import func, select
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from auth import Token, require_access, require_somebody, visitor_of
from database import SessionDep
from models import Job, JobStatus, Race, RaceStatus, Status, TrainingRun
from racer.errors import UnauthorizedError
from racer.settings import Settings
from racer.web.openapi import body, errors

router = APIRouter(tags=["health"])
_BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)


class Metrics:
    """Counts every request and socket; pure ASGI, as its neighbours are.

    Paths are those of routes, `/users/{username}`: a client cannot make up label values.
    """

    def __init__(self, app: ASGIApp, *, registry: CollectorRegistry) -> None:
        self.app = app
        self._seconds = Histogram(
            "http_request_duration_seconds",
            "From the request's first byte to the answer's last.",
            ("method", "path", "status"),
            buckets=_BUCKETS_S,
            registry=registry,
        )
        self._requests = Gauge("http_requests_in_progress", "Being answered.", registry=registry)
        self._sockets = Gauge("websockets_open", "Open now.", ("path",), registry=registry)
        self._opened = Counter("websockets", "Opened so far.", ("path",), registry=registry)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            with self._requests.track_inprogress():
                await self._answer(scope, receive, send)
        elif scope["type"] == "websocket":
            await self._talk(scope, receive, send)
        else:
            await self.app(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        started, status = time.perf_counter(), 500

        async def watched_send(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = int(message["status"])
            await send(message)

        try:
            await self.app(scope, receive, watched_send)
        finally:
            labels = (_method(scope), _route(scope), str(status))
            self._seconds.labels(*labels).observe(time.perf_counter() - started)

    async def _talk(self, scope: Scope, receive: Receive, send: Send) -> None:
        opened: Gauge | None = None

        async def watched_send(message: Message) -> None:
            nonlocal opened
            if message["type"] == "websocket.accept":
                opened = self._sockets.labels(_route(scope))
                opened.inc()
                self._opened.labels(_route(scope)).inc()
            await send(message)

        try:
            await self.app(scope, receive, watched_send)
        finally:
            if opened is not None:
                opened.dec()


_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


def _method(scope: Scope) -> str:
    return scope["method"] if scope["method"] in _METHODS else "other"


def _route(scope: Scope) -> str:
    return str(getattr(scope.get("route"), "path", "none"))


def make_registry() -> CollectorRegistry:
    """An app's own, with the process's memory, CPU time and open files."""
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    return registry


def _check_scraper(request: Request, session: SessionDep, token: Token) -> None:
    """Raise unless who asks sends METRICS_TOKEN or, where it is not set, is anybody with
    AUTH_MODE=open and an admin with required."""
    settings: Settings = request.app.state.settings
    if settings.metrics_token:
        if not secrets.compare_digest((token or "").encode(), settings.metrics_token.encode()):
            raise UnauthorizedError("Send the server's METRICS_TOKEN as a bearer token.")
    elif settings.auth_mode == "required":
        visitor = visitor_of(session, token, request.app.state)
        require_somebody(visitor)
        require_access(
            None,
            visitor,
            missing="There are no metrics of yours. Ask as an admin, or set METRICS_TOKEN on the "
            "server and send that.",
        )


@router.get(
    "/metrics",
    summary="Metrics for Prometheus",
    response_class=PlainTextResponse,
    responses=body("text/plain", "http_requests_in_progress 1.0\n")
    | errors(s401="They want METRICS_TOKEN, or an admin's token.", s404="They are for admins."),
    dependencies=[Depends(_check_scraper, scope="function")],
)
def read_metrics(request: Request, session: SessionDep) -> Response:
    """Requests by route, method and status, sockets, runs, jobs and races by status, the vehicle's
    connection, and the process's memory, CPU time and open files, in Prometheus' text format."""
    rows = CollectorRegistry()
    rows.register(_Rows(session))
    encode, content_type = exposition.choose_encoder(request.headers.get("accept", ""))
    return Response(encode(request.app.state.metrics) + encode(rows), media_type=content_type)


class _Rows:
    """Counts of what the database knows, asked at each scrape."""

    _KINDS: tuple[tuple[str, Any, Any], ...] = (
        ("training_runs", TrainingRun.status, Status),
        ("jobs", Job.status, JobStatus),
        ("races", Race.status, RaceStatus),
    )

    def __init__(self, session: SessionDep) -> None:
        self._session = session

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """One family a table; a status without rows is told as 0."""
        for name, column, statuses in self._KINDS:
            counted = select(column, func.count()).group_by(column)
            counts: dict[Any, int] = dict(self._session.execute(counted).all())
            family = GaugeMetricFamily(name, "On record, by status.", labels=("status",))
            for status in statuses:
                family.add_metric((status.value,), counts.get(status, 0))
            yield family
