"""The console where everybody signs in: AUTH_MODE=required."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest
from selenium.webdriver import Chrome

from racer.web.tokens import STREAM_COOKIE
from tests.console.browser import Page, running
from tests.support import wait_for

PASSWORD = "correct horse"


@pytest.fixture(scope="module")
def required_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A service that lets nobody in without a password, with one account."""
    data = tmp_path_factory.mktemp("required")
    key = {"AUTH_MODE": "required", "SECRET_KEY": "k" * 48}
    with running(data, stack="external", **key) as url:
        body = {"username": "ada", "password": PASSWORD}
        httpx.post(f"{url}/users/", json=body).raise_for_status()
        yield url


@pytest.fixture
def page(browser: Chrome, required_url: str) -> Iterator[Page]:
    opened = Page(browser, required_url)
    opened.open()
    yield opened
    assert opened.console_errors() == []
    browser.delete_all_cookies()


def sign_in(page: Page, name: str, password: str) -> None:
    page.type("username", name)
    page.type("password", password)
    page.click("Sign in")


def headings(page: Page) -> list[str]:
    """At one moment: the page may be about to load itself anew."""
    shown: list[str] = page.driver.execute_script(
        "return [...document.querySelectorAll('h1, h2')].map(each => each.textContent)"
    )
    return shown


def drawn(page: Page) -> bool:
    """Whether the camera shows a picture."""
    return bool(
        page.driver.execute_script("return document.querySelector('.screen img').naturalWidth > 0")
    )


def stream_status(stream: str, cookies: dict[str, str]) -> int:
    with httpx.stream("GET", stream, cookies=cookies) as answer:
        return answer.status_code


def test_there_is_only_the_sign_in_until_somebody_is_in(page: Page) -> None:
    assert headings(page) == ["Toledo Racer", "Sign in"]
    assert page.driver.find_elements("css selector", "[data-command], .deck, img") == []
    page.keys().send_keys("t").perform()
    for name, password in (("ada", "wrong horse"), ("nobody", PASSWORD)):
        sign_in(page, name, password)
        page.wait_text(".gate .problem", lambda text: "name or the password is wrong" in text)
    page.type("password", "")
    page.click("Sign in")
    page.wait_text(".gate .problem", lambda text: "needs its password" in text)
    page.type("username", "grace")
    page.click("Create pilot")
    page.wait_text(".gate", lambda text: "8 to 72 bytes" in text)
    assert page.driver.find_elements("css selector", ".deck") == []

    sign_in(page, "ada", PASSWORD)
    page.wait_text("[data-chip=pilot]", lambda text: text == "ada")
    assert headings(page)[1:] == ["Pilot and drone", "Train", "Watch", "Telemetry", "Fly"]
    wait_for("the camera's picture", lambda: drawn(page), timeout_s=15)
    [cookie] = [each for each in page.driver.get_cookies() if each["name"] == STREAM_COOKIE]
    assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Strict")
    mine = {STREAM_COOKIE: cookie["value"]}
    stream = page.find(".screen img").get_attribute("src") or ""
    assert stream_status(stream, mine) == 200
    assert stream_status(stream, {}) == 401
    page.leave_field()
    page.keys().send_keys("t").perform()
    message, _ = page.wait_result("takeoff")
    assert "drone_controller.py" in message  # it is heard now; there is none to fly it

    page.create_model("Racer")
    page.click("Sign out")
    wait_for("the sign-in", lambda: headings(page) == ["Toledo Racer", "Sign in"], timeout_s=15)
    assert stream_status(stream, mine) == 401
    assert STREAM_COOKIE not in {each["name"] for each in page.driver.get_cookies()}


def test_who_is_signed_out_elsewhere_is_told_and_sees_no_more(page: Page) -> None:
    sign_in(page, "ada", PASSWORD)
    page.wait_text("[data-chip=pilot]", lambda text: text == "ada")
    token = httpx.post(f"{page.url}/token", data={"username": "ada", "password": PASSWORD}).json()[
        "access_token"
    ]
    changed = httpx.put(
        f"{page.url}/users/ada/password",
        json={"password": PASSWORD, "current": PASSWORD},
        headers={"Authorization": f"Bearer {token}"},
    )
    assert changed.is_success, changed.text
    page.wait_text(".gate .problem", lambda text: "Sign in again" in text, timeout_s=30)
    assert headings(page) == ["Toledo Racer", "Sign in"]


def test_a_new_pilot_makes_an_account_with_a_password(page: Page) -> None:
    page.create_pilot(password=PASSWORD)
    wait_for("the camera's picture", lambda: drawn(page), timeout_s=15)
