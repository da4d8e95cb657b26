"""`python -m racer reference`, for people and for programs."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from racer.cli import main
from racer.settings import get_settings


def test_a_person_reads_the_time_and_each_gate(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["reference", "--track", "lsy_level0", "--airframe", "cf21b"]) == 0
    head, _, columns, *rows = capsys.readouterr().out.splitlines()
    assert head.startswith("lsy_level0 cf21b: 1 lap from rest, 1.94")
    assert columns.split() == ["gate", "split", "s", "total", "s"]
    assert [row.split()[0] for row in rows] == ["1", "2", "3", "4"]
    assert rows[-1].split()[-1] in head


def test_a_program_reads_one_object(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["reference", "--track", "split_s", "--airframe", "cpc", "--flying", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["time_s"] == pytest.approx(6.133, abs=0.002)
    assert sum(told["splits_s"]) == pytest.approx(told["time_s"], abs=1e-3)
    assert (told["flying"], told["laps"], told["track"]) == (True, 1, "split_s")
    assert len(told["splits_s"]) == 7


@pytest.fixture
def kolibri(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The setting, which a process reads once."""
    monkeypatch.setenv("AIRFRAME", "kolibri")
    get_settings.cache_clear()
    yield
    get_settings.cache_clear()


@pytest.mark.usefixtures("kolibri")
def test_without_an_airframe_it_is_the_settings(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["reference", "--track", "toledo", "--laps", "2", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["airframe"], told["laps"], len(told["splits_s"])) == ("kolibri", 2, 12)
