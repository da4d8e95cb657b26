"""`POST /reward-functions/validate`, and a model's reward on its way to the training process."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from starlette.testclient import TestClient

from racer.settings import Settings
from racer.training.routes import router
from racer.web.app import assemble, spine
from tests.training.conftest import play
from tests.training.rig import serving

GOOD = "def reward_function(params):\n    return params['speed']\n"


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Any:
    settings = Settings(
        _env_file=None, data_dir=tmp_path_factory.mktemp("rewards"), database_url="", secret_key=""
    )
    app = assemble(settings, routers=[router], lifespan=spine)
    with TestClient(app, base_url="http://localhost") as running:
        yield running


def validate(client: TestClient, source: str) -> Any:
    answer = client.post("/reward-functions/validate", json={"source": source})
    assert answer.status_code == 200
    return answer.json()


def test_a_good_one_has_nothing_to_be_said_about(client: TestClient) -> None:
    assert validate(client, GOOD) == []


def test_complaints_have_line_column_message_and_severity(client: TestClient) -> None:
    source = "def reward_function(params):\n    print(1)\n    return params['sped']\n"
    assert validate(client, source) == [
        {"line": 2, "column": 5, "message": "print is ignored while training.",
         "severity": "warning"},
        {"line": 3, "column": 12,
         "message": "There is no parameter 'sped'. Did you mean 'speed'?", "severity": "error"},
    ]  # fmt: skip


@pytest.mark.parametrize(
    "source",
    ["", "\0", "__import__('os').system('id')", "9**9**9", "while True: pass", "(" * 60_000,
     "#" * 1_000_000, "é" * 300_000, "'" * 70_000],
    ids=lambda text: text[:12].encode().hex() or "nothing",
)  # fmt: skip
def test_an_attack_gets_a_polite_answer_quickly(client: TestClient, source: str) -> None:
    began = time.process_time()
    [first, *_] = validate(client, source)
    assert time.process_time() - began < 1.0
    assert first["severity"] == "error"
    assert first["line"] >= 1
    assert first["column"] >= 1


@pytest.mark.parametrize("body", [None, {}, {"source": 7}, {"source": None}, [], "text"])
def test_a_malformed_request_is_told_so(client: TestClient, body: Any) -> None:
    assert client.post("/reward-functions/validate", json=body).status_code == 422


def test_half_of_a_surrogate_pair_is_answered(client: TestClient) -> None:
    answer = client.post("/reward-functions/validate", content=b'{"source": "\\ud800"}')
    assert answer.status_code in (200, 422)


def test_the_training_process_is_given_the_text(sqlite_url: str, tmp_path: Any) -> None:
    settings = Settings(_env_file=None, data_dir=tmp_path, database_url=sqlite_url, secret_key="")

    async def scenario() -> None:
        async with serving(settings) as rig:
            body = {"title": "Own reward", "drone_details": {"rewardFunction": GOOD}}
            await rig.http.post("/users/", json={"username": "ada"})
            model = (await rig.http.post("/users/ada/drone-models/", json=body)).json()
            async with rig.socket(f"/ws/train?drone_id={model['drone_id']}") as socket:
                assert [text async for text in socket]  # until the training is over
            [config] = tmp_path.glob("runs/*/config.json")
            assert json.loads(config.read_text())["reward"] == GOOD

    play(scenario())
