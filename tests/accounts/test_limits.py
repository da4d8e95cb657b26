"""Signing in grows slower, then waits; nobody keeps anybody else out."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from fastapi import FastAPI
from hypothesis import given
from hypothesis import strategies as st
from starlette.testclient import TestClient

from racer.accounts import limits
from racer.accounts.limits import FROM_ADDRESS, GUESSES, Measure, SignInLimits, network_of
from racer.errors import TooManyRequestsError
from tests.accounts.people import PASSWORD, sign_in, sign_up

HERE, THERE = "192.0.2.1", "192.0.2.2"


class Clock:
    """One that a test moves."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


def refused(tries: SignInLimits, account: str, address: str) -> int:
    """Seconds to wait; 0 when it may be tried."""
    try:
        tries.try_to(account, address)
    except TooManyRequestsError as error:
        return error.retry_after_s
    return 0


def test_guesses_slow_down_then_wait_and_are_forgotten_one_by_one(clock: Clock) -> None:
    tries = SignInLimits(clock)
    delays = [tries.try_to("eve", HERE) for _ in range(GUESSES.most)]
    assert delays[: GUESSES.free] == [0.0] * GUESSES.free
    slow = delays[GUESSES.free :]
    assert slow == sorted(slow)
    assert 0 < slow[0] < slow[-1] <= 2.0
    assert refused(tries, "eve", HERE) == GUESSES.forget_s
    clock.now_s += GUESSES.forget_s
    assert refused(tries, "eve", HERE) == 0  # one, not all
    assert refused(tries, "eve", HERE) == GUESSES.forget_s
    clock.now_s += 2 * GUESSES.most * GUESSES.forget_s
    assert tries.try_to("eve", HERE) == 0.0


def test_waiting_is_not_made_longer_by_trying(clock: Clock) -> None:
    tries = SignInLimits(clock)
    for _ in range(GUESSES.most):
        tries.try_to("eve", HERE)
    waits = {refused(tries, "eve", HERE) for _ in range(100)}
    assert waits == {GUESSES.forget_s}


def test_a_stranger_does_not_keep_the_owner_out(clock: Clock) -> None:
    tries = SignInLimits(clock)
    for guess in range(1000):
        refused(tries, "eve", f"198.51.{guess % 100}.{guess // 100}")
    assert refused(tries, "eve", HERE) == 0
    assert tries.try_to("eve", THERE) <= 2.0


def test_one_address_guesses_at_so_many_accounts(clock: Clock) -> None:
    tries = SignInLimits(clock)
    for number in range(FROM_ADDRESS.most):
        assert refused(tries, f"pilot {number}", HERE) == 0
    assert refused(tries, "eve", HERE) == FROM_ADDRESS.forget_s
    assert refused(tries, "eve", THERE) == 0


def test_who_signs_in_is_not_counted(clock: Clock) -> None:
    tries = SignInLimits(clock)
    for _ in range(1000):
        assert tries.try_to("eve", HERE) == 0.0
        tries.succeeded("eve", HERE)


def test_an_own_account_buys_no_guesses_at_others(clock: Clock) -> None:
    tries = SignInLimits(clock)
    allowed = 0
    for _ in range(1000):
        tries.try_to("mallory", HERE)
        tries.succeeded("mallory", HERE)
        allowed += refused(tries, "eve", HERE) == 0
    assert allowed == GUESSES.most


def test_the_memory_is_bounded(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MOST_KEYS", 10)
    measure = Measure(GUESSES, clock)
    for number in range(1000):
        measure.add(f"{number}")
        measure.add("busy")
    assert len(measure._levels) == 10
    assert "busy" in measure._levels  # who is quiet longest is forgotten


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::", "2001:db8:1:2::/64"),
        ("testclient", "testclient"),
        ("", ""),
    ],
)
def test_whose_address_it_is(address: str, network: str) -> None:
    assert network_of(address) == network


@given(st.lists(st.tuples(st.sampled_from("ab"), st.floats(0, 500), st.booleans())))
def test_no_one_waits_longer_than_one_try_is_remembered(
    steps: list[tuple[str, float, bool]],
) -> None:
    clock = Clock()
    tries = SignInLimits(clock)
    for account, pause_s, right in steps:
        clock.now_s += pause_s
        wait_s = refused(tries, account, HERE)
        assert 0 <= wait_s <= GUESSES.forget_s
        if right and not wait_s:
            tries.succeeded(account, HERE)


@pytest.fixture
def no_delay(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Notes delays instead of waiting."""
    delays: list[float] = []
    real = asyncio.sleep

    async def note(delay_s: float, result: Any = None) -> Any:
        delays.append(delay_s)
        return await real(0, result)

    monkeypatch.setattr("racer.accounts.signing_in.asyncio.sleep", note)
    return delays


def test_too_many_guesses_are_a_429_that_says_when_again(
    client: TestClient, app: FastAPI, no_delay: list[float]
) -> None:
    clock = Clock()
    app.state.sign_in_limits = SignInLimits(clock)
    sign_up(client, "eve")
    sign_up(client, "ada")
    for _ in range(GUESSES.most):
        assert sign_in(client, "eve", "wrong horse").status_code == 401
    assert max(no_delay) > 0
    for password in ("wrong horse", PASSWORD):  # which tells nothing about the password
        answer = sign_in(client, " eve ", password)
        assert answer.status_code == 429
        assert int(answer.headers["Retry-After"]) == GUESSES.forget_s
        assert answer.headers["Content-Type"] == "application/problem+json"
        assert "60 s" in answer.json()["detail"]
    assert sign_in(client, "ada", PASSWORD).status_code == 200
    clock.now_s += GUESSES.forget_s
    assert sign_in(client, "eve", PASSWORD).status_code == 200


def test_names_of_nobody_are_limited_as_others(client: TestClient, no_delay: list[float]) -> None:
    for name in ("nobody", "\x00/"):
        statuses = [sign_in(client, name, "x").status_code for _ in range(GUESSES.most + 1)]
        assert statuses == [401] * GUESSES.most + [429]
