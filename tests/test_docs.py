"""Docs that cannot rot: links lead somewhere, and what the pages tell people to type exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import main
from racer.settings import Settings
from tests.support import REPOSITORY

PAGES = sorted(
    [
        *REPOSITORY.glob("*.md"),
        *REPOSITORY.glob("docs/**/*.md"),
        *REPOSITORY.glob("benchmarks/*.md"),
    ]
)
TEXT = {page: page.read_text() for page in PAGES}


def name_of(page: Path) -> str:
    return str(page.relative_to(REPOSITORY))


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_relative_link_leads_to_a_file(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)", TEXT[page]):
        if "://" not in target:
            assert (page.parent / target).exists(), target


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_make_target_and_program_named_exists(page: Path) -> None:
    makefile = (REPOSITORY / "Makefile").read_text()
    for target in re.findall(r"`make ([a-z-]+)`", TEXT[page]):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
    for program in re.findall(r"python ([a-z_]+\.py)\b", TEXT[page]):
        assert (REPOSITORY / program).exists(), program
    for module in re.findall(r"python -m ((?:racer|benchmarks|tests)[a-z_.]*)", TEXT[page]):
        path = REPOSITORY.joinpath(*module.split("."))
        assert path.with_suffix(".py").exists() or (path / "__main__.py").exists(), module


def test_every_socket_and_drone_route_is_described() -> None:
    described = "\n".join(TEXT.values())
    app = main.create_app(Settings(_env_file=None))
    for path in app.openapi()["paths"]:
        if not path.startswith(("/users", "/drone-models", "/token")):  # /docs has an example each
            assert path.partition("{")[0].rstrip("/") in described, path
    for path in ("/ws/control", "/ws/telemetry", "/ws/train"):
        assert path in described
