"""The log shows what anybody sent without obeying it."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.support import REPOSITORY

_PROGRAM = """
import logging, structlog
from racer.process import configure_logging
configure_logging("INFO", program="test", log_format={format!r})
log = structlog.get_logger("test")
log.info("GET /\\x1b[2J\\nforged", path="/\\x1b]0;title\\x07\\r\\u202e", **{{"a\\nkey": 1}})
logging.getLogger("library").warning("its \\x9b31m words\\nforged")
try:
    raise ValueError("told \\x1b[31m")
except ValueError:
    log.exception("failed")
"""


def logged(log_format: str) -> str:
    program = _PROGRAM.format(format=log_format)
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, check=True
    )
    return done.stderr.decode()


def test_control_characters_are_shown_and_tracebacks_keep_their_lines() -> None:
    text = logged("console")
    assert not set(text) & {"\x1b", "\x07", "\r", "\x9b", "\u202e"}
    assert r"GET /\x1b[2J\nforged" in text
    assert r"its \x9b31m words\nforged" in text
    assert r"a\nkey" in text
    assert "\nTraceback (most recent call last):\n" in text
    assert "\nforged" not in text


def test_json_lines_are_escaped_once() -> None:
    first = json.loads(logged("json").splitlines()[0])
    assert first["event"] == "GET /\x1b[2J\nforged"


def test_the_format_comes_from_the_environment_of_a_child(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOG_FORMAT", "json")
    program = _PROGRAM.format(format=None)
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, check=True
    )
    assert json.loads(done.stderr.splitlines()[0])["program"] == "test"
