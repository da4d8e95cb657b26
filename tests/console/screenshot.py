"""The README's picture: the console with a trained model and a flying drone.

    python -m tests.console.screenshot [--output docs/console.png] [--size 1440x900]

Starts the whole stack in a slot of its own, does what a newcomer does, and takes the picture.
"""

from __future__ import annotations

import argparse
import io
import tempfile
import time
from pathlib import Path

import httpx
from PIL import Image
from selenium.webdriver.common.keys import Keys

from tests.console.browser import Page, chromium, resize, running
from tests.support import REPOSITORY

MAX_BYTES = 400_000


def take(output: Path, *, size: tuple[int, int]) -> None:
    """Train, take off, fly forward, take the picture."""
    with tempfile.TemporaryDirectory() as directory:
        data, profile = Path(directory, "data"), Path(directory, "profile")
        data.mkdir()
        with running(data, stack="embedded") as url, chromium(profile) as driver:
            # A name that reads well; the page's own helper makes unique ones for tests.
            httpx.post(f"{url}/users/", json={"username": "ada"}).raise_for_status()
            page = Page(driver, url)
            page.open()
            page.click("ada")
            page.create_model("First racer", velocityLimit="12")
            page.click("Train")
            page.wait_text(
                "[data-chip=training]",
                lambda text: text in {"Finished", "Failed"},
                timeout_s=600,
            )
            resize(driver, *size)
            _fly(page)
            save(driver.get_screenshot_as_png(), output)
            page.keys().key_up(Keys.ARROW_UP).perform()


def _fly(page: Page) -> None:
    """In the air, moving, with a few commands in the log; leaves the arrow key down."""
    page.wait_text("[data-chip=vehicle]", lambda text: text == "Vehicle connected", timeout_s=30)
    page.leave_field()
    page.keys().send_keys("t").perform()
    page.wait_result("takeoff")
    page.keys().key_down(Keys.ARROW_LEFT).perform()
    time.sleep(0.7)  # about twenty degrees at the commanded 30 °/s
    page.keys().key_up(Keys.ARROW_LEFT).perform()
    page.wait_result("stop")
    page.keys().key_down(Keys.ARROW_UP).perform()
    page.wait_text("[data-gauge=speed] b", lambda text: text >= "1.9", timeout_s=10)


def save(png: bytes, output: Path) -> None:
    """Write the picture, compressed as far as it goes without loss."""
    Image.open(io.BytesIO(png)).convert("RGB").save(output, optimize=True)
    if output.stat().st_size > MAX_BYTES:
        raise ValueError(f"{output} has {output.stat().st_size} bytes, more than {MAX_BYTES}.")


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=REPOSITORY / "docs" / "console.png")
    parser.add_argument("--size", default="1440x900")
    arguments = parser.parse_args()
    width, height = (int(part) for part in arguments.size.split("x"))
    take(arguments.output, size=(width, height))


if __name__ == "__main__":
    main()
