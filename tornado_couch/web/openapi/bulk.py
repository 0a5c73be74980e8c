"""Requests for many documents and their results, as an API document tells of them; pure."""

from __future__ import annotations

from .components import Schema
from .operation import ApiOperation
from .problem_kinds import any_problem

__all__ = ["describe_bulk", "results_schema"]


def results_schema(operation: ApiOperation) -> Schema:
    """The results of a request for many documents."""
    schemas = operation.of_model()
    problem = any_problem(operation.components)

    def make() -> Schema:
        result = {
            "type": "object",
            "required": ["status"],
            "properties": {
                "status": {"type": "integer", "description": "Of a request for this document alone."},
                "_href": {"type": "string", "description": "The document's address."},
                "_etag": {"type": "string", "description": "Its entity tag."},
                "document": schemas.shown(),
                "problem": problem,
            },
        }
        items = {"type": "array", "items": result}
        return {"type": "object", "required": ["items"], "properties": {"items": items}}

    return schemas.other("Results", make)


def describe_bulk(operation: ApiOperation) -> None:
    """Describe `POST {path}/_bulk`."""
    schemas = operation.of_model()
    operation.says(
        f"Create, replace and delete several of {operation.tag}",
        "Each operation has its own precondition and its own result. Those on one document are done in order.",
    )
    operation.takes("Prefer")
    operation.takes_body(schemas.other("Bulk", lambda: _operations(operation)))
    results = results_schema(operation)
    operation.answers_with(200, "A result for each operation, in order.", results, "Cache-Control", "Vary")
    operation.problem("malformed-body", "too-many-members", "empty-bulk", "too-many-items", "validation")
    operation.problem("idempotency-key-for-many")
    operation.fails(413)
    operation.fails(415, fields=["Accept-Post"])


def _operations(operation: ApiOperation) -> Schema:
    schemas = operation.of_model()
    key = {"type": ["string", "integer"], "description": "What stands in the document's address, unquoted."}
    if_match = {"type": "string", "description": "What If-Match would say."}
    members: dict[str, dict[str, Schema]] = {
        "create": {"document": schemas.create()},
        "replace": {"key": key, "document": schemas.replace(), "if_match": if_match},
        "delete": {"key": key, "if_match": if_match},
    }
    each = [
        {
            "type": "object",
            "required": ["action", *(name for name in found if name != "if_match")],
            "properties": {"action": {"type": "string", "const": action}, **found},
            "additionalProperties": False,
        }
        for action, found in members.items()
    ]
    most = operation.resource.max_bulk
    items = {"type": "array", "items": {"oneOf": each}, "minItems": 1, "maxItems": most}
    return {
        "type": "object",
        "required": ["operations"],
        "properties": {"operations": items},
        "additionalProperties": False,
    }
