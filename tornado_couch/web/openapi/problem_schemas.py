"""Makes the JSON Schemas of problem details."""

from __future__ import annotations

from typing import Any

from ..problem_kinds import KINDS, Kind, title
from .components import Components, Schema

__all__ = ["any_problem", "problem_schema"]

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
