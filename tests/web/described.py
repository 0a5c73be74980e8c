"""Whether an answer is one that the API document tells of."""

from __future__ import annotations

import json
import re
from typing import Any

from jsonschema import Draft202012Validator

__all__ = ["Described"]


class Described:
    """An API document, for asking it about requests and answers."""

    def __init__(self, document: dict[str, Any]) -> None:
        self.document = document
        self._paths = [
            (re.compile(re.sub(r"\\\{[^}]*\\\}", "[^/]+", re.escape(path))), methods)
            for path, methods in document["paths"].items()
        ]

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
        operation = self.operation(method, path)
        if operation is None:
            return
        where = f"{method} {path}: {status} {text[:500]!r}"
        responses = operation["responses"]
        assert str(status) in responses or "default" in responses, where
        answer = responses.get(str(status), responses.get("default"))
        for name, field in answer.get("headers", {}).items():
            assert name in headers or not self.resolved(field).get("required"), f"{where} has no {name}"
        if not text:
            return
        media_type = headers["Content-Type"].partition(";")[0]
        assert media_type in answer["content"], f"{where} is {media_type}"
        if not media_type.endswith("json"):
            return
        lines = media_type == "application/x-ndjson"
        value = [json.loads(line) for line in text.splitlines()] if lines else json.loads(text)
        assert self.faults(answer["content"][media_type]["schema"], value) == [], where
