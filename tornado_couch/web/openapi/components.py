"""Collects the parts of an API document that several operations share, each under its own name."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ..problems import KINDS, Kind, title

__all__ = ["Components", "Schema", "any_problem", "nullable", "problem_schema", "renamed"]

Schema = dict[str, Any]

_UNNAMEABLE = re.compile(r"[^A-Za-z0-9._-]+")  # OpenAPI 3.1 §4.8.7.1


class Components:
    """Collects schemas, header fields and security schemes while operations are described."""

    def __init__(self) -> None:
        self._found: dict[str, dict[str, Any]] = {}
        self._owners: dict[tuple[str, str], object] = {}

    def name(self, kind: str, wanted: str, owner: object) -> str:
        """A name for a part: the wanted one if it is free, otherwise the same with a number.

        Args:
            kind: the kind of part, such as "schemas".
            wanted: the wanted name.
            owner: what the name stands for; equal owners share a name.
        """
        base = _UNNAMEABLE.sub("_", wanted) or "_"
        name, number = base, 1
        while self._owners.setdefault((kind, name), owner) != owner:
            number += 1
            name = f"{base}{number}"
        return name

    def put(self, kind: str, name: str, value: dict[str, Any]) -> Schema:
        """Keep a part and return a reference to it. If the name is taken already, the first part stays."""
        self._found.setdefault(kind, {}).setdefault(name, value)
        return {"$ref": f"#/components/{kind}/{name}"}

    def has(self, kind: str, name: str) -> bool:
        """Whether a part with this name is kept."""
        return name in self._found.get(kind, {})

    def get(self, kind: str, name: str) -> dict[str, Any]:
        """The part with this name."""
        found: dict[str, Any] = self._found[kind][name]
        return found

    def all(self, kind: str) -> Mapping[str, dict[str, Any]]:
        """All parts of a kind so far, by name."""
        return self._found.get(kind, {})

    def as_dict(self) -> dict[str, Any]:
        """All parts, sorted, so that the same service always gives the same bytes."""
        return {kind: dict(sorted(parts.items())) for kind, parts in sorted(self._found.items())}


def nullable(schema: Schema) -> Schema:
    """A copy of a schema that also allows null."""
    branches = schema.get("anyOf")
    if branches is not None:
        return schema if {"type": "null"} in branches else {**schema, "anyOf": [*branches, {"type": "null"}]}
    return {"anyOf": [schema, {"type": "null"}]}


def renamed(schema: Any, names: Mapping[str, str]) -> Any:
    """A copy of a JSON Schema whose references to `$defs` are references to components of these names."""
    if isinstance(schema, list):
        return [renamed(each, names) for each in schema]
    if not isinstance(schema, dict):
        return schema
    found = {name: renamed(value, names) for name, value in schema.items()}
    target = found.get("$ref")
    if isinstance(target, str) and target.startswith("#/$defs/"):
        found["$ref"] = _renamed(target, names)
    tagged = found.get("discriminator")
    if isinstance(tagged, dict) and isinstance(tagged.get("mapping"), dict):
        mapping = {tag: _renamed(each, names) for tag, each in tagged["mapping"].items()}
        found["discriminator"] = {**tagged, "mapping": mapping}
    return found


def _renamed(target: str, names: Mapping[str, str]) -> str:
    name = target.removeprefix("#/$defs/")
    return f"#/components/schemas/{names[name]}" if name in names else target


_TEXT: Schema = {"type": "string"}


def any_problem(components: Components) -> Schema:
    """A reference to the schema of problems of any kind."""
    members = {"type": _TEXT, "title": _TEXT, "status": {"type": "integer"}, "detail": _TEXT, "instance": _TEXT}
    schema = {
        "type": "object",
        "description": "Problem details (RFC 9457).",
        "required": list(members),
        "properties": members,
    }
    return components.put("schemas", "Problem", schema)


def problem_schema(components: Components, status: int, kind: str) -> Schema:
    """A reference to the schema of one kind of problem; without a kind, of "about:blank" with this status."""
    known = KINDS.get(kind, Kind(status, ""))
    words = kind.replace("-", " ") if kind else title(status)
    name = components.name("schemas", f"{''.join(word.capitalize() for word in words.split())}Problem", (status, kind))
    if components.has("schemas", name):
        return {"$ref": f"#/components/schemas/{name}"}
    uri = f"urn:tornado-couch:problem:{kind}" if kind else "about:blank"
    # The type is a constant, so that a client can distinguish kinds with the same status and parse their members.
    common: Schema = {
        "type": {"type": "string", "const": uri},
        "title": {"type": "string", "examples": [title(status)]},
        "status": {"type": "integer", "const": status},
        "detail": {"type": "string", "examples": [known.detail or f"{title(status)}."]},
        "instance": {"type": "string", "description": "The path of the request."},
    }
    schema: dict[str, Any] = {
        "type": "object",
        "description": f"{known.detail or title(status)} (RFC 9457)",
        "required": [*common, *known.required],
        "properties": {**common, **known.members},
    }
    return components.put("schemas", name, schema)
