"""A real browser on the real service: `python main.py` in a slot of its own, headless Chromium."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from selenium.webdriver import Chrome

from tests.console.browser import Page, chromium, running


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    """One Chromium for all tests of this package."""
    with chromium(tmp_path_factory.mktemp("chromium")) as driver:
        yield driver


@pytest.fixture(scope="session")
def console_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The service without vehicle and controller."""
    with running(tmp_path_factory.mktemp("console"), stack="external") as url:
        yield url


@pytest.fixture
def page(browser: Chrome, console_url: str) -> Iterator[Page]:
    """The console, freshly opened; fails if the browser's console holds an error at the end."""
    opened = Page(browser, console_url)
    opened.open()
    yield opened
    assert opened.console_errors() == []
