"""The whole job from the page: train, take off with a key, fly, and be safe when the page dies."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from selenium.webdriver import Chrome
from selenium.webdriver.common.keys import Keys

import crud
from database import Database
from models import Status, TrainingRun
from tests.console.browser import Page, running
from tests.flight.policies import write_steering_policy
from tests.support import wait_for

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("flight")


@pytest.fixture(scope="module")
def flying_url(data_dir: Path) -> Iterator[str]:
    """The service with its embedded vehicle and controller."""
    with running(data_dir, stack="embedded") as url:
        yield url


RACE, REASON = "[data-race]", "[data-race-reason]"
READY = "To the start, then through the gates."
REPLACED = ".log-line[data-result=replaced]"


def _state(url: str) -> dict[str, Any]:
    [drone] = httpx.get(f"{url}/drones").json()
    state: dict[str, Any] = httpx.get(f"{url}/drones/{drone['drone']}/state").json()
    return state


def _speed_m_s(url: str) -> float:
    return math.hypot(*_state(url)["velocity"])


def _number(text: str) -> float:
    """The number of a reading like `2.50 m`; NaN for an empty one."""
    return float(text.split(maxsplit=1)[0]) if text and text[0].isdigit() else math.nan


def test_a_newcomer_trains_watches_and_flies(browser: Chrome, flying_url: str) -> None:
    page = Page(browser, flying_url)
    page.open()
    page.create_pilot()
    page.create_model("First racer")
    _train(page)
    _take_off(page)
    _fly_until_the_page_dies(page)
    assert page.console_errors() == []


def _train(page: Page) -> None:
    """Two epochs draw as they are made; then the training is cancelled."""
    page.click("Train")
    wait_for("two epochs", lambda: len(page.chart_points(0)) >= 2, timeout_s=120)
    accuracies = page.chart_points(1)
    assert [point[0] for point in accuracies[:2]] == [1, 2]
    assert all(0 <= point[1] <= 100 for point in accuracies)
    assert page.text("[data-chip=training]") == "Training"
    page.click("Cancel")
    page.wait_text("[data-chip=training]", lambda text: text == "Cancelled")


def _take_off(page: Page) -> None:
    """One key; the picture, the telemetry and the log tell the same story."""
    page.wait_text("[data-chip=vehicle]", lambda text: text == "Vehicle connected", timeout_s=30)
    page.leave_field()
    page.keys().send_keys("t").perform()
    page.wait_text("[data-gauge=height] b", lambda text: _number(text) > 2.0, timeout_s=20)
    message, ok = page.wait_result("takeoff")
    assert ok, message
    assert page.text("[data-gauge=armed] b") == "Armed"
    page.wait_text(".watch", lambda text: "live for 'First racer'" in text)
    assert "Stop simulation" in page.text(".watch")
    size = page.driver.execute_script(
        "const image = document.querySelector('.screen img'); return image.naturalWidth"
    )
    assert size > 0


def _fly_until_the_page_dies(page: Page) -> None:
    """A held arrow moves; a page that closes while it is held stops the drone."""
    page.keys().key_down(Keys.ARROW_UP).perform()
    page.wait_text("[data-gauge=speed] b", lambda text: _number(text) > 1.5, timeout_s=10)
    page.close()
    assert _speed_m_s(page.url) > 1.0
    wait_for("the drone to stop", lambda: _speed_m_s(page.url) < 0.3, timeout_s=6)


def test_a_finished_model_is_raced_from_the_page(
    browser: Chrome, flying_url: str, data_dir: Path
) -> None:
    page = Page(browser, flying_url)
    page.open()
    pilot = page.create_pilot()
    page.create_model("Racer")
    page.wait_text(REASON, lambda text: text == "Train this model to its end first.")
    assert not page.find(RACE).is_enabled()
    _leave_a_policy(page, data_dir, pilot)
    page.open()
    page.click(pilot)
    if page.wait_text(REASON, lambda text: text in (READY, "Take off first.")) != READY:
        page.leave_field()
        page.keys().send_keys("t").perform()
        assert page.wait_result("takeoff")[1]
    page.wait_text(REASON, lambda text: text == READY, timeout_s=5)

    page.find(RACE).click()
    page.wait_text("[data-gauge=phase] b", lambda text: text == "Racing", timeout_s=10)
    page.wait_text(REASON, lambda text: text == "Racing. Stop ends it.")
    assert not page.find(RACE).is_enabled()
    message, ok = page.wait_result("race", timeout_s=60)
    assert " of 2 gates" in message
    assert ok == message.startswith("Flew short in ")  # a machine too busy for it may end it, too

    page.wait_text(REASON, lambda text: text == READY, timeout_s=5)
    page.find(RACE).click()
    page.wait_text("[data-gauge=phase] b", lambda text: text == "Racing", timeout_s=10)
    page.leave_field()
    page.keys().send_keys(Keys.SPACE).perform()
    assert page.wait_result("stop")[1]
    wait_for(
        "the race to give way", lambda: "Pre-empted by stop." in page.text(REPLACED), timeout_s=5
    )
    _race_until_the_page_dies(page)
    assert page.console_errors() == []


def _leave_a_policy(page: Page, data_dir: Path, pilot: str) -> None:
    """What a training leaves: a finished run, and a folder with a policy, here one that steers."""
    [model] = httpx.get(f"{page.url}/users/{pilot}/drone-models/").json()
    database = Database(f"sqlite:///{data_dir / 'toledo_racer.db'}")
    with database.session() as session:
        run = TrainingRun(
            drone_model=crud.get_drone_model(session, model["drone_id"]),
            config={"epochs": 1, "seed": 0},
            seed=0,
            status=Status.FINISHED,
        )
        session.add(run)
        session.flush()
        write_steering_policy(data_dir / "runs" / run.id)


def _race_until_the_page_dies(page: Page) -> None:
    """A race that nobody watches stops."""
    page.wait_text(REASON, lambda text: text == READY, timeout_s=5)
    page.find(RACE).click()
    page.wait_text("[data-gauge=phase] b", lambda text: text == "Racing", timeout_s=10)
    page.close()
    wait_for("hold", lambda: _state(page.url)["flight_mode"] == "HOLD", timeout_s=6)
