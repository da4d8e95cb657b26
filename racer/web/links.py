"""OpenAPI links: from the answer of what makes a thing to everything that is asked about it.

They follow from the routes. A path is about the thing if one of its parameters is called by the
thing's kind: `race_id` is the `id` of a RaceOut, `drone_id` and `username` are such fields of a
DroneModelOut and a UserOut. Its other parameters are fields of the answer by their names, or were
in the path that it was asked with. Programs that make requests reach real things by these links.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

_PARAMETER = re.compile(r"\{(\w+)\}")
_WORD = re.compile("[A-Z][a-z]*")
_OWN_ACCOUNT = "/users/me"  # what is there already for who signs in


def with_links(document: dict[str, Any]) -> dict[str, Any]:
    """The document with links at the answers of the routes that make something, in place."""
    for path, operations in document["paths"].items():
        for operation in operations.values():
            if not (_makes(operation) or path == _OWN_ACCOUNT):
                continue
            asked_with = set(_PARAMETER.findall(path))
            for status, response in operation["responses"].items():
                if not status.startswith("2"):
                    continue
                if links := dict(_links(response, document, asked_with)):
                    response["links"] = links
    return document


def _makes(operation: dict[str, Any]) -> bool:
    """It is marked with racer.web.idempotency.CREATES."""
    return any(
        parameter["name"] == "Idempotency-Key" for parameter in operation.get("parameters", ())
    )


def _links(
    response: dict[str, Any], document: dict[str, Any], asked_with: set[str]
) -> Iterator[tuple[str, dict[str, Any]]]:
    """To every operation about the thing of which the answer tells."""
    kind, told = _told(response, document)
    own = {name for name in told if name.startswith(kind)}
    known = {name: f"$request.path.{name}" for name in asked_with} | told
    for path, operations in document["paths"].items():
        needed = _PARAMETER.findall(path)
        if own.isdisjoint(needed) or not known.keys() >= set(needed):
            continue
        for operation in operations.values():
            name = operation["operationId"]
            parameters = {parameter: known[parameter] for parameter in needed}
            yield name, {"operationId": name, "parameters": parameters}


def _told(
    response: dict[str, Any], document: dict[str, Any]
) -> tuple[tuple[str, ...], dict[str, str]]:
    """The words for the kind of thing that is answered (or of the first of a list), and by the
    names of parameters the runtime expressions of what is told of it."""
    schema = response.get("content", {}).get("application/json", {}).get("schema", {})
    place = "$response.body#"
    if schema.get("type") == "array":
        schema, place = schema["items"], f"{place}/0"
    name = schema.get("$ref", "").rpartition("/")[2]
    words = tuple(word.lower() for word in _WORD.findall(name.removesuffix("Out")))
    words = ("user",) if words == ("me",) else words
    fields = document["components"]["schemas"].get(name, {}).get("properties", {})
    told = {
        field: f"{place}/{field}"
        for field, value in fields.items()
        if {"type": "null"} not in value.get("anyOf", ())
    }
    if own := told.pop("id", None):
        told = {f"{word}_id": own for word in words} | told
    return words, told
