"""Driving the console as a person would, and the service that it runs on."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver import ActionChains, Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement

from tests.support import REPOSITORY, claim_slot, wait_for

CHROMIUM, CHROMEDRIVER = Path("/usr/bin/chromium"), Path("/usr/bin/chromedriver")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--hide-scrollbars",
)


@contextmanager
def chromium(profile: Path, *, size: tuple[int, int] = (1440, 900)) -> Iterator[Chrome]:
    """A headless Chromium with an empty profile that logs its console and its requests."""
    if not (CHROMIUM.exists() and CHROMEDRIVER.exists()):
        pytest.fail(
            "The console's tests need a browser: apt-get install -y chromium chromium-driver"
        )
    options = ChromeOptions()
    options.binary_location = str(CHROMIUM)
    for flag in (*FLAGS, f"--user-data-dir={profile}"):
        options.add_argument(flag)
    options.page_load_strategy = "eager"  # a camera stream never finishes loading
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = Chrome(options=options, service=Service(str(CHROMEDRIVER)))
    try:
        resize(driver, *size)
        yield driver
    finally:
        driver.quit()


def resize(driver: Chrome, width: int, height: int) -> None:
    """Make the page's viewport exactly this large, in CSS pixels."""
    metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)


@contextmanager
def running(
    data_dir: Path,
    *,
    stack: str,
    program: Sequence[str] = ("main.py",),
    ready_s: float = 60.0,
    **environment_too: str,
) -> Iterator[str]:
    """The service as a child process, ready to serve; its URL."""
    log = data_dir / "service.log"
    with claim_slot(data_dir) as environment, log.open("wb") as output:
        url = f"http://127.0.0.1:{environment['PORT']}"
        service = subprocess.Popen(
            [sys.executable, *program],
            cwd=REPOSITORY,
            env=environment | {"STACK": stack, "LOG_LEVEL": "INFO"} | environment_too,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        try:
            wait_for("the service", lambda: _answers(service, url, log), timeout_s=ready_s)
            yield url
        finally:
            service.terminate()
            service.wait(timeout=15)


def _answers(service: subprocess.Popen[bytes], url: str, log: Path) -> bool:
    if service.poll() is not None:
        pytest.fail(f"The service ended at its start:\n{log.read_text()[-3000:]}")
    try:
        return httpx.get(f"{url}/readyz", timeout=5).is_success
    except httpx.TransportError:
        return False


class Page:
    """The console in a browser, found by what a person sees or by the page's data attributes."""

    def __init__(self, driver: Chrome, url: str) -> None:
        self.driver = driver
        self.url = url

    def open(self) -> None:
        """Load it anew, signed in as nobody, and wait until it talks to the service."""
        self.driver.get("about:blank")
        self._drain("browser")
        self._drain("performance")
        self.driver.get(self.url)
        self.driver.execute_script("sessionStorage.clear()")
        self.driver.get(self.url)
        wait_for(
            "the console to connect",
            lambda: self.driver.execute_script("return !!(window.socket && did_handshake)"),
            timeout_s=15,
        )
        self.wait_text("[data-chip=vehicle]", lambda text: text != "Connecting")

    def find(self, selector: str) -> WebElement:
        """The visible element of this CSS selector, as soon as there is one."""
        return wait_for(selector, lambda: self._visible(selector), timeout_s=10)

    def _visible(self, selector: str) -> WebElement | None:
        for element in self.driver.find_elements(By.CSS_SELECTOR, selector):
            try:
                if element.is_displayed():
                    return element
            except StaleElementReferenceException:
                continue
        return None

    def text(self, selector: str) -> str:
        """What the element shows now; "" while it is redrawn."""
        element = self._visible(selector)
        try:
            return element.text if element is not None else ""
        except StaleElementReferenceException:
            return ""

    def wait_text(
        self, selector: str, accept: Callable[[str], bool], *, timeout_s: float = 10
    ) -> str:
        """The element's text as soon as it is what `accept` wants."""
        seen = [""]

        def probe() -> bool:
            seen[0] = self.text(selector)
            return accept(seen[0])

        try:
            wait_for(selector, probe, timeout_s=timeout_s)
        except AssertionError as error:
            raise AssertionError(f"{error}; it shows {seen[0]!r}") from None
        return seen[0]

    def field(self, name: str) -> WebElement:
        """The text field of that data name."""
        return self.find(f"input[data-field='{name}'], [data-field='{name}'] input")

    def type(self, name: str, content: str) -> None:
        """Replace what the field holds."""
        self.field(name).send_keys(Keys.CONTROL + "a" + Keys.NULL, Keys.DELETE, content)

    def choose(self, name: str, option: str) -> None:
        """Pick an option of the drop-down list of that data name."""
        self.find(f".q-select:has([data-field='{name}']), .q-select[data-field='{name}']").click()
        path = f"//*[@role='option'][normalize-space(.)='{option}']"
        wait_for(option, lambda: self.driver.find_elements(By.XPATH, path), timeout_s=10)
        self.driver.find_element(By.XPATH, path).click()

    def click(self, label: str) -> None:
        """Press the enabled button with this label."""
        path = f"//button[contains(., '{label}') or @aria-label='{label}']"

        def press() -> bool:
            for button in self.driver.find_elements(By.XPATH, path):
                if button.is_displayed() and button.is_enabled():
                    button.click()
                    return True
            return False

        wait_for(f"the button {label}", press, timeout_s=10)

    def log(self) -> list[tuple[str, str, bool]]:
        """(command, message, ok) of every line of the command log, newest first."""
        lines = self.driver.execute_script(
            "return [...document.querySelectorAll('.log-line')].map(line => ["
            "line.querySelector('b').textContent, line.querySelector('p').textContent,"
            "line.dataset.result === 'ok'])"
        )
        return [(command, message, ok) for command, message, ok in lines]

    def wait_result(self, command: str, *, timeout_s: float = 30) -> tuple[str, bool]:
        """(message, ok) of the newest command, which must be this one, when it is answered."""

        def answered() -> tuple[str, bool] | None:
            for name, message, ok in self.log()[:1]:
                if name == command and message != "Sent":
                    return message, ok
            return None

        return wait_for(f"the result of {command}", answered, timeout_s=timeout_s)

    def chart_points(self, series: int) -> list[list[float]]:
        """The points that the learning curve draws now."""
        script = (
            "const box = document.querySelector('.training .nicegui-echart');"
            "const chart = getElement(Number(box.id.slice(1))).chart;"
            f"return chart.getOption().series[{series}].data"
        )
        points: list[list[float]] = self.driver.execute_script(script)
        return points

    def leave_field(self) -> None:
        """Take the focus out of whatever field has it."""
        self.driver.execute_script("document.activeElement.blur()")

    def keys(self) -> ActionChains:
        """A keyboard."""
        return ActionChains(self.driver, duration=20)

    def repeat_key(self, key: str, code: str, *, times: int) -> None:
        """Auto-repeat of a key that is held, as the operating system sends it."""
        for _ in range(times):
            event = {"type": "rawKeyDown", "key": key, "code": code, "autoRepeat": True}
            self.driver.execute_cdp_cmd("Input.dispatchKeyEvent", event)

    def create_pilot(self, *, password: str = "") -> str:
        """A new account through the form; its name."""
        name = f"pilot-{time.time_ns()}"
        self.type("username", name)
        if password:
            self.type("password", password)
        self.click("Create pilot")
        self.wait_text("[data-chip=pilot]", lambda text: text == name)
        return name

    def create_model(self, title: str, **settings: str) -> None:
        """A new drone model through the form, which must be open."""
        self.type("title", title)
        for name, value in settings.items():
            self.type(name, value)
        self.click("Create drone model")
        self.wait_text(".setup .facts", bool)

    def console_errors(self) -> list[str]:
        """Severe lines of the browser's console since the page was opened."""
        return [line["message"] for line in self._drain("browser") if line["level"] == "SEVERE"]

    def requested_urls(self) -> set[str]:
        """Every URL that the page asked for since it was opened."""
        messages = [json.loads(line["message"])["message"] for line in self._drain("performance")]
        requests = [
            message["params"]
            for message in messages
            if message["method"] in {"Network.requestWillBeSent", "Network.webSocketCreated"}
        ]
        return {str(each.get("url") or each["request"]["url"]) for each in requests}

    def _drain(self, kind: str) -> list[dict[str, Any]]:
        lines: list[dict[str, Any]] = self.driver.get_log(kind)
        return lines

    def close(self) -> None:
        """Leave the page; the browser stays."""
        self.driver.get("about:blank")
