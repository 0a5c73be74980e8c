"""Requests for many documents and their results, as an API document tells of them; pure."""

from __future__ import annotations

from collections.abc import Sequence

from .components import Schema
from .operation import ApiOperation
from .problem_schemas import any_problem

__all__ = ["describe_bulk", "or_refused", "results_schema"]


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


def or_refused(schema: Schema) -> Schema:
    """What one of many should be, whatever it is: the request as such is good, and its result says what is wrong."""
    return {"anyOf": [schema, {"description": "Anything else has a problem as its result, and changes nothing."}]}


def describe_bulk(operation: ApiOperation, actions: Sequence[str]) -> None:
    """Describe `POST {path}/_bulk`, which takes operations with these actions."""
    schemas = operation.of_model()
    operation.says(
        f"{_listed(actions).capitalize()} several {operation.tag}",
        "Each operation has its own precondition and its own result. Those on one document are done in order.",
    )
    operation.takes("Prefer")
    name = "Bulk" if len(actions) == 3 else "".join(["Bulk", *(each.capitalize() for each in actions)])
    operation.takes_body(schemas.other(name, lambda: _operations(operation, actions)))
    results = results_schema(operation)
    fields = ("Preference-Applied", "Cache-Control", "Vary")
    operation.answers_with(200, "A result for each operation, in order.", results, *fields)
    operation.problem("malformed-body", "too-many-members", "empty-bulk", "too-many-items", "validation")
    operation.problem("idempotency-key-for-many")
    operation.fails(413)
    operation.fails(415, fields=["Accept-Post", "Accept-Encoding"])


def _listed(words: Sequence[str]) -> str:
    return " and ".join(filter(None, [", ".join(words[:-1]), words[-1]]))


def _operations(operation: ApiOperation, actions: Sequence[str]) -> Schema:
    schemas = operation.of_model()
    key = {"type": ["string", "integer"], "description": "What stands in the document's address, unquoted."}
    if_match = {"type": "string", "description": "What If-Match would say."}
    members: dict[str, dict[str, Schema]] = {
        "create": {"document": or_refused(schemas.create())},
        "replace": {"key": key, "document": or_refused(schemas.replace()), "if_match": if_match},
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
        if action in actions
    ]
    most = operation.resource.max_bulk
    items = {"type": "array", "items": {"oneOf": each}, "minItems": 1, "maxItems": most}
    return {
        "type": "object",
        "required": ["operations"],
        "properties": {"operations": items},
        "additionalProperties": False,
    }
