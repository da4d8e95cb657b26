"""PostgreSQL stops and comes back in the middle of a steady stream of requests."""

from __future__ import annotations

import itertools
import threading
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from tests.postgres import MISSING, find_binaries, postgres_cluster
from tests.program import running, said
from tests.support import claim_slot, wait_for

CLIENTS = 8


@dataclass
class Stream:
    """Clients that ask one request after the other: reads, and writes of new names."""

    base_url: httpx.URL
    statuses: list[tuple[str, int]] = field(default_factory=list)  # phase, status
    answers: list[httpx.Response] = field(default_factory=list)  # that were no success
    phase: str = "before"
    over: threading.Event = field(default_factory=threading.Event)
    numbers: itertools.count[int] = field(default_factory=itertools.count)

    def ask(self, *, writes: bool) -> None:
        with httpx.Client(base_url=self.base_url, timeout=60) as own:
            while not self.over.is_set():
                phase = self.phase  # when it was sent
                answer = (
                    own.post("/users/", json={"username": f"name {next(self.numbers)}"})
                    if writes
                    else own.get("/users/ada")
                )
                self.statuses.append((phase, answer.status_code))
                if not answer.is_success:
                    self.answers.append(answer)

    def count(self, phase: str, *, good: bool) -> int:
        return sum((status == 200) is good for when, status in self.statuses if when == phase)

    def next_phase(self, name: str, *, good: bool) -> None:
        """Wait until something was asked and answered so in this one."""
        self.phase = name
        wait_for(
            f"answers {name}",
            lambda: self.count(name, good=good) >= 5 * CLIENTS,
            timeout_s=60,
        )


def test_a_restart_of_postgresql_costs_only_what_is_in_flight(tmp_path: Path) -> None:
    if find_binaries() is None:
        pytest.skip(MISSING)
    with ExitStack() as stack:
        serve = stack.enter_context(postgres_cluster(tmp_path / "log"))
        slot = stack.enter_context(claim_slot(tmp_path / "data"))
        first = ExitStack()
        url = first.enter_context(serve())
        stack.push(first)
        client, process = stack.enter_context(running(slot | {"DATABASE_URL": url}))
        said(client.post("/users/", json={"username": "ada"}))
        stream = Stream(client.base_url)
        askers = [
            threading.Thread(target=stream.ask, kwargs={"writes": number % 2 == 0})
            for number in range(CLIENTS)
        ]
        for asker in askers:
            asker.start()
        stack.callback(lambda: [asker.join() for asker in askers])
        stack.callback(stream.over.set)

        stream.next_phase("with the database", good=True)
        stream.phase = "while it stops"
        first.close()
        stream.next_phase("without", good=False)
        assert stream.count("with the database", good=False) <= CLIENTS  # were in flight
        stack.enter_context(serve())
        stream.next_phase("back again", good=True)
        stream.over.set()
        for asker in askers:
            asker.join()

        # What was sent after the first connection was possible again: nothing is lost to those in
        # the pool that died.
        assert stream.count("back again", good=False) == 0
        assert {answer.status_code for answer in stream.answers} == {503}
        assert all(int(answer.headers["Retry-After"]) > 0 for answer in stream.answers)
        assert process.poll() is None
        assert said(client.get("/readyz"))["parts"]["database"] is True
