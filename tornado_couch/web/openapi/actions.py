"""What the package's own actions take and answer: the HTTP contract, as an API document tells of it; pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ...models import Reduction, model_info
from ..http import NDJSON
from ..query import filterable, has_ranges
from .bulk import describe_bulk, or_refused, results_schema
from .conflicts import describe_conflicts, describe_resolution
from .kept import describe_deleted, describe_retrieval, versions_schema
from .operation import Answer, ApiOperation
from .parameters import describe_fields, describe_filters, describe_page, describe_sort

__all__ = ["ACTIONS", "describe_bulk", "describe_common"]

_MERGE = "application/merge-patch+json"
_JSON_PATCH = "application/json-patch+json"

_WITHHELD: dict[str, Any] = {
    "type": "object",
    "description": "The last line, where documents could not be verified.",
    "required": ["withheld"],
    "properties": {"withheld": {"type": "integer", "minimum": 1}},
}

_POINTER: dict[str, Any] = {"type": "string", "format": "json-pointer"}


def _patch_operation(names: list[str], **members: dict[str, Any]) -> dict[str, Any]:
    """The schema of operations of a JSON patch (RFC 6902 §4) that have these members besides `op` and `path`."""
    found = {"op": {"type": "string", "enum": names}, "path": _POINTER, **members}
    return {"type": "object", "required": list(found), "properties": found}


_PATCH_SCHEMA: dict[str, Any] = {
    "type": "array",
    "description": "A JSON patch (RFC 6902); its pointers are into what a GET shows.",
    "examples": [[{"op": "test", "path": "/name", "value": "old"}, {"op": "replace", "path": "/name", "value": "new"}]],
    "items": {
        "oneOf": [
            _patch_operation(["add", "replace", "test"], value={"description": "Any JSON value."}),
            _patch_operation(["move", "copy"], **{"from": _POINTER}),
            _patch_operation(["remove"]),
        ]
    },
}


def describe_common(operation: ApiOperation) -> None:
    """Describe what every request to a resource can be answered with."""
    operation.fails(406)
    operation.fails(500)
    operation.fails(400)  # of Tornado itself: what is no UTF-8, say
    operation.problem("malformed-path", "bad-preference", "database-unavailable", "database-timeout")
    operation.answers[503].fields["Retry-After"] = True
    operation.answers[504].fields["Retry-After"] = True


def _describe_reading(operation: ApiOperation, description: str, schema: dict[str, Any], *fields: str) -> Answer:
    """Describe what GETs have in common."""
    operation.takes("If-None-Match", "If-Match")
    words = "It is still what `If-None-Match` names."
    operation.answers_with(304, words, None, "ETag", "Cache-Control", "Vary", *fields)
    operation.problem("malformed-entity-tag", "revision-mismatch", "bad-parameter")
    operation.answers[412].fields["ETag"] = None
    return operation.answers_with(200, description, schema, "ETag", "Cache-Control", "Vary", *fields)


def _list(operation: ApiOperation) -> None:
    model = operation.resource.model
    operation.says(f"List {operation.tag}", "A parameter that is not described, or that no index serves, is 400.")
    describe_page(operation)
    describe_sort(operation)
    describe_fields(operation)
    operation.query("count", {"type": "boolean"}, "Whether to count all there are, as `total`.")
    describe_filters(operation, filterable(model))
    describe_deleted(operation, "Those that are deleted and can be restored, instead of those that are not.")
    page = _describe_reading(operation, "A page of the collection.", operation.of_model().page(), "Link")
    page.fields["ETag"] = False  # lines have none
    items = {"anyOf": [operation.of_model().item(), operation.of_model().item_part(), _WITHHELD]}
    page.content[NDJSON] = {"type": "array", "items": items, "description": "All of it, a line for each item."}
    operation.problem("no-index")


def _reduce(operation: ApiOperation) -> None:
    reduction: Reduction = model_info(operation.resource.model).reductions[operation.target["name"]]
    words = f"{reduction.function[1:].capitalize()} by {', '.join(reduction.by)}"
    operation.says(words, "One value for each group of documents.")
    describe_page(operation)
    levels = {"type": "integer", "minimum": 0, "maximum": len(reduction.by), "default": len(reduction.by)}
    operation.query("level", levels, "By how many of the properties to group; 0: one value of everything.")
    names = {name: has_ranges(operation.resource.model, name) for name in reduction.by}
    describe_filters(operation, names, several=False)
    suffix = "".join(each.capitalize() for each in operation.target["name"].replace("-", "_").split("_"))
    schema = operation.of_model().other(suffix, lambda: _groups(reduction))
    _describe_reading(operation, "A page of groups, in the order of their keys.", schema, "Link")
    operation.problem("no-index")


def _groups(reduction: Reduction) -> dict[str, Any]:
    stats = {name: {"type": "number"} for name in ("sum", "count", "min", "max", "sumsqr")}
    value: dict[str, Any] = {"type": "integer" if reduction.function == "_count" else "number"}
    if reduction.function == "_stats":
        value = {"type": "object", "required": list(stats), "properties": stats}
    group = {
        "type": "object",
        "required": ["key", "value"],
        "properties": {"key": {"description": f"The values of {', '.join(reduction.by)}."}, "value": value},
    }
    return {
        "type": "object",
        "required": ["items"],
        "properties": {
            "items": {"type": "array", "items": group},
            "next": {"type": "string", "format": "uri-reference", "description": "The page after this one, if any."},
        },
    }


def _retrieve(operation: ApiOperation) -> None:
    schemas = operation.of_model()
    operation.says(f"Get {operation.one}")
    describe_fields(operation)
    both = {"anyOf": [schemas.shown(), schemas.part()]}
    _describe_reading(operation, "The document; with `fields`, a part of it.", both)
    describe_retrieval(operation)
    operation.fails(404)
    _describe_stored(operation)


def _versions(operation: ApiOperation) -> None:
    operation.says(f"List the versions of {operation.one}", "The latest first; a deletion is one of them.")
    describe_page(operation)
    describe_fields(operation)
    _describe_reading(operation, "A page of versions.", versions_schema(operation), "Link")
    operation.fails(404)
    _describe_stored(operation)


def _describe_stored(operation: ApiOperation) -> None:
    """Describe what a document that is read can be wrong in."""
    operation.problem("unreadable-document", "unsupported-version", "tampered-document")


def _describe_body(operation: ApiOperation) -> None:
    operation.problem("malformed-body", "too-many-members")
    operation.fails(413)
    told = {"POST": ["Accept-Post"], "PATCH": ["Accept-Patch"]}
    operation.fails(415, fields=[*told.get(operation.method, []), "Accept-Encoding"])


def _describe_writing(operation: ApiOperation) -> None:
    """Describe what the writes have in common."""
    operation.problem("contended", "outcome-unknown", "refused-by-database")
    operation.fails(504, "outcome-unknown")  # where the database was too slow to say it


def _describe_change(operation: ApiOperation) -> None:
    """Describe what the writes to one document have in common."""
    operation.takes("If-Match", "If-None-Match")
    operation.problem("malformed-entity-tag", "revision-mismatch")
    operation.answers[412].fields["ETag"] = False
    operation.fails(404)
    if operation.resource.require_if_match:
        operation.problem("if-match-required")
    _describe_stored(operation)
    _describe_writing(operation)


def _answer_minimal(operation: ApiOperation) -> None:
    """Describe the answer without the document."""
    operation.takes("Prefer")
    words = "Done; `Prefer: return=minimal` asked for no document."
    operation.answers_with(204, words, None, "ETag", "Preference-Applied")


def _prefer_document(operation: ApiOperation) -> None:
    """Describe Prefer where a 201 may follow; its example is not `return=minimal`, since then a 201 has no body.

    OpenAPI cannot say that a body depends on a field of the request, so whoever tries examples would miss it.
    """
    operation.takes("Prefer")
    found = operation.parameters["header", "Prefer"]
    found["schema"] = {**found["schema"], "examples": ["return=representation"]}


def _create(operation: ApiOperation) -> None:
    schemas = operation.of_model()
    several = {"type": "array", "items": schemas.create(), "minItems": 1, "maxItems": operation.resource.max_bulk}
    operation.says(f"Create {operation.one}", "From an array, or from lines of JSON, many with one request.")
    operation.takes("Idempotency-Key")
    _prefer_document(operation)
    operation.takes_body({"anyOf": [schemas.create(), several]})
    # A sequence of values is described as an array would be, as OpenAPI 3.2 has it (§4.14.4).
    lines = {"type": "array", "items": or_refused(schemas.create()), "minItems": 1}
    operation.takes_body({**lines, "description": "A line of JSON for each new document."}, NDJSON)
    words = "Created; with `Prefer: return=minimal`, without a body."
    created = operation.answers_with(201, words, schemas.shown(), "Location", "ETag", "Cache-Control", "Vary")
    created.fields |= {"Preference-Applied": False, "Idempotent-Replayed": False}
    many = operation.answers_with(200, "A result for each document of an array, in order.", results_schema(operation))
    many.fields["Preference-Applied"] = False
    words = "A result for each line, as it is stored."
    many.content[NDJSON] = {"type": "array", "items": {"type": "object"}, "description": words}
    _describe_body(operation)
    operation.problem("validation", "exists", "empty-bulk", "too-many-items")
    operation.problem("malformed-idempotency-key", "idempotency-key-for-many", "idempotency-key-reused")
    operation.problem("idempotent-request-running", "idempotent-result-gone")
    operation.answers[409].fields["Retry-After"] = False
    # What was created before can have been altered since, or have become somebody else's.
    _describe_stored(operation)
    operation.fails(404)
    _describe_writing(operation)


def _replace(operation: ApiOperation) -> None:
    schemas = operation.of_model()
    operation.says(
        f"Replace {operation.one}",
        "An optional property that is left out is gone; read-only ones are kept."
        " Without If-Match it is done on the latest revision, again at each conflict.",
    )
    operation.takes_body(schemas.replace())
    operation.answers_with(200, "Replaced.", schemas.shown(), "ETag", "Cache-Control", "Vary")
    _answer_minimal(operation)
    if operation.resource.create_by_put or operation.resource.info.restorable:
        words = "Created, or restored; with `Prefer: return=minimal`, without a body."
        created = operation.answers_with(201, words, schemas.shown(), "Location", "ETag", "Cache-Control", "Vary")
        created.fields["Preference-Applied"] = False
        operation.problem("exists")
        _prefer_document(operation)
    _describe_body(operation)
    operation.problem("validation", "key-mismatch")
    _describe_change(operation)


def _patch(operation: ApiOperation) -> None:
    schemas = operation.of_model()
    operation.says(f"Change {operation.one}", "By a merge patch (RFC 7396) or a JSON patch (RFC 6902).")
    operation.takes_body(schemas.merge_patch(), _MERGE)
    operation.takes_body(operation.components.put("schemas", "JsonPatch", _PATCH_SCHEMA), _JSON_PATCH)
    operation.answers_with(200, "Changed.", schemas.shown(), "ETag", "Cache-Control", "Vary")
    _answer_minimal(operation)
    _describe_body(operation)
    operation.problem("validation", "patch-test-failed")
    _describe_change(operation)


def _destroy(operation: ApiOperation) -> None:
    operation.says(f"Delete {operation.one}")
    operation.answers_with(204, "Deleted.")
    _describe_change(operation)


ACTIONS: dict[str, Callable[[ApiOperation], None]] = {
    "list": _list,
    "reduce": _reduce,
    "retrieve": _retrieve,
    "versions": _versions,
    "create": _create,
    "replace": _replace,
    "patch": _patch,
    "destroy": _destroy,
    "conflicts": describe_conflicts,
    "resolve": describe_resolution,
}
"""By action: what describes it."""
