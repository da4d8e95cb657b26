"""Assembling the app: the same middleware, errors and database for the product and for tests."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from fastapi import APIRouter, FastAPI
from fastapi.concurrency import run_in_threadpool
from fastapi_offline import FastAPIOffline
from starlette.middleware.cors import CORSMiddleware

from database import Database
from racer.secret_key import load_secret_key
from racer.settings import Settings
from racer.web.compression import Compressed
from racer.web.errors import install_error_handlers
from racer.web.idempotency import Idempotent
from racer.web.links import with_links
from racer.web.metrics import Metrics, make_registry
from racer.web.middleware import BodyLimit, EitherSlash, RequestLog, SecurityHeaders
from racer.web.openapi import UNFORESEEN, errors, with_examples
from racer.web.origins import LOCAL_ORIGIN, KnownPages
from racer.web.sockets import Sockets
from racer.web.tracing import Traced, tracing
from racer.web.write_limit import WriteLimit
from schemas import ValidationErrorOut

# The longest reward function, every character of it escaped, fits. Reading 2 MiB of brackets as
# JSON would keep every other client waiting for most of a second.
MAX_BODY_BYTES = 1 << 20


def assemble(
    settings: Settings,
    *,
    routers: Iterable[APIRouter],
    lifespan: Callable[[FastAPI], AbstractAsyncContextManager[None]],
    large_bodies: Mapping[str, int] | None = None,
) -> FastAPI:
    """An app with `routers` behind the common middleware; `lifespan` makes its resources.

    `large_bodies`: bytes that bodies may have at paths which match a pattern, instead of 1 MiB.
    """
    app = FastAPIOffline(  # /docs and /redoc from our own host: a laptop may have no internet
        title="Toledo Racer",
        summary="Train, race and fly autonomous drones.",
        version="0.1.0",
        lifespan=lifespan,
        redirect_slashes=False,  # EitherSlash does it without a redirect
        responses={
            422: {"model": ValidationErrorOut, "description": "Input that means nothing."},
            **errors(s500=UNFORESEEN),
        },
    )
    app.state.settings = settings
    app.state.sockets = Sockets(settings.max_sockets_per_user)
    described = app.openapi
    app.openapi = lambda: with_links(with_examples(described()))  # type: ignore[method-assign]
    for router in routers:
        app.include_router(router)
    install_error_handlers(app)
    # The last one added is the outermost: an error answer needs its CORS headers too.
    app.add_middleware(Idempotent, routes=app.routes)
    app.add_middleware(EitherSlash, routes=app.routes)
    app.add_middleware(BodyLimit, max_bytes=MAX_BODY_BYTES, exceptions=large_bodies or {})
    app.add_middleware(WriteLimit, per_minute=settings.writes_per_minute)
    app.add_middleware(KnownPages, settings=settings)
    app.state.metrics = make_registry()
    app.add_middleware(Metrics, registry=app.state.metrics)
    app.add_middleware(RequestLog)
    app.add_middleware(Compressed)
    if settings.otel_exporter_otlp_endpoint:
        app.add_middleware(Traced)
    app.add_middleware(SecurityHeaders, may_frame=settings.cors_origins)
    app.add_middleware(
        CORSMiddleware,
        allow_origins=settings.cors_origins,
        allow_origin_regex=LOCAL_ORIGIN,
        allow_credentials="*" not in settings.cors_origins,
        allow_methods=["*"],
        allow_headers=["*"],
        expose_headers=["ETag", "Idempotency-Replayed", "Link", "Retry-After", "X-Request-ID"],
    )
    return app


@asynccontextmanager
async def spine(app: FastAPI) -> AsyncIterator[None]:
    """The part of the lifespan that every assembly needs: migrated database, secret key."""
    settings: Settings = app.state.settings
    database = Database(settings.effective_database_url)
    try:
        await run_in_threadpool(database.upgrade)
        app.state.secret_key = await run_in_threadpool(load_secret_key, settings)
        app.state.database = database
        async with tracing(app, database.engine):
            yield
    finally:
        database.dispose()
