"""Writing a reward function in the console."""

from __future__ import annotations

import httpx
from selenium.webdriver import ActionChains
from selenium.webdriver.common.keys import Keys

from tests.console.browser import Page

WRONG = "def reward_function(params):\nreturn params['sped']"  # the editor indents by itself


def write(page: Page, source: str) -> None:
    page.find(".reward-code .cm-content").click()
    keys = ActionChains(page.driver).key_down(Keys.CONTROL).send_keys("a").key_up(Keys.CONTROL)
    keys.send_keys(Keys.DELETE).send_keys(source).perform()


def test_a_reward_function_is_checked_as_it_is_typed_and_kept_with_the_model(page: Page) -> None:
    name = page.create_pilot()
    page.click("Built in")
    page.wait_text(".reward-problems", lambda text: text == "No complaints.")  # the example
    write(page, WRONG)
    shown = page.wait_text(".reward-problems", lambda text: "Did you mean" in text)
    assert shown == "line 2, column 12: There is no parameter 'sped'. Did you mean 'speed'?"
    page.click("Use this reward")
    page.type("title", "Own reward")
    page.click("Create drone model")
    page.wait_text(".model-form .problem", lambda text: "line 2, column 12" in text)
    assert httpx.get(f"{page.url}/users/{name}/drone-models/").json() == []
    page.click("Your own function")
    write(page, WRONG.replace("sped", "speed"))
    page.wait_text(".reward-problems", lambda text: text == "No complaints.")
    page.click("Use this reward")
    page.create_model("Own reward")
    assert "Your own" in page.text(".setup .facts")
    [model] = httpx.get(f"{page.url}/users/{name}/drone-models/").json()
    source = model["drone_details"]["rewardFunction"]
    assert source == "def reward_function(params):\n    return params['speed']"
