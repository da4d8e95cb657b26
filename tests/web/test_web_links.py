"""Links of the OpenAPI document: from what makes a thing to all that is asked about it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from starlette.testclient import TestClient

import main
from racer.settings import Settings
from tests.tracks.texts import LOOP

PARAMETER = re.compile(r"\{(\w+)\}")


@pytest.fixture(scope="module")
def document(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The product's."""
    directory = tmp_path_factory.mktemp("links")
    app = main.create_app(Settings(_env_file=None, data_dir=directory, database_url=""))
    return app.openapi()


def links(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, str]]]:
    """Where each begins, the operation that it leads to, and the parameters that it gives."""
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            for response in operation["responses"].values():
                for name, link in response.get("links", {}).items():
                    assert name == link["operationId"]
                    yield f"{method.upper()} {path}", name, link["parameters"]


def paths_by_operation(document: dict[str, Any]) -> dict[str, tuple[str, str]]:
    return {
        operation["operationId"]: (method, path)
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
    }


def test_a_link_gives_exactly_the_parameters_of_its_operation(document: dict[str, Any]) -> None:
    paths = paths_by_operation(document)
    found = list(links(document))
    assert len(found) > 60
    for source, name, parameters in found:
        _, path = paths[name]
        assert set(parameters) == set(PARAMETER.findall(path)), (source, name)
        asked_with = PARAMETER.findall(source)
        for value in parameters.values():
            if value.startswith("$request"):
                assert value.removeprefix("$request.path.") in asked_with, (source, name)


@pytest.mark.parametrize(
    ("source", "target", "parameters"),
    [
        ("POST /users/", "GET /users/{username}", {"username": "$response.body#/username"}),
        ("GET /users/me", "GET /users/{username}", {"username": "$response.body#/username"}),
        (
            "POST /users/{username}/drone-models/",
            "DELETE /users/{username}/drone-models/{drone_id}",
            {"username": "$request.path.username", "drone_id": "$response.body#/drone_id"},
        ),
        (
            "POST /users/{username}/drone-models/{drone_id}/clone",
            "PUT /drone-models/{model_id}/",
            {"model_id": "$response.body#/id"},
        ),
        (
            "POST /users/{username}/drone-models/{drone_id}/runs",
            "POST /runs/{run_id}/cancel",
            {"run_id": "$response.body#/0/id"},
        ),
        (
            "POST /races/{race_id}/entries",
            "DELETE /races/{race_id}/entries/{entry_id}",
            {"race_id": "$request.path.race_id", "entry_id": "$response.body#/id"},
        ),
    ],
)
def test_what_leads_where(
    document: dict[str, Any], source: str, target: str, parameters: dict[str, str]
) -> None:
    paths = paths_by_operation(document)
    found = {
        (start, " ".join((paths[name][0].upper(), paths[name][1]))): given
        for start, name, given in links(document)
    }
    assert found[source, target] == parameters


def test_nothing_leads_to_another_kind_of_thing(document: dict[str, Any]) -> None:
    paths = paths_by_operation(document)
    of_entries = {paths[name][1] for source, name, _ in links(document) if "entries" in source}
    assert of_entries == {"/races/{race_id}/entries/{entry_id}"}


def test_who_follows_the_links_finds_what_was_made(client: TestClient) -> None:
    document = client.get("/openapi.json").json()
    paths = paths_by_operation(document)
    toml = {"Content-Type": "application/toml"}
    followed = 0
    for path, given, sent in (
        ("/users/", {}, {"json": {"username": "ada"}}),
        ("/users/{username}/drone-models/", {"username": "ada"}, {"json": {"title": "First"}}),
        ("/users/{username}/tracks", {"username": "ada"}, {"content": LOOP, "headers": toml}),
    ):
        answer = client.post(path.format(**given), **sent)
        assert answer.is_success, answer.text
        response = document["paths"][path]["post"]["responses"][str(answer.status_code)]
        for name, link in response["links"].items():
            method, target = paths[name]
            if method != "get" or "stream" in target:
                continue
            values = {
                parameter: resolved(expression, answer.json(), given)
                for parameter, expression in link["parameters"].items()
            }
            assert client.get(target.format(**values)).status_code == 200, (path, target)
            followed += 1
    assert followed >= 5


def resolved(expression: str, answer: Any, given: dict[str, str]) -> str:
    if expression.startswith("$request.path."):
        return given[expression.removeprefix("$request.path.")]
    value = answer
    for key in expression.removeprefix("$response.body#/").split("/"):
        value = value[int(key)] if isinstance(value, list) else value[key]
    return str(value)
