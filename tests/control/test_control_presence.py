"""A controller is ready when a command sent now reaches a living one, and its answer reaches us."""

from __future__ import annotations

import pytest

from racer.control.presence import SILENCE_S, THAW_S, ControllerPresence


def running() -> ControllerPresence:
    presence = ControllerPresence()
    presence.on_matched(1)
    presence.on_state(10.0)
    return presence


def test_nobody_is_ready_before_both_facts_are_known() -> None:
    presence = ControllerPresence()
    assert not presence.ready(0.0)
    presence.on_matched(1)
    assert not presence.ready(0.0), "its states are not heard: its results would not be either"
    presence.on_state(0.1)
    assert presence.ready(0.2)

    deaf = ControllerPresence()
    deaf.on_state(0.1)
    assert not deaf.ready(0.2), "it does not subscribe yet: the command would be lost"


def test_a_silent_controller_is_not_ready() -> None:
    presence = running()
    assert presence.ready(10.0 + SILENCE_S - 0.01)
    assert not presence.ready(10.0 + SILENCE_S + 0.01)


def test_after_a_known_death_only_a_new_subscription_counts() -> None:
    presence = running()
    presence.on_death()
    presence.on_state(10.1)  # a straggler of the dead one, still in a queue
    assert not presence.ready(10.2)
    assert not presence.ready(10.1 + THAW_S + 0.5)
    presence.on_matched(2)  # DDS still counts the dead one
    presence.on_state(11.0)
    assert presence.ready(11.0)
    presence.on_matched(1)  # its lease ran out
    presence.on_state(11.2)
    assert presence.ready(11.2)


def test_a_new_subscription_that_is_heard_of_before_the_first_state_counts() -> None:
    presence = running()
    presence.on_death()
    presence.on_matched(2)
    assert not presence.ready(10.5)
    presence.on_state(10.6)
    assert presence.ready(10.6)


def test_an_unnoticed_death_is_taken_from_the_silence() -> None:
    presence = running()
    presence.on_state(10.0 + SILENCE_S + 1.0)  # a successor speaks, its subscription is not known
    assert not presence.ready(12.6)
    presence.on_matched(2)
    assert presence.ready(12.6)


def test_a_controller_that_was_only_frozen_is_ready_again() -> None:
    presence = running()
    thawed = 10.0 + SILENCE_S + 1.0
    presence.on_state(thawed)
    assert not presence.ready(thawed)
    presence.on_state(thawed + THAW_S + 0.1)
    assert presence.ready(thawed + THAW_S + 0.1)


def test_a_controller_that_left_properly_is_not_ready() -> None:
    presence = running()
    presence.on_matched(0)
    assert not presence.ready(10.1)


@pytest.mark.parametrize("listeners", [1, 5])
def test_other_subscribers_do_no_harm(listeners: int) -> None:
    presence = running()
    presence.on_matched(1 + listeners)
    assert presence.ready(10.1)
    presence.on_matched(1)
    assert presence.ready(10.1)
