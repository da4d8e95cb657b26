"""Pages come and go; nothing of them stays."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import httpx
from selenium.webdriver import Chrome

from tests.console.browser import Page, running
from tests.support import wait_for

PAGES = 20
# The socket library starts its one housekeeping task, which waits for an event, at the first page.
ONCE = Counter({"AsyncServer._service_task": 1, "Event.wait": 1})


def test_twenty_pages_opened_and_closed_leave_no_task_behind(
    browser: Chrome, tmp_path: Path
) -> None:
    program = ("-m", "tests.console.task_census")
    with running(tmp_path, stack="external", program=program) as url:

        def tasks() -> Counter[str]:
            return Counter(httpx.get(f"{url}/test/tasks").json())

        before = tasks()
        page = Page(browser, url)
        page.open()
        page.create_pilot()
        page.create_model("Racer")
        for _ in range(PAGES):
            browser.get(url)
            page.wait_text(".setup .facts", bool)
        assert tasks() - before - ONCE  # the census sees what an open page costs
        page.close()
        wait_for(
            f"the tasks of {PAGES} pages to end",
            lambda: not tasks() - before - ONCE,
            timeout_s=60,
        )
