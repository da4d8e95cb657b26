"""Understanding what a pilot or a program sends, whatever it is."""

from __future__ import annotations

import json
from math import pi

import pytest
from hypothesis import given
from hypothesis import strategies as st

from racer.flight.authority import Lease
from racer.flight.commands import (
    MAX_TEXT,
    TIME_LIMITS_S,
    VELOCITIES,
    BodyVelocity,
    Command,
    CommandRequest,
    CommandResult,
    Order,
    Sent,
    StickRequest,
    parse_request,
)
from racer.flight.plan import MAX_RACE_S
from racer.flight.race import APPROACH_S, SETTLE_MOST_S
from racer.identity import boot_id

WORDS = [command for command in Command if command is not Command.FLY_POLICY]
RUN = "1b4e28ba-2fa1-41d2-883f-0016d3cca427"


@pytest.mark.parametrize("command", WORDS)
def test_bare_words_and_envelopes_mean_the_same(command: Command) -> None:
    assert parse_request(command) == CommandRequest(command)
    assert parse_request(f" {command}\n") == CommandRequest(command)
    envelope = json.dumps({"id": "5f", "command": command, "later": 1})
    assert parse_request(envelope) == CommandRequest(command, "5f")
    assert parse_request(json.dumps({"id": None, "command": command})) == CommandRequest(command)


def test_a_policy_is_named_behind_the_word_or_in_the_envelope() -> None:
    wanted = CommandRequest(Command.FLY_POLICY, policy=RUN)
    assert parse_request(f"fly_policy {RUN}") == wanted
    assert parse_request(f" fly_policy   {RUN}\n") == wanted
    assert parse_request(json.dumps({"command": f"fly_policy {RUN}"})) == wanted
    envelope = json.dumps({"id": "5f", "command": "fly_policy", "policy": RUN})
    assert parse_request(envelope) == CommandRequest(Command.FLY_POLICY, "5f", RUN)
    assert str(Order(Command.FLY_POLICY, RUN)) == f"fly_policy {RUN}"
    assert str(Order(Command.LAND)) == "land"


@pytest.mark.parametrize(
    ("text", "request_id", "says"),
    [
        ("", None, "Unknown command ''"),
        ("fly", None, "Unknown command 'fly'"),
        ("TAKEOFF", None, "Unknown command 'TAKEOFF'"),
        ('{"id": "7", "command": "fly"}', "7", "Unknown command 'fly'"),
        ('{"id": "7"}', "7", "command must be a string"),
        ('{"id": "7", "command": ["land"]}', "7", "command must be a string"),
        ('{"id": 7, "command": "land"}', None, "id must be a string"),
        ('{"command": "land"', None, "not valid JSON"),
        ("{" * 4000, None, "not valid JSON"),
        ('{"a":' * 800, None, "not valid JSON"),
        ("land" * MAX_TEXT, None, "longer than"),
        ("takeoff land", None, "Unknown command 'takeoff land'"),
        ("fly_policy", None, "wants a policy's id"),
        ("fly_policy " + "a" * 65, None, "wants a policy's id"),
        ('{"id": "7", "command": "fly_policy"}', "7", "wants a policy's id"),
        ('{"id": "7", "command": "fly_policy", "policy": 7}', "7", "wants a policy's id"),
        ('{"id": "7", "command": "land", "policy": "7"}', "7", "takes no argument"),
    ],
)
def test_nonsense_is_answered(text: str, request_id: str | None, says: str) -> None:
    answer = parse_request(text)
    assert isinstance(answer, CommandResult)
    assert not answer.ok
    assert answer.id == request_id
    assert says in answer.message
    assert len(answer.to_json()) < 1000


def test_an_unknown_command_is_told_all_of_them() -> None:
    answer = parse_request("fly")
    assert isinstance(answer, CommandResult)
    assert all(command in answer.message for command in Command)


@given(st.text())
def test_any_text_is_understood_or_answered(text: str) -> None:
    answer = parse_request(text)
    if isinstance(answer, CommandResult):
        json.loads(answer.to_json())
    else:
        assert text.strip() == str(Order(answer.command, answer.policy))


@given(st.recursive(st.none() | st.booleans() | st.floats() | st.text(), st.lists, max_leaves=5))
def test_any_envelope_is_answered(value: object) -> None:
    answer = parse_request(json.dumps({"id": value, "command": value}))
    assert isinstance(answer, CommandResult)
    json.loads(answer.to_json())


def test_results_are_the_contract_of_the_topic() -> None:
    result = CommandResult(Command.LAND, ok=True, message="On the ground.", id="5f")
    assert json.loads(result.to_json()) == {
        "id": "5f",
        "command": "land",
        "ok": True,
        "message": "On the ground.",
    }


def test_the_pilots_numbers() -> None:
    assert VELOCITIES[Command.MOVE_FORWARD] == BodyVelocity(forward_m_s=2.0)
    assert VELOCITIES[Command.MOVE_BACKWARD] == BodyVelocity(forward_m_s=-2.0)
    left, right = VELOCITIES[Command.TURN_LEFT], VELOCITIES[Command.TURN_RIGHT]
    assert left.yaw_rate_rad_s == pytest.approx(pi / 6)  # counter-clockwise: to the left
    assert right.yaw_rate_rad_s == pytest.approx(-pi / 6)
    assert left.forward_m_s == right.forward_m_s == 0.0


def test_every_command_has_a_time_limit_that_covers_what_it_waits_for() -> None:
    assert set(TIME_LIMITS_S) == set(Command)
    assert TIME_LIMITS_S[Command.TAKEOFF] > 2.0 + 15.0 + 20.0 + 4.0  # landed, ready, climb, settle
    policy = TIME_LIMITS_S[Command.TAKEOFF] + APPROACH_S + SETTLE_MOST_S + MAX_RACE_S
    assert TIME_LIMITS_S[Command.FLY_POLICY] > policy + 10.0  # and time to stand still
    assert TIME_LIMITS_S[Command.LAND] > 90.0 / 1.5 + 10.0 / 0.7  # PX4's speeds, from 100 m
    assert min(TIME_LIMITS_S.values()) > 2.0 + 1.5  # an unanswered request, a heartbeat


def test_sticks_are_right_and_clockwise_positive() -> None:
    text = '{"type": "velocity", "forward": 1.5, "right": 0.5, "up": -1, "yaw_rate": 90, "id": "s"}'
    assert parse_request(text) == StickRequest(BodyVelocity(1.5, -0.5, -1.0, -pi / 2), "s")
    assert parse_request('{"type": "velocity"}') == StickRequest(BodyVelocity())


@pytest.mark.parametrize(
    ("part", "says"),
    [
        ('"forward": NaN', "'forward' must lie between -100 and 100"),
        ('"up": Infinity', "'up' must lie between"),
        ('"yaw_rate": -1e300', "'yaw_rate' must lie between -3600 and 3600"),
        ('"right": 1' + "0" * 400, "'right' must lie between"),
        ('"right": true', "'right' must be a number"),
        ('"right": "2"', "'right' must be a number"),
        ('"right": null', "'right' must be a number"),
        ('"lease": 7', "A lease is"),
        ('"lease": {"token": true, "holder": "a"}', "A lease is"),
        ('"lease": {"token": 1.0, "holder": "a"}', "A lease is"),
        ('"sent": {"boot": 1, "s": 2}', "When it was sent is"),
    ],
)
def test_sticks_that_mean_nothing_are_answered(part: str, says: str) -> None:
    answer = parse_request(f'{{"type": "velocity", "id": "s", {part}}}')
    assert isinstance(answer, CommandResult)
    assert not answer.ok
    assert answer.id == "s"
    assert answer.command == "velocity"
    assert says in answer.message


def test_an_envelope_carries_its_right_and_its_time() -> None:
    envelope = {
        "id": "1",
        "command": "land",
        "lease": {"token": 3, "holder": "here"},
        "sent": {"boot": boot_id(), "s": 12.5},
    }
    request = parse_request(json.dumps(envelope))
    assert isinstance(request, CommandRequest)
    assert request.lease == Lease(3, "here")
    assert request.sent is not None
    assert request.sent.age_s(13.0) == pytest.approx(0.5)
    assert Sent("elsewhere", 1.0).age_s(13.0) is None
