"""How long a client may take over its request, and how many may be at it.

uvicorn waits for ever for the rest of a request that has begun, and for a client that does not read
its answer. A few thousand such clients would use up the open files of the process. Here each has
its time, and of those that only wait the oldest go when there are too many.
"""

from __future__ import annotations

import asyncio
import json
import resource
from typing import Any

import structlog
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_S = 10.0  # for a whole head; a connection that is kept alive has uvicorn's 5 s before it
BODY_S = 30.0  # for a body that does not come,
BODY_BYTES_S = 500.0  # and one second more for so many bytes that do
READ_S = 60.0  # without reading anything of the answer that fills our buffers
_LOOK_S = 1.0
_YOUNG_S = 0.1  # what was accepted just now has had no chance to be read
_MOST_FILES = 65_536
log = structlog.get_logger(__name__)

_TOO_SLOW = json.dumps(
    {
        "title": "Request Timeout",
        "status": 408,
        "detail": "The request did not come in time. Send it again, at once and as a whole.",
    }
).encode("ascii")
_ANSWER = (
    b"HTTP/1.1 408 Request Timeout\r\nContent-Type: application/problem+json\r\n"
    b"Content-Length: %d\r\nConnection: close\r\n\r\n%b" % (len(_TOO_SLOW), _TOO_SLOW)
)


def allow_open_files() -> int:
    """Raise the process's own limit as far as it may, and return it: each client needs one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = _MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, _MOST_FILES)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
        return most
    return _MOST_FILES if soft == resource.RLIM_INFINITY else soft


class Waiting:
    """The connections whose clients have to do something, in the order in which they began."""

    def __init__(self, most: int) -> None:
        """`most`: of them at a time."""
        self._most = most
        self._since: dict[PatientProtocol, float] = {}
        self._looking = False
        self._told = False

    def begin(self, connection: PatientProtocol) -> None:
        """It is the client's turn."""
        now = connection.loop.time()
        self._since.pop(connection, None)
        self._since[connection] = now
        if len(self._since) > self._most:
            self._drop_oldest(now)
        if not self._looking:
            self._looking = True
            connection.loop.call_later(_LOOK_S, self._look, connection.loop)

    def end(self, connection: PatientProtocol) -> None:
        """It is ours, or there is no client any more."""
        self._since.pop(connection, None)

    def _drop_oldest(self, now: float) -> None:
        oldest, since = next(iter(self._since.items()))
        if now - since < _YOUNG_S:
            return
        del self._since[oldest]
        oldest.transport.abort()
        if not self._told:
            self._told = True
            log.warning("too many idle connections: the oldest are cut", most=self._most)

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        """Cut who is out of time."""
        now = loop.time()
        late = [one for one in self._since if now > one.deadline]
        for connection in late:
            connection.run_out()
        self._told = self._told and len(self._since) >= self._most
        self._looking = bool(self._since)
        if self._looking:
            loop.call_later(_LOOK_S, self._look, loop)


class PatientProtocol(HttpToolsProtocol):
    """uvicorn's protocol with these limits."""

    def __init__(self, *args: Any, waiting: Waiting, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._waiting = waiting
        self.deadline = 0.0  # of the loop's clock
        self._lost = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for a head."""
        super().connection_made(transport)
        self._wait(HEAD_S)

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no more, whatever is still being computed for the client who left."""
        self._lost = True
        self._waiting.end(self)
        super().connection_lost(exc)

    def on_headers_complete(self) -> None:
        """Wait for a body; when there is none, `on_message_complete` follows at once."""
        super().on_headers_complete()
        self._wait(BODY_S)

    def on_body(self, body: bytes) -> None:
        """Who sends gets more time."""
        super().on_body(body)
        self.deadline += len(body) / BODY_BYTES_S

    def on_message_complete(self) -> None:
        """Wait no more, unless the answer was given before the end of the question."""
        super().on_message_complete()
        self._look_whose_turn()

    def on_response_complete(self) -> None:
        """Wait for the next head."""
        super().on_response_complete()
        self._look_whose_turn()

    def handle_websocket_upgrade(self) -> None:
        """From here on it is another protocol's."""
        self._waiting.end(self)
        super().handle_websocket_upgrade()

    def pause_writing(self) -> None:
        """Wait for the client to read."""
        super().pause_writing()
        self._wait(READ_S)

    def resume_writing(self) -> None:
        """It did."""
        super().resume_writing()
        self._look_whose_turn()

    def run_out(self) -> None:
        """The client's time is over, unless it is us who did not read."""
        cycle = self.cycle
        busy = cycle is not None and not cycle.response_complete
        if busy and (self.flow.read_paused or cycle.waiting_for_100_continue):
            self._wait(BODY_S)
            return
        self._waiting.end(self)
        if not self.transport.is_closing() and not (busy and cycle.response_started):
            self.transport.write(_ANSWER)
        if self.transport.get_write_buffer_size():  # it would be waited for until it is read
            self.transport.abort()
        else:
            self.transport.close()

    def _look_whose_turn(self) -> None:
        if self.cycle is None or self.cycle.response_complete:
            self._wait(self.timeout_keep_alive + HEAD_S)
        elif self.cycle.more_body:
            self._wait(BODY_S)
        else:
            self._waiting.end(self)

    def _wait(self, seconds: float) -> None:
        if not self._lost:
            self.deadline = self.loop.time() + seconds
            self._waiting.begin(self)
