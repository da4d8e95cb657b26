"""The lock files are what requirements*.txt ask for, each file with its hashes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

REPOSITORY = Path(__file__).resolve().parent.parent
PAIRS = [
    ("requirements.txt", "requirements.lock"),
    ("requirements-dev.txt", "requirements-dev.lock"),
]
_ENTRY = re.compile(r"^(\S.*?) \\\n((?:    --hash=sha256:[0-9a-f]{64}(?: \\)?\n?)+)", re.MULTILINE)


def wanted(name: str) -> list[Requirement]:
    """What a file of ranges asks for, with the files that it names."""
    found = []
    for line in (REPOSITORY / name).read_text().splitlines():
        text = line.partition("#")[0].strip()
        if text.startswith("-r "):
            found += wanted(text.removeprefix("-r "))
        elif text:
            found.append(Requirement(text))
    return found


def locked(name: str) -> dict[str, str]:
    """The version of each package that is installed here; nothing else stands in the file."""
    text = (REPOSITORY / name).read_text()
    assert _ENTRY.sub("", text).strip() == ""
    pins = {}
    for entry in _ENTRY.finditer(text):
        pin = Requirement(entry[1])
        (exact,) = pin.specifier
        assert exact.operator == "=="
        if pin.marker is None or pin.marker.evaluate():
            pins[canonicalize_name(pin.name)] = exact.version
    return pins


@pytest.mark.parametrize(("ranges", "lock"), PAIRS)
def test_a_lock_is_within_the_ranges(ranges: str, lock: str) -> None:
    pins = locked(lock)
    for requirement in wanted(ranges):
        version = pins.get(canonicalize_name(requirement.name))
        assert version is not None, f"{requirement} is not in {lock}: run `make lock`"
        assert requirement.specifier.contains(version), f"{requirement}: run `make lock`"


def test_developers_have_the_versions_that_users_have() -> None:
    assert locked("requirements.lock").items() <= locked("requirements-dev.lock").items()
