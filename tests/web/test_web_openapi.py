"""The OpenAPI document tells of every route what it does, what it answers and how it fails."""

from __future__ import annotations

import re
from collections.abc import Iterator
from http import HTTPStatus
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.routing import iter_route_contexts
from pydantic import TypeAdapter

import main
from racer.settings import Settings
from schemas import ErrorOut, ValidationErrorOut

Operation = dict[str, Any]
PROBLEM = "application/problem+json"


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> FastAPI:
    """The whole product, not running."""
    directory = tmp_path_factory.mktemp("openapi")
    return main.create_app(Settings(_env_file=None, data_dir=directory, database_url=""))


@pytest.fixture(scope="module")
def operations(app: FastAPI) -> dict[str, Operation]:
    """Every operation of the document by its method and path."""
    return {
        f"{method.upper()} {path}": operation
        for path, methods in app.openapi()["paths"].items()
        for method, operation in methods.items()
    }


def models(app: FastAPI) -> Iterator[tuple[str, Any]]:
    """What each route that answers with JSON answers with."""
    for context in iter_route_contexts(app.routes):
        route = context.original_route
        if getattr(route, "response_model", None) is None or not route.include_in_schema:
            continue
        for method in context.methods or ():
            yield f"{method} {context.path}", route.response_model


def successes(operation: Operation) -> dict[str, Any]:
    return {
        status: response
        for status, response in operation["responses"].items()
        if status.startswith("2")
    }


def test_every_route_says_what_it_does(operations: dict[str, Operation]) -> None:
    assert len(operations) > 50
    silent = [
        name
        for name, operation in operations.items()
        if not operation.get("summary") or not operation.get("description")
    ]
    assert silent == []


def test_every_success_has_an_example(operations: dict[str, Operation]) -> None:
    without = []
    for name, operation in operations.items():
        assert successes(operation), name
        for status, response in successes(operation).items():
            bodies = response.get("content", {})
            if (status != "204" and not bodies) or any("example" not in b for b in bodies.values()):
                without.append(f"{name} {status}")
    assert without == []


def test_every_example_is_what_the_route_answers(
    app: FastAPI, operations: dict[str, Operation]
) -> None:
    checked = 0
    for name, model in models(app):
        for response in successes(operations[name]).values():
            for body in response["content"].values():
                adapter = TypeAdapter(model)
                again = adapter.dump_python(adapter.validate_python(body["example"]), mode="json")
                assert again == body["example"], name  # no field is missing, none is unknown
                checked += 1
    assert checked > 35


def test_every_error_has_an_example(operations: dict[str, Operation]) -> None:
    for name, operation in operations.items():
        for status, response in operation["responses"].items():
            if not status.startswith(("4", "5")) or (name == "GET /readyz" and status == "503"):
                continue
            [(media, body)] = response["content"].items()
            model = (
                ValidationErrorOut if status == "422" and "errors" in body["example"] else ErrorOut
            )
            problem = model.model_validate(body["example"])
            assert media == PROBLEM, (name, status)
            assert problem.status == int(status), (name, status)
            assert problem.title == HTTPStatus(int(status)).phrase
            assert problem.detail, (name, status)


def expected_errors(name: str, operation: Operation) -> set[str]:
    """Errors that follow from a route's method, place, input and token."""
    method, _, path = name.partition(" ")
    headers = {p["name"].lower() for p in operation.get("parameters", ()) if p["in"] == "header"}
    rules = {
        "400": True,
        "401": "security" in operation,
        "403": method != "GET",
        "404": re.search(r"\{", path) is not None,
        "409": "idempotency-key" in headers,
        "412": "if-match" in headers,
        "413": "requestBody" in operation,
        "422": "requestBody" in operation or bool(operation.get("parameters")),
        "429": method != "GET",
        "500": True,
        "503": path != "/livez",
    }
    return {status for status, applies in rules.items() if applies}


def test_every_route_tells_the_errors_that_its_kind_has(operations: dict[str, Operation]) -> None:
    untold = {
        name: missing
        for name, operation in operations.items()
        if (missing := expected_errors(name, operation) - set(operation["responses"]))
    }
    assert untold == {}


def test_a_route_without_input_refuses_none(operations: dict[str, Operation]) -> None:
    assert "422" not in operations["GET /livez"]["responses"]


def test_the_document_is_the_same_each_time(app: FastAPI) -> None:
    first = app.openapi()
    assert app.openapi() == first
