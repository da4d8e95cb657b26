"""Traces by OpenTelemetry when OTEL_EXPORTER_OTLP_ENDPOINT is set: a span a request, and in it one
a database statement.

The packages are an extra (requirements-otel.txt) and imported only then. OTEL_SERVICE_NAME,
OTEL_RESOURCE_ATTRIBUTES, OTEL_EXPORTER_OTLP_HEADERS and OTEL_TRACES_SAMPLER mean what OpenTelemetry
says. Statements are told with placeholders: nobody's values leave with them.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI
from fastapi.concurrency import run_in_threadpool
from sqlalchemy import Engine, event
from sqlalchemy.engine import ExceptionContext
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from racer.errors import ConfigurationError

_QUIET_PATHS = frozenset({"/livez", "/readyz", "/metrics"})
_TIMEOUT_S = 5  # of one export: a collector that is away must not hold up the end
_MISSING = (
    "OTEL_EXPORTER_OTLP_ENDPOINT is set, and the packages for traces are not installed. Type "
    ".venv/bin/pip install -r requirements-otel.txt, or leave it empty."
)


class Traced:
    """ASGI middleware that makes a span of every request, as a part of the caller's trace.

    The provider is `app.state.tracer_provider`, which `tracing` made.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        provider = None
        if scope["type"] == "http" and scope["path"] not in _QUIET_PATHS:
            provider = getattr(scope["app"].state, "tracer_provider", None)
        if provider is None:
            await self.app(scope, receive, send)
            return
        from opentelemetry import propagate, trace  # noqa: PLC0415 - an extra

        method = scope["method"]
        span_of = provider.get_tracer("toledo-racer").start_as_current_span(
            method,
            context=propagate.extract(dict(Headers(scope=scope))),
            kind=trace.SpanKind.SERVER,
            attributes={"http.request.method": method, "url.path": scope["path"]},
            record_exception=False,  # the log has it; its text may hold values
        )
        with span_of as span:

            async def watched_send(message: Message) -> None:
                if message["type"] == "http.response.start":
                    status = message["status"]
                    span.set_attribute("http.response.status_code", status)
                    if status >= 500:
                        span.set_status(trace.StatusCode.ERROR)
                await send(message)

            await self.app(scope, receive, watched_send)
            route = getattr(scope.get("route"), "path", None)
            if route is not None:
                span.update_name(f"{method} {route}")
                span.set_attribute("http.route", route)
            span.set_attribute("request.id", scope.get("state", {}).get("request_id", ""))


@asynccontextmanager
async def tracing(app: FastAPI, engine: Engine) -> AsyncIterator[None]:
    """While it lasts requests and the engine's statements are traced, if that is configured.

    Raises ConfigurationError when the packages are missing.
    """
    endpoint = app.state.settings.otel_exporter_otlp_endpoint
    if not endpoint:
        yield
        return
    provider = _provider(endpoint)
    app.state.tracer_provider = provider
    _trace_statements(engine, provider.get_tracer("toledo-racer"))
    try:
        yield
    finally:
        app.state.tracer_provider = None
        await run_in_threadpool(provider.shutdown)  # sends what is left


def _provider(endpoint: str) -> Any:
    try:
        # An extra: whoever does not trace does not have it.
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import (  # noqa: PLC0415
            OTLPSpanExporter,
        )
        from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415
    except ImportError as error:
        raise ConfigurationError(_MISSING) from error
    named = "OTEL_SERVICE_NAME" in os.environ
    resource = Resource.create({} if named else {"service.name": "toledo-racer"})
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    exporter = OTLPSpanExporter(f"{endpoint.rstrip('/')}/v1/traces", timeout=_TIMEOUT_S)
    provider.add_span_processor(BatchSpanProcessor(exporter))
    return provider


def _trace_statements(engine: Engine, tracer: Any) -> None:
    from opentelemetry import trace  # noqa: PLC0415 - an extra

    system = engine.dialect.name

    def begin(
        _connection: Any, _cursor: Any, statement: str, _parameters: Any, context: Any, _many: bool
    ) -> None:
        if not trace.get_current_span().is_recording():  # nobody asked: a service looks around
            return
        context.racer_span = tracer.start_span(
            statement.split(None, 1)[0].upper(),
            kind=trace.SpanKind.CLIENT,
            attributes={"db.system.name": system, "db.query.text": statement},
        )

    def end(
        _connection: Any, _cursor: Any, _statement: str, _parameters: Any, context: Any, _many: bool
    ) -> None:
        if (span := getattr(context, "racer_span", None)) is not None:
            span.end()

    def fail(failure: ExceptionContext) -> None:
        span = getattr(failure.execution_context, "racer_span", None)
        if span is not None:
            # Not the error itself: SQLAlchemy's text has the statement's values.
            span.set_status(trace.StatusCode.ERROR, type(failure.original_exception).__name__)
            span.end()

    event.listen(engine, "before_cursor_execute", begin)
    event.listen(engine, "after_cursor_execute", end)
    event.listen(engine, "handle_error", fail)
