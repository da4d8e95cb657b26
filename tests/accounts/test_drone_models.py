"""Drone models over HTTP: what is sent comes back, what means nothing is refused by name."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from starlette.testclient import TestClient

SENT_BY_THE_WEB_CLIENT = {
    "raceType": "time-trial",
    "algorithm": "ppo",
    "flightAltitude": "",
    "velocityLimit": "15",
    "yawLimit": "45",
    "enableWind": "true",
    "windSpeed": "5",
}
UNKNOWN_UUID = "00000000-0000-4000-8000-000000000000"
MODELS = "/users/ada/drone-models/"


@pytest.fixture(autouse=True)
def ada(client: TestClient) -> None:
    """An open account."""
    client.post("/users/", json={"username": "ada"})


def create(client: TestClient, **body: Any) -> Any:
    answer = client.post(MODELS, json={"title": "First"} | body)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_a_new_drone_model_has_the_seeds_fields(client: TestClient) -> None:
    made = create(client, description="Laps", drone_details=SENT_BY_THE_WEB_CLIENT)
    assert len(made.pop("drone_id")) == 36
    assert made.pop("created_at").endswith("Z")
    assert made.pop("updated_at").endswith("Z")
    assert made == {
        "id": 1,
        "user_id": 1,
        "title": "First",
        "description": "Laps",
        "training_epochs": 20,
        "drone_details": SENT_BY_THE_WEB_CLIENT,
        "status": "initializing",
        "train_loss": None,
        "train_accuracy": None,
    }


def test_it_can_be_read_in_all_three_ways(client: TestClient) -> None:
    first, second = create(client), create(client, title="Second")
    assert client.get(MODELS).json() == [first, second]
    assert client.get("/users/ada").json()["drone_models"] == [first, second]
    assert client.get(MODELS + second["drone_id"]).json() == second
    assert client.get(MODELS + second["drone_id"].upper()).json() == second


def test_another_users_or_no_drone_model_is_a_404(client: TestClient) -> None:
    client.post("/users/", json={"username": "bob"})
    drone_id = create(client)["drone_id"]
    paths = [f"/users/bob/drone-models/{drone_id}", MODELS + UNKNOWN_UUID, MODELS + "1"]
    for path in [*paths, MODELS + "%00" * 36, "/users/nobody/drone-models/" + drone_id]:
        assert client.get(path).status_code == 404
    assert client.post("/users/nobody/drone-models/", json={"title": "x"}).status_code == 404


@pytest.mark.parametrize(
    "details",
    [
        {},
        {"velocityLimit": 15, "windSpeed": 2.5, "enableWind": True, "yawLimit": None},
        {"colour": "orange", "nested": {"list": [1, None, "é"]}, "model_config": "x", "as_sent": 1},
    ],
)
def test_details_come_back_unchanged(client: TestClient, details: dict[str, Any]) -> None:
    made = create(client, drone_details=details)
    assert made["drone_details"] == details
    assert client.get(MODELS + made["drone_id"]).json()["drone_details"] == details


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("velocityLimit", "fast", "from 0.5 to 20 m/s"),
        ("velocityLimit", -3, "from 0.5 to 20 m/s"),
        ("velocityLimit", "1e99", "from 0.5 to 20 m/s"),
        ("flightAltitude", "5000", "from 1.5 to 100 m"),
        ("yawLimit", "nan", "from 5 to 360 °/s"),
        ("windSpeed", 10**400, "from 0 to 15 m/s"),
        ("enableWind", "maybe", '"true", "false"'),
        ("algorithm", "genetic", '"ppo", "sac", "apg"'),
        ("raceType", 7, "text of at most 64 characters"),
    ],
)
def test_nonsense_is_a_422_that_names_field_and_range(
    client: TestClient, field: str, value: object, says: str
) -> None:
    answer = client.post(MODELS, json={"title": "x", "drone_details": {field: value}})
    assert answer.status_code == 422
    assert answer.json()["detail"].startswith(f"drone_details.{field}: must be")
    assert says in answer.json()["detail"]
    assert answer.json()["errors"][0]["loc"] == ["body", "drone_details", field]


@pytest.mark.parametrize(
    "details", [[], "x", 1, None, {"x": "a" * 20_000}, {"x": [[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]}]
)
def test_details_of_the_wrong_shape_are_a_422(client: TestClient, details: object) -> None:
    answer = client.post(MODELS, json={"title": "x", "drone_details": details})
    assert answer.status_code == 422
    assert "drone_details" in answer.json()["detail"]


@pytest.mark.parametrize("text", ["NaN", "Infinity", "1e999", '"\\ud800"'])
def test_what_json_cannot_carry_back_is_a_422(client: TestClient, text: str) -> None:
    body = f'{{"title": "x", "drone_details": {{"extra": {text}}}}}'
    answer = client.post(MODELS, content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 422
    assert "finite numbers and valid Unicode" in answer.json()["detail"]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
DETAIL_NAMES = st.sampled_from(sorted(SENT_BY_THE_WEB_CLIENT)) | st.text()


@hypothesis_settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=150
)
@given(details=st.dictionaries(DETAIL_NAMES, JSON, max_size=6))
@example(details={"extra": "\0", "\0": "\U0001f681"})
@example(details={"velocityLimit": "٣", "flightAltitude": " 5 ", "windSpeed": "1_0"})
def test_any_details_are_kept_unchanged_or_refused(
    client: TestClient, details: dict[str, Any]
) -> None:
    # json.dumps writes NaN and lone surrogates, as a hostile client does.
    body = json.dumps({"title": "x", "drone_details": details})
    answer = client.post(MODELS, content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code in {200, 422}
    if answer.status_code == 200:
        drone_id = answer.json()["drone_id"]
        assert client.get(MODELS + drone_id).json()["drone_details"] == details


@pytest.mark.parametrize(
    ("sent", "kept"), [(1, 1), (1000, 1000), ("7", 7), ("", 20), (None, 20), (5.0, 5)]
)
def test_training_epochs(client: TestClient, sent: object, kept: int) -> None:
    assert create(client, training_epochs=sent)["training_epochs"] == kept


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("training_epochs", 0),
        ("training_epochs", 1001),
        ("training_epochs", 2.5),
        ("training_epochs", "many"),
        ("training_epochs", 10**30),
        ("training_epochs", []),
        ("title", None),
        ("title", 5),
        ("title", "x" * 201),
        ("title", "a\0b"),
        ("description", "x" * 10_001),
        ("description", "\0"),
    ],
)
def test_a_wrong_field_is_a_422_that_names_it(
    client: TestClient, field: str, value: object
) -> None:
    answer = client.post(MODELS, json={"title": "x"} | {field: value})
    assert answer.status_code == 422
    assert answer.json()["detail"].startswith(f"{field}: ")


def test_put_changes_what_it_names_and_nothing_else(client: TestClient) -> None:
    made = create(client)
    changes = {"status": "finished", "train_loss": 0.25, "train_accuracy": 0.75}
    for key in (made["id"], made["drone_id"]):
        for name, value in changes.items():
            answer = client.put(f"/drone-models/{key}/", json={name: value})
            assert answer.status_code == 200
            assert answer.json()[name] == value
    after = client.get(MODELS + made["drone_id"]).json()
    assert after.pop("updated_at") > made["updated_at"]
    assert after == {k: v for k, v in made.items() if k != "updated_at"} | changes
    cleared = client.put("/drone-models/1/", json={"train_loss": None})
    assert cleared.json()["train_loss"] is None
    assert cleared.json()["train_accuracy"] == 0.75


def test_put_takes_back_what_get_gave(client: TestClient) -> None:
    made = create(client)
    answer = client.put("/drone-models/1/", json=made | {"status": "training"})
    assert answer.json()["status"] == "training"


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("{}", "at least one of status"),
        (
            '{"status": "flying"}',
            "'initializing', 'training', 'paused', 'finished', 'failed' or 'cancelled'",
        ),
        ('{"status": null}', "status must be one of"),
        ('{"train_loss": NaN}', "train_loss: "),
        ('{"train_accuracy": 1e999}', "train_accuracy: "),
        ('{"train_loss": "high"}', "train_loss: "),
        ("[]", "body: "),
    ],
)
def test_put_refuses_what_means_nothing(client: TestClient, body: str, says: str) -> None:
    create(client)
    answer = client.put(
        "/drone-models/1/", content=body, headers={"Content-Type": "application/json"}
    )
    assert answer.status_code == 422
    assert says in answer.json()["detail"]


@pytest.mark.parametrize(
    "key", ["2", "0", "-1", str(2**31), "9" * 400, UNKNOWN_UUID, "%00", "x", "1.0", "١"]
)
def test_put_to_nothing_is_a_404(client: TestClient, key: str) -> None:
    create(client)
    assert client.put(f"/drone-models/{key}/", json={"train_loss": 1}).status_code == 404


def test_a_loss_keeps_every_digit(client: TestClient) -> None:
    create(client)
    answer = client.put("/drone-models/1/", json={"train_loss": math.pi * 1e-9})
    assert answer.json()["train_loss"] == math.pi * 1e-9


def test_a_description_of_null_is_empty(client: TestClient) -> None:
    assert create(client, description=None)["description"] == ""
