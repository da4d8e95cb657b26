"""The console in a real browser, without a vehicle."""

from __future__ import annotations

import time
from urllib.parse import urlsplit

import httpx
import psutil
import pytest
from selenium.webdriver.common.keys import Keys

from tests.console.browser import Page, resize
from tests.support import wait_for


def trainers() -> list[psutil.Process]:
    """Training processes of the service under test."""
    return [child for child in psutil.Process().children(recursive=True) if _trains(child)]


def _trains(process: psutil.Process) -> bool:
    try:
        return "racer.learning.worker" in process.cmdline()
    except psutil.NoSuchProcess:  # it ended meanwhile
        return False


def test_the_page_has_its_parts_and_asks_nobody_else_for_anything(page: Page) -> None:
    headings = [each.text for each in page.driver.find_elements("css selector", "h1, h2")]
    assert headings == [
        "Toledo Racer",
        "Pilot and drone",
        "Train",
        "Watch",
        "Telemetry",
        "Fly",
    ]
    commands = page.driver.execute_script(
        "return [...document.querySelectorAll('[data-command]')].map(key => key.dataset.command)"
    )
    assert sorted(commands) == sorted(
        ["takeoff", "land", "move_forward", "move_backward", "turn_left", "turn_right", "stop"]
    )
    links = {each.get_attribute("href") for each in page.driver.find_elements("tag name", "a")}
    assert {f"{page.url}/docs", f"{page.url}/redoc"} <= links
    hosts = {urlsplit(url).netloc for url in page.requested_urls() if "://" in url}
    ours = urlsplit(page.url).netloc
    assert {host for host in hosts if "." in host} == {ours}


@pytest.mark.parametrize(("width", "height"), [(1440, 900), (1024, 768)])
def test_everything_is_on_one_screen(page: Page, width: int, height: int) -> None:
    page.create_pilot()
    page.create_model("Racer")
    page.leave_field()
    page.keys().send_keys("  ").perform()  # fills the log
    wait_for("two commands", lambda: len(page.log()) == 2, timeout_s=10)
    resize(page.driver, width, height)
    script = (
        "const root = document.documentElement;"
        "return [root.scrollWidth, root.scrollHeight, Math.min(...["
        "...document.querySelectorAll('[data-command]')].map(key => key.offsetHeight))]"
    )

    def fits() -> bool:
        needed_width, needed_height, smallest_key = page.driver.execute_script(script)
        # 44 px is the smallest target that a finger hits reliably
        return bool(needed_width <= width and needed_height <= height and smallest_key >= 44)

    try:
        wait_for(f"the layout to fit {width} x {height}", fits, timeout_s=3)
    finally:
        resize(page.driver, 1440, 900)


def test_the_api_keeps_its_own_errors_and_pages(console_url: str) -> None:
    missing = httpx.get(f"{console_url}/nothing-here")
    assert missing.status_code == 404
    assert missing.headers["content-type"] == "application/problem+json"
    assert httpx.delete(f"{console_url}/users/").status_code == 405
    assert httpx.get(f"{console_url}/docs").status_code == 200


def test_a_pilot_and_a_drone_model_are_made_and_found_again(page: Page) -> None:
    name = page.create_pilot()
    page.create_model("Windy racer", velocityLimit="15", yawLimit="", training_epochs="7")
    assert "15 m/s" in page.text(".setup .facts")
    [model] = httpx.get(f"{page.url}/users/{name}/drone-models/").json()
    assert model["title"] == "Windy racer"
    assert model["training_epochs"] == 7
    assert model["drone_details"] == {
        "raceType": "time-trial",
        "algorithm": "ppo",
        "flightAltitude": "",
        "velocityLimit": "15",
        "yawLimit": "",
        "enableWind": "false",
        "windSpeed": "",
    }
    page.driver.get(page.url)  # a reload goes on where this tab was
    page.wait_text("[data-chip=pilot]", lambda text: text == name)
    page.wait_text(".setup .facts", lambda text: "15 m/s" in text)
    page.click("Switch")
    page.click(name)
    page.wait_text("[data-chip=pilot]", lambda text: text == name)


def test_a_drone_model_is_deleted_when_its_pilot_says_so_twice(page: Page) -> None:
    name = page.create_pilot()
    models = f"{page.url}/users/{name}/drone-models/"
    for title, limit in (("First", "5"), ("Second", "6")):
        page.create_model(title, velocityLimit=limit)
        page.wait_text(".setup .facts", lambda text, limit=limit: f"{limit} m/s" in text)
        if title == "First":
            page.click("New")
    page.click("Delete this drone model")
    page.click("Keep it")
    page.click("Delete this drone model")
    assert len(httpx.get(models).json()) == 2
    page.click("Delete it")
    page.wait_text(".setup .facts", lambda text: "5 m/s" in text)  # the other one is chosen
    assert [model["title"] for model in httpx.get(models).json()] == ["First"]
    run = httpx.post(f"{models}{httpx.get(models).json()[0]['drone_id']}/runs", json={})
    assert run.status_code == 201, run.text
    page.click("Delete this drone model")
    page.click("Delete it")
    page.wait_text(".q-notification", lambda text: "has not ended" in text)
    httpx.post(f"{page.url}/runs/{run.json()[0]['id']}/cancel").raise_for_status()
    page.click("Delete this drone model")
    page.click("Delete it")
    page.wait_text(".model-form", lambda text: "Create drone model" in text)
    assert httpx.get(models).json() == []


def test_nonsense_is_told_beside_its_field_and_can_be_corrected(page: Page) -> None:
    name = page.create_pilot()
    page.type("velocityLimit", "fast")
    page.type("training_epochs", "0")
    page.click("Create drone model")
    shown = page.wait_text(".model-form", lambda text: "0.5 to 20 m/s" in text)
    assert "greater than or equal to 1" in shown
    assert httpx.get(f"{page.url}/users/{name}/drone-models/").json() == []
    page.create_model("Racer", velocityLimit="5", training_epochs="")
    assert "5 m/s" in page.text(".setup .facts")


def test_a_taken_or_impossible_name_is_told(page: Page) -> None:
    name = page.create_pilot()
    page.click("Switch")
    page.type("username", name)
    page.click("Create pilot")
    page.wait_text(".setup .problem", lambda text: "already taken" in text)
    page.type("username", "<b>")
    page.click("Create pilot")
    page.wait_text(".setup", lambda text: "1 to 64 letters" in text)


def test_a_protected_account_opens_only_with_its_password(page: Page) -> None:
    name = f"owner-{time.time_ns()}"
    body = {"username": name, "password": "correct horse"}
    assert httpx.post(f"{page.url}/users/", json=body).is_success
    page.type("username", name)
    page.click("Open")
    page.wait_text(".setup .problem", lambda text: "needs its password" in text)
    page.type("password", "wrong horse")
    page.click("Open")
    page.wait_text(".setup .problem", lambda text: "wrong" in text)
    assert page.text("[data-chip=pilot]") == ""
    page.type("password", "correct horse")
    page.click("Open")
    page.wait_text("[data-chip=pilot]", lambda text: text == name)
    page.click("Switch")
    picks = page.wait_text(".setup", lambda text: "Create pilot" in text)
    assert name not in picks  # protected accounts are not listed


def test_without_a_vehicle_the_page_says_so_and_a_command_fails_with_words(page: Page) -> None:
    assert page.text("[data-chip=vehicle]") == "No vehicle"
    assert page.text("[data-gauge=height] b") == "–"
    page.keys().send_keys("t").perform()
    message, ok = page.wait_result("takeoff")
    assert not ok
    assert "drone_controller.py" in message


def test_a_training_that_fails_says_why(page: Page) -> None:
    page.create_pilot()
    page.choose("algorithm", "APG (gradients through the flight)")
    page.create_model("Unlucky")
    page.click("Train")
    killed: set[int] = set()
    for _ in range(3):  # it is tried again: somebody may have killed it by mistake
        fresh = wait_for(
            "a training process",
            lambda: [p for p in trainers() if p.pid not in killed],
            timeout_s=30,
        )
        for process in fresh:
            process.kill()
            killed.add(process.pid)
    page.wait_text("[data-chip=training]", lambda text: text == "Failed", timeout_s=30)
    assert "was killed" in page.text(".training .problem")
    assert "Train again" in page.text(".training")


def test_keys_do_nothing_while_a_person_types_or_uses_a_shortcut(page: Page) -> None:
    page.type("username", "tl ")
    page.wait_text(".keys-state", lambda text: text == "Keyboard off while you type")
    page.field("username").send_keys(Keys.ARROW_LEFT)
    page.leave_field()
    page.wait_text(".keys-state", lambda text: text == "Keyboard ready")
    page.keys().key_down(Keys.ALT).send_keys("l").key_up(Keys.ALT).perform()
    page.keys().send_keys(" ").perform()
    wait_for("the space bar's stop", page.log, timeout_s=10)
    assert [command for command, _, _ in page.log()] == ["stop"]


def test_a_held_key_is_one_command_and_its_release_another(page: Page) -> None:
    page.keys().key_down(Keys.ARROW_UP).perform()
    page.repeat_key("ArrowUp", "ArrowUp", times=30)
    page.keys().key_up(Keys.ARROW_UP).perform()
    wait_for("the release", lambda: len(page.log()) >= 2, timeout_s=10)
    assert [command for command, _, _ in page.log()] == ["stop", "move forward"]


def test_the_key_below_resumes_when_the_one_above_is_released(page: Page) -> None:
    page.keys().key_down(Keys.ARROW_UP).key_down(Keys.ARROW_LEFT).perform()
    page.keys().key_up(Keys.ARROW_LEFT).key_up(Keys.ARROW_UP).perform()
    wait_for("four commands", lambda: len(page.log()) >= 4, timeout_s=10)
    assert [command for command, _, _ in reversed(page.log())] == [
        "move forward",
        "turn left",
        "move forward",
        "stop",
    ]


def test_losing_the_window_while_a_key_is_down_stops(page: Page) -> None:
    page.keys().key_down(Keys.ARROW_RIGHT).perform()
    page.driver.execute_script("window.dispatchEvent(new Event('blur'))")
    wait_for("the stop", lambda: len(page.log()) >= 2, timeout_s=10)
    assert [command for command, _, _ in page.log()] == ["stop", "turn right"]
    page.keys().key_up(Keys.ARROW_RIGHT).perform()
    assert len(page.log()) == 2


def test_a_browser_that_freezes_with_a_key_down_counts_as_a_release(page: Page) -> None:
    page.keys().key_down(Keys.ARROW_UP).perform()
    wait_for("the command", page.log, timeout_s=10)
    page.driver.execute_script(
        "const end = performance.now() + 2500; while (performance.now() < end);"
    )
    wait_for("the stop", lambda: len(page.log()) >= 2, timeout_s=10)
    assert [command for command, _, _ in page.log()] == ["stop", "move forward"]
    page.keys().key_up(Keys.ARROW_UP).perform()
