"""A service with everything that could hold up a stop; run by test_web_server."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import APIRouter, FastAPI, WebSocket
from starlette.responses import StreamingResponse

from racer.errors import ConfigurationError
from racer.process import configure_logging
from racer.settings import get_settings
from racer.web.app import assemble
from racer.web.server import serve

router = APIRouter()


@router.get("/stream")
async def stream() -> StreamingResponse:
    async def frames() -> AsyncIterator[bytes]:
        while True:
            yield b"frame"
            await asyncio.sleep(0.05)

    return StreamingResponse(frames())


@router.get("/silent")
async def silent() -> StreamingResponse:
    async def nothing() -> AsyncIterator[bytes]:
        yield b"begin"
        await asyncio.Event().wait()

    return StreamingResponse(nothing())


@router.get("/slow")
def slow() -> str:
    time.sleep(0.5)
    return "done"


@router.websocket("/socket")
async def socket(websocket: WebSocket) -> None:
    await websocket.accept()
    await websocket.send_text("hello")
    async for _ in websocket.iter_text():
        pass


@asynccontextmanager
async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
    """`ok`, `broken` (cannot start) or `endless` (never done starting)."""
    if sys.argv[1] == "broken":
        raise ConfigurationError("The moon is in the way. Move it.")
    if sys.argv[1] == "endless":
        print("starting", flush=True)
        await asyncio.Event().wait()
    yield
    print("lifespan left", flush=True)


if __name__ == "__main__":
    settings = get_settings()
    configure_logging(settings.log_level, program="toy")
    sys.exit(serve(assemble(settings, routers=[router], lifespan=lifespan), settings))
