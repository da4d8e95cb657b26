"""Each id once, nothing old, and stop and land always."""

from __future__ import annotations

import pytest

from racer.errors import InvalidInputError
from racer.flight.admission import OPEN, STALE_S, Admission, Repeated, parse_presence
from racer.flight.authority import Authority, Lease, Patience
from racer.flight.commands import (
    BodyVelocity,
    Command,
    CommandRequest,
    CommandResult,
    Sent,
    StickRequest,
    parse_request,
)
from racer.identity import boot_id

LEASE = Lease(1, "here")


@pytest.fixture
def admission() -> Admission:
    return Admission(Authority(Patience()))


def test_a_repeated_id_gets_the_answer_it_got(admission: Admission) -> None:
    request = CommandRequest(Command.TAKEOFF, "7")
    assert admission.admit(request, 0.0) is None
    with pytest.raises(Repeated) as early:
        admission.admit(request, 0.1)
    assert early.value.result is None  # it is still climbing
    answer = CommandResult("takeoff", ok=True, message="Flying at 2.5 m.", id="7")
    admission.answered(answer)
    with pytest.raises(Repeated) as late:
        admission.admit(request, 9.0)
    assert late.value.result == answer
    assert admission.admit(CommandRequest(Command.TURN_LEFT, "7"), 9.1) == (
        "The id '7' was used before, for takeoff."
    )
    for command in OPEN:  # twice is no harm, and once too few may be
        assert admission.admit(CommandRequest(command, "7"), 9.2) is None
        assert admission.admit(CommandRequest(command, "7"), 9.3) is None


def test_messages_without_an_id_are_never_repeats(admission: Admission) -> None:
    for second in range(3):
        assert admission.admit(CommandRequest(Command.MOVE_FORWARD), float(second)) is None


def test_ids_are_forgotten_in_time(admission: Admission) -> None:
    for number in range(2001):
        admission.admit(CommandRequest(Command.TAKEOFF, str(number)), 0.0)
    assert admission.admit(CommandRequest(Command.TAKEOFF, "0"), 0.0) is None
    with pytest.raises(Repeated):
        admission.admit(CommandRequest(Command.TAKEOFF, "2000"), 0.0)


@pytest.mark.parametrize("command", [c for c in Command if c is not Command.FLY_POLICY])
def test_what_is_old_is_not_flown_but_stopping_is_never_too_late(
    admission: Admission, command: Command
) -> None:
    old = CommandRequest(command, "1", sent=Sent(boot_id(), 100.0))
    why = admission.admit(old, 100.0 + STALE_S + 0.1)
    assert (why is None) == (command in OPEN)
    fresh = CommandRequest(command, "2", sent=Sent(boot_id(), 100.0))
    assert admission.admit(fresh, 100.0 + STALE_S - 0.1) is None
    elsewhere = CommandRequest(command, "3", sent=Sent("another machine", 1.0))
    assert admission.admit(elsewhere, 100.0) is None


def test_after_its_own_stop_the_controller_trusts_nothing_unstamped(admission: Admission) -> None:
    admission.thawed(50.0)
    assert "was stopped" in str(admission.admit(CommandRequest(Command.MOVE_FORWARD), 50.1))
    assert admission.admit(CommandRequest(Command.STOP), 50.1) is None
    stamped = CommandRequest(Command.MOVE_FORWARD, sent=Sent(boot_id(), 50.05))
    assert admission.admit(stamped, 50.1) is None
    assert admission.admit(CommandRequest(Command.MOVE_FORWARD), 51.1) is None


def test_anybody_may_stop_and_land_but_not_fly_while_somebody_does(admission: Admission) -> None:
    assert admission.admit(CommandRequest(Command.TAKEOFF, lease=LEASE), 0.0) is None
    assert "Somebody else flies" in str(admission.admit(CommandRequest(Command.TURN_LEFT), 0.1))
    older = CommandRequest(Command.TURN_LEFT, lease=Lease(0, "here"))
    assert "older lease" in str(admission.admit(older, 0.1))
    for command in OPEN:
        assert admission.admit(CommandRequest(command, lease=Lease(0, "here")), 0.2) is None
        assert admission.admit(CommandRequest(command), 0.2) is None


def test_sticks_are_old_sooner(admission: Admission) -> None:
    sticks = StickRequest(BodyVelocity(1.0), lease=LEASE, sent=Sent(boot_id(), 10.0))
    assert admission.admit_sticks(sticks, 10.4) is None
    assert "was sent 0.6 s ago" in str(admission.admit_sticks(sticks, 10.6))


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", '{"lease": null, "present": true}', '{"lease": {"token": true, "holder": "a"},'
     ' "present": true}', '{"lease": {"token": 1, "holder": "a"}, "present": 1}', "[" * 9999],
)  # fmt: skip
def test_a_bridges_word_is_checked(text: str) -> None:
    with pytest.raises(InvalidInputError):
        parse_presence(text)
    good = '{"lease": {"token": 1, "holder": "here"}, "present": false}'
    assert parse_presence(good) == (LEASE, False)


def test_a_bare_stop_does_not_stand_for_a_lost_pilot() -> None:
    authority = Authority(Patience(pilot_s=0.5, landing_s=10.0))
    admission = Admission(authority)
    assert admission.admit(CommandRequest(Command.TURN_LEFT, lease=LEASE), 0.0) is None
    assert authority.lost(0.6, busy=False)
    assert admission.admit(CommandRequest(Command.STOP), 5.0) is None
    assert authority.landing_due(10.7)


@pytest.mark.parametrize("stamp", ["1" + "0" * 400, "NaN", "-1", "true", '"now"'])
def test_a_time_that_is_none_is_answered(stamp: str) -> None:
    text = f'{{"id": "1", "command": "takeoff", "sent": {{"boot": "{boot_id()}", "s": {stamp}}}}}'
    answer = parse_request(text)
    assert isinstance(answer, CommandResult) != (stamp == "true")


def test_a_time_that_is_still_to_come_says_nothing() -> None:
    assert Sent(boot_id(), 100.0).age_s(99.0) is None
