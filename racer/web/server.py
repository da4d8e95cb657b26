"""Running the app: the port first, then the resources, then requests, and all back in order.

The lifespan is entered here and not by uvicorn, so that a start that fails ends in one clear
sentence, and a Ctrl-C during the start unwinds what has begun. The port is taken before anything
else starts: two stacks never half-start on one machine. Open streams end at once when the service
stops; uvicorn closes WebSockets with 1012, waits for the answers that are under way and cancels
what is left after five seconds.
"""

from __future__ import annotations

import asyncio
import gc
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import structlog
import uvicorn
from fastapi import FastAPI
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from racer.errors import ConfigurationError, RacerError
from racer.secret_key import require_safe
from racer.settings import Settings
from racer.web.patience import PatientProtocol, Waiting, allow_open_files

log = structlog.get_logger(__name__)
_MAX_SOCKET_MESSAGE_BYTES = 1 << 20
_FINISH_S = 5  # for the requests that are being answered when the service stops
_MOST_WAITING = 1024  # clients that have not sent their request yet, and at most
_FILES_FOR_WAITING = 0.25  # of the files that we may open for them


def serve(app: FastAPI, settings: Settings) -> int:
    """Serve until SIGINT or SIGTERM; returns the process's exit code."""
    try:
        require_safe(settings)
        listener = listen(settings.host, settings.port)
    except ConfigurationError as error:
        return _refuse(error)
    streams = EndStreams(app)
    config = uvicorn.Config(
        streams,
        http=_patient_protocol(),
        log_config=None,
        access_log=False,
        lifespan="off",
        ws=RefusingProtocol,
        ws_max_size=_MAX_SOCKET_MESSAGE_BYTES,
        timeout_graceful_shutdown=_FINISH_S,
        server_header=False,
    )
    config.load()  # before the lifespan: NiceGUI looks there for the server of its app
    server = _Server(config, streams)
    with listener, asyncio.Runner(loop_factory=config.get_loop_factory()) as runner:
        try:
            runner.run(_run(app, server, listener))
        except RacerError as error:
            return _refuse(error)
        except (asyncio.CancelledError, KeyboardInterrupt):
            log.info("stopped while starting")
    return 0


def _patient_protocol() -> Any:
    most = min(_MOST_WAITING, int(allow_open_files() * _FILES_FOR_WAITING))
    return partial(PatientProtocol, waiting=Waiting(most))


def listen(host: str, port: int) -> socket.socket:
    """The listening socket; ConfigurationError says who could not have what, and what to set."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        # With its protocol: asyncio sets TCP_NODELAY only on sockets that say they are TCP.
        listener = socket.socket(family, kind, protocol)
    except OSError as error:
        raise ConfigurationError(f"HOST={host} is no address of this machine.") from error
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        # Listening at once, not when the start is done: a bound port alone would not stop a
        # second server, and early clients wait a moment instead of being refused.
        listener.listen(2048)
    except OSError as error:
        listener.close()
        raise ConfigurationError(
            f"Cannot listen on {host}:{port}: {(error.strerror or str(error)).lower()}. "
            "Stop what uses it (perhaps another Toledo Racer), or set PORT to another number."
        ) from error
    return listener


def url_of(listener: socket.socket, host: str) -> str:
    """What a person types into a browser on this machine."""
    shown = {"0.0.0.0": "127.0.0.1", "::": "[::1]", "": "127.0.0.1"}.get(  # noqa: S104 # nosec B104
        host, f"[{host}]" if ":" in host else host
    )
    return f"http://{shown}:{listener.getsockname()[1]}"


async def _run(app: FastAPI, server: _Server, listener: socket.socket) -> None:
    """Enter the app's lifespan, serve inside it, leave it. A second signal hurries."""
    loop = asyncio.get_running_loop()
    task = asyncio.current_task()

    def stop() -> None:
        if server.started and not server.stopped:
            server.force_exit = server.should_exit
            server.should_exit = True
        elif task is not None:
            task.cancel()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop)
    url = url_of(listener, str(app.state.settings.host))
    async with app.router.lifespan_context(app):
        # What is there now stays: without it, each of the collector's full passes would look at
        # the 200,000 objects of imports again.
        gc.collect()
        gc.freeze()
        print(f"Toledo Racer is at {url} (API: {url}/docs). Ctrl-C stops it.", flush=True)
        await server.serve(sockets=[listener])
        server.stopped = True


class _Server(uvicorn.Server):
    """uvicorn without its own signal handling, which would end the process before our lifespan."""

    def __init__(self, config: uvicorn.Config, streams: EndStreams) -> None:
        super().__init__(config)
        self.stopped = False
        self._streams = streams

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals to `_run`."""
        yield

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End the streams, then everything else."""
        self._streams.stopping.set()
        await super().shutdown(sockets)


class RefusingProtocol(WebSocketsSansIOProtocol):
    """A socket's protocol that knows that a refusal ends the handshake.

    uvicorn's own sends our answer, then takes the handshake for forgotten and logs an error.
    """

    async def send(self, message: Any) -> None:
        """An ASGI message of the app."""
        await super().send(message)
        if message["type"] == "websocket.http.response.body" and not message.get("more_body"):
            self.handshake_complete = True


class EndStreams:
    """ASGI middleware that ends open streamed answers when `stopping` is set.

    A camera stream never ends by itself. Its response waits for the client's disconnect message
    (ASGI 2.3); it gets one, and the body is then closed properly. Costs nothing to requests that
    end by themselves: they do not ask for a message after their body.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self.stopping = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        body_read = answer_open = False

        async def receive_or_stop() -> Message:
            nonlocal body_read
            if not body_read:
                message = await receive()
                body_read = not message.get("more_body", False)
                return message
            return await self._message_or_stop(receive)

        async def watched_send(message: Message) -> None:
            nonlocal answer_open
            answer_open = message["type"] == "http.response.start" or message.get(
                "more_body", False
            )
            await send(message)

        await self.app(scope, receive_or_stop, watched_send)
        if answer_open and self.stopping.is_set():
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _message_or_stop(self, receive: Receive) -> Message:
        async with asyncio.TaskGroup() as group:
            message = group.create_task(_receive(receive))
            stop = group.create_task(self.stopping.wait())
            await asyncio.wait({message, stop}, return_when=asyncio.FIRST_COMPLETED)
            arrived = message.done()
            for task in (message, stop):
                task.cancel()
        return message.result() if arrived else {"type": "http.disconnect"}


async def _receive(receive: Receive) -> Message:
    return await receive()


def _refuse(error: RacerError) -> int:
    print(f"Toledo Racer cannot start: {error.message}", file=sys.stderr, flush=True)
    return 1
