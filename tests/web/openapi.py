"""A small API document of the tests' fruits, for a fuzzer: the schemas are the model's own.

The application's own API document is another issue's; this one names what that fuzzer needs. Preconditions
are left out: that a valid one can fail is no fault, and `test_stateful` knows when it must.
"""

from __future__ import annotations

from typing import Any

from tornado_couch.models import body_schema

from .conftest import Fruit

__all__ = ["document"]

_PROBLEM: dict[str, Any] = {
    "type": "object",
    "required": ["type", "title", "status", "instance"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "instance": {"type": "string"},
    },
}
_ETAG = {"ETag": {"required": True, "schema": {"type": "string"}}}


def _problems(*statuses: int) -> dict[str, Any]:
    content = {"application/problem+json": {"schema": _PROBLEM}}
    return {str(status): {"description": "A problem.", "content": content} for status in statuses}


def _shown() -> dict[str, Any]:
    """What a client sees of a fruit."""
    schema = body_schema(Fruit, "replace")
    properties = {name: each for name, each in schema["properties"].items() if name != "pin" and name[0] != "_"}
    return {"type": "object", "required": ["fruit_id", "color"], "properties": properties}


def _answer(description: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"description": description, "headers": _ETAG, "content": {"application/json": {"schema": schema}}}


def _body(schema: dict[str, Any], media_type: str = "application/json") -> dict[str, Any]:
    return {"required": True, "content": {media_type: {"schema": schema}}}


def document(fruit_id: str) -> dict[str, Any]:
    """The API document; `fruit_id` is a fruit that is there."""
    key = {
        "name": "key",
        "in": "path",
        "required": True,
        "schema": {"type": "string", "minLength": 1},
        "example": fruit_id,
    }
    page = {"type": "object", "required": ["items"], "properties": {"items": {"type": "array", "items": _shown()}}}
    created = _answer("Created.", _shown())
    write = _problems(400, 404, 412, 413, 415, 422)
    patch = {
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "color": {"type": "string", "minLength": 1},
            "weight": {"type": ["integer", "null"], "minimum": 0},
        },
    }
    return {
        "openapi": "3.1.0",
        "info": {"title": "Fruits", "version": "1"},
        "paths": {
            "/fruits": {
                "get": {
                    "parameters": [
                        {"name": "limit", "in": "query", "schema": {"type": "integer", "minimum": 1}},
                        {"name": "color", "in": "query", "schema": {"type": "string", "minLength": 1}},
                        {"name": "sort", "in": "query", "schema": {"enum": ["color", "-color"]}},
                        {"name": "count", "in": "query", "schema": {"enum": ["true", "false"]}},
                    ],
                    "responses": {"200": _answer("A page.", page), **_problems(400)},
                },
                "post": {
                    "requestBody": _body(body_schema(Fruit, "create")),
                    "responses": {"201": created, **_problems(400, 413, 415, 422)},
                },
            },
            "/fruits/{key}": {
                "parameters": [key],
                "get": {
                    "responses": {
                        "200": _answer("It.", _shown()),
                        "304": {"description": "Same."},
                        **_problems(400, 404, 412),
                    },
                },
                "put": {
                    "requestBody": _body(body_schema(Fruit, "replace")),
                    "responses": {"200": _answer("Replaced.", _shown()), **write},
                },
                "patch": {
                    "requestBody": _body(patch, "application/merge-patch+json"),
                    "responses": {"200": _answer("Patched.", _shown()), **write},
                },
                "delete": {
                    "responses": {"204": {"description": "Deleted."}, **_problems(400, 404, 412)},
                },
            },
        },
    }
