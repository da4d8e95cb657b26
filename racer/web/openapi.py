"""The OpenAPI document: what routes share is described once, and every answer has an example.

A route says what is its own with `errors` and `body`; what its place brings with it (a token, a
body, a write, a database) is added to the whole document by `with_examples`. Examples are put
together from the fields of the models, so that none is written twice and none is forgotten.
"""

from __future__ import annotations

from collections.abc import Iterator
from http import HTTPStatus
from typing import Any

from racer.web.errors import Problem
from schemas import ErrorOut

Responses = dict[int | str, dict[str, Any]]
READING = frozenset({"get", "head", "options"})

_SIGN_IN = "Nobody is signed in and this needs it, or the token is wrong or expired."
_STRANGE_HOST = "The Host header is no name of this service."
_TOO_LARGE = "The body is larger than this route takes."
_TOO_MANY = "Too many requests that write in a minute: Retry-After says when to go on."
_FOREIGN = "A page of an origin that CORS_ORIGINS does not name sent it."
UNFORESEEN = "Something went wrong here, not with your request. Report the request id."
_AWAY = "The database, or another part that is needed, does not answer now. Try again."
_NOT_MODIFIED = "The client has it: If-None-Match named its ETag."
_CHANGED = "If-Match names another version than there is now: read it again, then decide."
_UNDER_WAY = "The first request with this Idempotency-Key is still under way."
_ALWAYS_THERE = frozenset({"/livez"})  # needs no database


def errors(**descriptions: str) -> Responses:
    """OpenAPI entries: `errors(s404="There is no such user.")`."""
    return {
        int(status[1:]): {"model": ErrorOut, "description": text}
        for status, text in descriptions.items()
    }


def body(media_type: str, example: str, *, binary: bool = False) -> Responses:
    """The OpenAPI entry of a success that is no JSON; of a binary one the example is its start."""
    schema = {"type": "string"} | ({"format": "binary"} if binary else {})
    return {200: {"content": {media_type: {"schema": schema, "example": example}}}}


def answer(example: Any) -> Responses:
    """The OpenAPI entry of a success that is JSON without a model."""
    return {200: {"content": {"application/json": {"example": example}}}}


def with_examples(document: dict[str, Any]) -> dict[str, Any]:
    """The document that FastAPI made, completed in place."""
    examples = _Examples(document)
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            responses = operation["responses"]
            if not (operation.get("parameters") or "requestBody" in operation):
                responses.pop("422", None)
            for status, description in _shared(path, method, operation):
                responses.setdefault(str(status), {"description": description})
            for status, response in responses.items():
                _complete(int(status), response, examples)
            operation["responses"] = dict(sorted(responses.items()))
    return document


def _shared(path: str, method: str, operation: dict[str, Any]) -> Iterator[tuple[int, str]]:
    """Errors that come with what a route is, not with what it does."""
    headers = {
        parameter["name"].lower()
        for parameter in operation.get("parameters", ())
        if parameter["in"] == "header"
    }
    yield 400, _STRANGE_HOST
    if "security" in operation:
        yield 401, _SIGN_IN
    if method not in READING:
        yield 403, _FOREIGN
        yield 429, _TOO_MANY
    if "requestBody" in operation:
        yield 413, _TOO_LARGE
    if "idempotency-key" in headers:
        yield 409, _UNDER_WAY
    if "if-none-match" in headers:
        yield 304, _NOT_MODIFIED
    if "if-match" in headers:
        yield 412, _CHANGED
    if path not in _ALWAYS_THERE:
        yield 503, _AWAY


def _complete(status: int, response: dict[str, Any], examples: _Examples) -> None:
    """Give an answer its media type, schema and example."""
    content = response.get("content", {})
    schemas = [media["schema"] for media in content.values() if "schema" in media]
    if status >= 400 and (not schemas or "$ref" in schemas[0]):
        schema = schemas[0] if schemas else examples.reference("ErrorOut")
        kind = schema["$ref"].rpartition("/")[2]
        if kind in {"ErrorOut", "ValidationErrorOut"}:  # FastAPI takes the success's media type
            example = examples.of(schema) | {
                "title": HTTPStatus(status).phrase,
                "status": status,
            }
            if kind == "ErrorOut":
                example["detail"] = response["description"]
            response["content"] = {Problem.media_type: {"schema": schema, "example": example}}
            return
    for media in content.values():
        if "example" not in media and "schema" in media:
            try:
                media["example"] = examples.of(media["schema"])
            except LookupError:  # tests/web/test_openapi.py names the field that has none
                continue


class _Examples:
    """Makes examples of a document's schemas."""

    def __init__(self, document: dict[str, Any]) -> None:
        self._schemas = document.get("components", {}).get("schemas", {})

    @staticmethod
    def reference(name: str) -> dict[str, Any]:
        """The schema that points at a model's."""
        return {"$ref": f"#/components/schemas/{name}"}

    def of(self, schema: dict[str, Any], name: str = "") -> Any:
        """An example of what a schema describes; `name` is the field's. LookupError without one."""
        chosen = schema.get("examples") or schema.get("enum")
        if chosen:
            return chosen[0]
        if "$ref" in schema:
            return self.of(self._schemas[schema["$ref"].rpartition("/")[2]], name)
        for key in ("const", "default"):
            if key in schema:
                return schema[key]
        kinds = schema.get("anyOf", ())
        if {"type": "null"} in kinds:
            return None
        if kinds:
            return self.of(kinds[0], name)
        return self._of_kind(schema, name)

    def _of_kind(self, schema: dict[str, Any], name: str) -> Any:
        kind = schema.get("type")
        if kind == "object" and "properties" in schema:
            return {key: self.of(part, key) for key, part in schema["properties"].items()}
        if kind == "array":
            return [self.of(schema["items"], name)]
        if schema.get("format") == "date-time":
            return "2026-05-09T14:30:00Z"
        if kind == "boolean":
            return True
        return _COMMON[name]


# Of fields that mean the same wherever they stand; others have their own `examples`.
_COMMON: dict[str, Any] = {
    "id": "0b8c6a52-6a0e-4a3c-9b57-8f1f0f0f3b1d",
    "policy_id": "0b8c6a52-6a0e-4a3c-9b57-8f1f0f0f3b1d",
    "race_id": "5f0c1a34-51d2-4f0b-8f5e-3a4c2f9d7e66",
    "drone_id": "6f8d2f0e-3c1b-4c55-9a77-0f6d3c9a1b2e",
    "username": "ada",
    "title": "First laps",
    "description": "Slow and sure.",
    "policy_name": "First laps",
    "policy_version": 1,
    "track": "toledo",
    "track_sha256": "9f2feb0f1ef425b292f2f94bc8482494df430413dc3b53b0d5d3a1f5a3b4c2d1",
    "sha256": "9f2feb0f1ef425b292f2f94bc8482494df430413dc3b53b0d5d3a1f5a3b4c2d1",
    "airframe": "x500",
    "laps": 3,
    "gates": 6,
    "training_epochs": 20,
    "epochs": 20,
    "attempt": 1,
    "seed": 0,
    "wind_speed_m_s": 0.0,
    "drone": 1,
    "rank": 1,
    "message": "The training starts. Follow it at /ws/train.",
    "user_id": 1,
    "version": 1,
    "size_bytes": 68_912,
    "competitor": "41c0f3a5e1b7d69c28a0f4b35d7e9162c8a1f0e3b5d749620f8e1c3a5b7d9f04",
    "games": 4,
    "number": 1,
    "score_s": 21.4,
    "time_s": 7.1,
    "flown_s": 61.5,
    "epoch": 7,
    "entrants": 0,
    "max_entrants": 64,
    "airframes": "x500",
    "length_m": 96.2,
    "mean_height_m": 2.0,
    "commands_topic": "/control_commands",
}
