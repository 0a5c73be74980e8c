"""Whether an answer is one that the API document tells of."""

from __future__ import annotations

import json
import re
from typing import Any

from jsonschema import Draft202012Validator

from tornado_couch import Application
from tornado_couch.web.openapi.components import Components
from tornado_couch.web.openapi.document import Route, _Describer

__all__ = ["UNTOLD", "Described", "DescribedRoutes"]

UNTOLD = {
    # What frames a message and says how it is coded (OpenAPI 3.1 §4.8.16: Content-Type shall not be described).
    *("connection", "content-encoding", "content-length", "content-type", "date", "server", "transfer-encoding"),
    # What every answer has, whatever it is about.
    *("cache-control", "vary", "x-content-type-options"),
}
"""The header fields that an answer may have though its description does not name them; besides those of CORS."""


class DescribedRoutes:
    """The parts of an application's API document, each made when it is first asked: all of them take long to make.

    Args:
        application: the application.
    """

    def __init__(self, application: Application) -> None:
        self._application = application
        self._made: dict[str, Described] = {}
        self._routes: list[tuple[re.Pattern[str], Route]] | None = None

    def check(self, method: str, path: str, status: int, headers: Any, text: bytes) -> None:
        """Assert that an answer is described, if there is a description of what is at the address."""
        if self._routes is None:
            found = _Describer(self._application, Components()).routes()
            self._routes = [(_pattern(each.path), each) for each in found]
        for route in (each for pattern, each in self._routes if pattern.fullmatch(path)):
            if route.path not in self._made:
                self._made[route.path] = Described(self._document(route))
            if self._made[route.path].document["paths"]:
                self._made[route.path].check(method, path, status, headers, text)
                return

    def _document(self, route: Route) -> dict[str, Any]:
        components = Components()
        found = {
            each.method.lower(): each.as_dict() for each in list(_Describer(self._application, components).of(route))
        }
        return {"paths": {route.path: found} if found else {}, "components": components.as_dict()}


class Described:
    """An API document, for asking it about requests and answers."""

    def __init__(self, document: dict[str, Any]) -> None:
        self.document = document
        self._paths = [(_pattern(path), methods) for path, methods in document["paths"].items()]

    def operation(self, method: str, path: str) -> dict[str, Any] | None:
        """What is described at an address; None where nothing is."""
        for pattern, methods in self._paths:  # in the order of the routes
            if pattern.fullmatch(path):
                found: dict[str, Any] | None = methods.get(method.lower())
                return found
        return None

    def faults(self, schema: dict[str, Any], value: Any) -> list[str]:
        """What is wrong with a value, by a schema of the document."""
        whole = {**schema, "components": self.document["components"]}
        return [error.message for error in Draft202012Validator(whole).iter_errors(value)]

    def resolved(self, part: dict[str, Any]) -> dict[str, Any]:
        """What a reference refers to; anything else as it is."""
        if "$ref" not in part:
            return part
        found: Any = self.document
        for name in part["$ref"].removeprefix("#/").split("/"):
            found = found[name]
        return self.resolved(found)

    def check(self, method: str, path: str, status: int, headers: Any, text: bytes) -> None:
        """Assert that an answer of an operation that is described is described: status, media type, body, fields."""
        where = f"{method} {path}: {status} {text[:500]!r}"
        operation = self.operation(method, path)
        if operation is None:
            if not any(pattern.fullmatch(path) for pattern, _ in self._paths):
                return
            assert status == 405, f"{where}: there is no such operation"
            answer = self.document["components"]["responses"]["MethodNotAllowed"]
        else:
            responses = operation["responses"]
            assert str(status) in responses or "default" in responses, where
            answer = responses.get(str(status), responses.get("default"))
        self._check_fields(answer, headers, where)
        if not text:
            return
        media_type = headers["Content-Type"].partition(";")[0]
        ranges = {media_type, f"{media_type.partition('/')[0]}/*", "*/*"}
        assert ranges & answer["content"].keys(), f"{where} is {media_type}"
        if not media_type.endswith("json") or media_type not in answer["content"]:
            return
        lines = media_type == "application/x-ndjson"
        value = [json.loads(line) for line in text.splitlines()] if lines else json.loads(text)
        assert self.faults(answer["content"][media_type]["schema"], value) == [], where

    def _check_fields(self, answer: dict[str, Any], headers: Any, where: str) -> None:
        """Assert that the fields that must be there are, and that each one that is there is described."""
        told = {name.lower(): self.resolved(field) for name, field in answer.get("headers", {}).items()}
        for name, field in told.items():
            assert name in headers or not field.get("required"), f"{where} has no {name}"
        for name in {each.lower() for each in headers} - UNTOLD:
            assert name in told or name.startswith("access-control-"), f"{where} has an undescribed {name}"
            if name in told:
                schema = told[name]["schema"]
                value = int(headers[name]) if schema.get("type") == "integer" else headers[name]
                assert self.faults(schema, value) == [], f"{where}: {name}"


def _pattern(path: str) -> re.Pattern[str]:
    """What the addresses match that a template of the document is of."""
    return re.compile(re.sub(r"\\\{[^}]*\\\}", "[^/]+", re.escape(path)))
