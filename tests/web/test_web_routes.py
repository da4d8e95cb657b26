"""What holds for every route of the product, also for those that come later."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.routing import iter_route_contexts
from starlette.routing import Mount
from starlette.testclient import TestClient
from starlette.types import Message, Receive, Scope, Send

import main
from racer.settings import Settings
from racer.web.middleware import EitherSlash

SEED_ROUTES = {
    ("POST", "/users/"),
    ("GET", "/users/{username}"),
    ("GET", "/users/{username}/drone-models/"),
    ("POST", "/users/{username}/drone-models/"),
    ("GET", "/users/{username}/drone-models/{drone_id}"),
    ("PUT", "/drone-models/{model_id}/"),
    ("POST", "/users/{username}/drone-models/{drone_id}/start-simulation"),
    ("POST", "/users/{username}/drone-models/{drone_id}/stop-simulation"),
    ("GET", "/gazebo-stream/{drone_id}"),
    ("WEBSOCKET", "/ws/control"),
    ("WEBSOCKET", "/ws/train"),
    ("GET", "/docs"),
    ("GET", "/redoc"),
}


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> FastAPI:
    """The whole product, not running."""
    directory = tmp_path_factory.mktemp("routes")
    return main.create_app(Settings(_env_file=None, data_dir=directory, database_url=""))


def every_route(app: FastAPI) -> Iterator[tuple[str, str]]:
    for context in iter_route_contexts(app.routes):
        if context.path is not None and not isinstance(context.original_route, Mount):
            for method in context.methods or {"WEBSOCKET"}:
                yield method, context.path


def test_the_seeds_routes_are_there_as_written(app: FastAPI) -> None:
    assert set(every_route(app)) >= SEED_ROUTES


def path_seen_behind(app: FastAPI, method: str, path: str) -> tuple[str, bytes]:
    """The path that the router gets when a client asks for `path`."""
    seen: list[tuple[str, bytes]] = []

    async def router(scope: Scope, _receive: Receive, _send: Send) -> None:
        seen.append((scope["path"], scope["raw_path"]))

    async def receive() -> Message:
        raise AssertionError("the body is the router's")

    async def send(_message: Message) -> None:
        raise AssertionError("the answer is the router's")

    kind = "websocket" if method == "WEBSOCKET" else "http"
    scope = {"type": kind, "method": method, "path": path, "raw_path": path.encode()}
    asyncio.run(EitherSlash(router, routes=app.routes)(scope, receive, send))
    return seen[0]


def test_every_route_answers_with_and_without_the_slash(app: FastAPI) -> None:
    routes = list(every_route(app))
    assert len(routes) > len(SEED_ROUTES)
    for method, template in routes:
        written = re.sub(r"\{[^}]*\}", "1", template)
        other = written.removesuffix("/") if written.endswith("/") else written + "/"
        for asked in (written, other):
            assert path_seen_behind(app, method, asked) == (written, written.encode()), template


@pytest.mark.parametrize("path", ["/", "/nowhere", "/nowhere/", "//", "/_nicegui/x/"])
def test_a_path_that_is_nobodys_passes_unchanged(app: FastAPI, path: str) -> None:
    assert path_seen_behind(app, "GET", path) == (path, path.encode())


def operations(app: FastAPI) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, methods in app.openapi()["paths"].items():
        for method, operation in methods.items():
            yield f"{method.upper()} {path}", operation


def test_every_route_is_documented(app: FastAPI) -> None:
    for name, operation in operations(app):
        assert operation.get("tags"), name
        assert operation["summary"][0].isupper(), name
        assert operation.get("description"), name
        success = [status for status in operation["responses"] if status.startswith("2")]
        assert success, name
        content = operation["responses"][success[0]].get("content", {})
        assert content or success[0] == "204", name
        for media, body in content.items():
            assert media != "application/json" or body["schema"], name


def test_every_path_parameter_has_its_404_and_every_error_its_text(app: FastAPI) -> None:
    for name, operation in operations(app):
        responses = operation["responses"]
        if "{" in name:
            assert "404" in responses, name
        if "security" in operation:
            assert "401" in responses, name
        for status, response in responses.items():
            assert response["description"], name
            if status.startswith("4"):
                assert [*response["content"]] == ["application/problem+json"], (name, status)


def test_a_refused_input_is_documented_as_it_is_sent(app: FastAPI) -> None:
    schemas = app.openapi()["components"]["schemas"]
    assert schemas["ValidationErrorOut"]["properties"]["detail"]["type"] == "string"
    assert "HTTPValidationError" not in schemas


@pytest.mark.parametrize(
    ("path", "allowed"),
    [("/users/me", "GET"), ("/tracks/toledo.svg", "GET"), ("/tracks/validate", "POST")],
)
def test_where_two_templates_fit_the_first_says_what_is_allowed(
    client: TestClient, path: str, allowed: str
) -> None:
    answer = client.options(path)
    assert (answer.status_code, answer.headers["Allow"]) == (405, allowed)
