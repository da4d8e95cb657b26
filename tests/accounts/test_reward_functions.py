"""A drone model's reward function: kept as it was sent, refused when it means nothing."""

from __future__ import annotations

from typing import Any

import pytest
from starlette.testclient import TestClient

SOURCE = "def reward_function(params):\n    return params['gate_alignment']  # °\n"


def create(client: TestClient, details: dict[str, Any]) -> Any:
    client.post("/users/", json={"username": "ada"})
    body = {"title": "Racer", "drone_details": details}
    return client.post("/users/ada/drone-models/", json=body)


def test_it_comes_back_as_it_was_sent(client: TestClient) -> None:
    details = {"velocityLimit": "5", "rewardFunction": SOURCE}
    assert create(client, details).json()["drone_details"] == details


@pytest.mark.parametrize("nothing", ["", " \n", None])
def test_an_empty_one_means_the_built_in_reward(client: TestClient, nothing: str | None) -> None:
    answer = create(client, {"rewardFunction": nothing})
    assert answer.json()["drone_details"] == {"rewardFunction": nothing}


def test_a_long_one_does_not_use_up_the_room_of_the_other_details(client: TestClient) -> None:
    assert create(client, {"rewardFunction": SOURCE + "#" * 40_000}).status_code == 200
    assert create(client, {"rewardFunction": SOURCE, "note": "x" * 17_000}).status_code == 422


def test_errors_come_back_with_their_places(client: TestClient) -> None:
    wrong = "def reward_function(params):\n    while True: pass\n    return params['sped']\n"
    answer = create(client, {"rewardFunction": wrong})
    assert answer.status_code == 422
    [error] = answer.json()["errors"]
    assert error["loc"] == ["body", "drone_details", "rewardFunction"]
    assert error["diagnostics"] == [
        {
            "line": 2,
            "column": 5,
            "message": "while loops may never end: use 'for … in range(…)' with a fixed number.",
            "severity": "error",
        }
    ]
    assert "line 2, column 5" in answer.json()["detail"]
    assert client.get("/users/ada/drone-models/").json() == []


@pytest.mark.parametrize("value", [7, ["def"], {"a": 1}, "x" * 65_537, "a\0b", True])
def test_what_is_no_text_is_refused(client: TestClient, value: Any) -> None:
    answer = create(client, {"rewardFunction": value})
    assert answer.status_code == 422
    assert "rewardFunction" in answer.json()["detail"]
