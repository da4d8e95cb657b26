"""Who may fly, whose silence counts, and what follows from it."""

from __future__ import annotations

import pytest

from racer.flight.authority import Authority, Lease, Patience

ADA, GRACE = Lease(4, "here"), Lease(5, "here")
PATIENCE = Patience(pilot_s=0.5, topic_s=5.0, landing_s=30.0)


@pytest.fixture
def authority() -> Authority:
    return Authority(PATIENCE)


def test_a_pilots_silence_is_noticed_once_and_lands_later(authority: Authority) -> None:
    authority.commanded(ADA, 10.0)
    for tenth in range(20):
        authority.pilot(ADA, present=True, now_s=10.0 + 0.1 * tenth)
        assert authority.lost(10.0 + 0.1 * tenth, busy=False) is None
    assert authority.lost(12.39, busy=False) is None
    assert authority.lost(12.41, busy=True) == (
        "The pilot's heartbeat was lost: holding, landing in 30 s."
    )
    assert authority.lost(12.5, busy=False) is None
    assert not authority.landing_due(42.40)
    assert authority.landing_due(42.42)
    assert not authority.landing_due(99.0)


def test_a_goodbye_needs_no_silence(authority: Authority) -> None:
    authority.commanded(ADA, 10.0)
    authority.pilot(ADA, present=False, now_s=10.1)
    assert str(authority.lost(10.1, busy=False)).startswith("The pilot left: holding")


def test_a_pilot_who_comes_back_in_time_is_not_landed_but_watched_again(
    authority: Authority,
) -> None:
    authority.commanded(ADA, 10.0)
    assert authority.lost(10.6, busy=False)
    authority.pilot(ADA, present=True, now_s=12.0)
    assert authority.lost(12.1, busy=False) is None
    assert authority.lost(12.6, busy=False)
    assert not authority.landing_due(41.0)
    assert authority.landing_due(42.7)


def test_somebody_elses_command_ends_the_landing(authority: Authority) -> None:
    authority.commanded(ADA, 10.0)
    assert authority.lost(10.6, busy=False)
    authority.commanded(GRACE, 20.0)
    authority.pilot(GRACE, present=True, now_s=45.0)
    assert authority.lost(45.0, busy=False) is None
    assert not authority.landing_due(45.0)


def test_nobody_is_missed_after_a_landing(authority: Authority) -> None:
    authority.commanded(ADA, 10.0)
    authority.landing()
    assert authority.lost(99.0, busy=False) is None
    assert not authority.landing_due(99.0)


def test_an_older_lease_is_refused_for_ever_and_its_heartbeat_is_not_heard(
    authority: Authority,
) -> None:
    authority.commanded(ADA, 1.0)
    authority.pilot(GRACE, present=True, now_s=2.0)
    assert "older lease" in str(authority.refusal(ADA, 2.1))
    assert "older lease" in str(authority.refusal(Lease(5, "elsewhere"), 2.1))  # as new: not ours
    assert authority.refusal(GRACE, 2.1) is None
    assert authority.refusal(Lease(6, "elsewhere"), 2.1) is None
    authority.pilot(ADA, present=True, now_s=2.4)
    assert not authority.present(2.6)
    assert authority.lease == GRACE


def test_the_bare_topic_flies_only_while_no_leases_pilot_is_there(authority: Authority) -> None:
    assert authority.refusal(None, 0.0) is None
    authority.commanded(ADA, 1.0)
    assert "Somebody else flies" in str(authority.refusal(None, 1.4))
    assert authority.refusal(None, 1.6) is None


def test_the_bare_topics_pilot_steers_five_seconds_or_as_long_as_the_command_takes(
    authority: Authority,
) -> None:
    authority.commanded(None, 10.0)
    assert authority.lost(14.9, busy=False) is None
    assert authority.lost(15.1, busy=True) is None
    assert authority.lost(16.0, busy=False) == "No command came any more: holding."
    assert authority.lost(17.0, busy=False) is None
    assert not authority.landing_due(999.0)
    authority.commanded(None, 20.0, for_s=0.5)
    assert authority.lost(20.6, busy=False)
