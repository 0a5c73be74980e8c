"""What is kept of a document besides what it is, as an API document tells of it: versions, and deleted ones; pure."""

from __future__ import annotations

from typing import Any

from ...models import model_info
from .components import Schema
from .operation import ApiOperation

__all__ = ["describe_deleted", "describe_retrieval", "describe_version", "versions_schema"]

_TIME: Schema = {"type": "string", "format": "date-time"}


def describe_deleted(operation: ApiOperation, words: str) -> None:
    """Describe `deleted`, where the model keeps what is deleted."""
    if model_info(operation.resource.model).restorable:
        operation.query("deleted", {"type": "boolean", "default": False}, words)


def describe_retrieval(operation: ApiOperation) -> None:
    """Describe how a GET asks for what a document was."""
    describe_deleted(operation, "The document that is deleted and can be restored, instead of one that is not.")
    if model_info(operation.resource.model).history:
        describe_version(operation)


def describe_version(operation: ApiOperation) -> None:
    """Describe `version` and `at`, which exclude each other, and what the answer says besides."""
    version = {"type": "string", "pattern": "^[1-9][0-9]{0,9}(~[0-9a-f]+)?$", "examples": ["1"]}
    operation.query("version", version, "The version of this number.")
    operation.query("at", _TIME, "The version that was the latest at this time; a plus sign is written `%2B`.")
    for status in (200, 304):
        operation.answers[status].fields |= {"Link": False, "Content-Location": False}


def versions_schema(operation: ApiOperation) -> Schema:
    """The schema of a page of versions."""
    return operation.of_model().other("Versions", lambda: _versions(operation))


def _versions(operation: ApiOperation) -> Schema:
    schemas = operation.of_model()
    number = {"anyOf": [{"type": "integer", "minimum": 1}, {"type": "string"}], "description": "Its number."}
    told = {"_version": number, "_written_on": {**_TIME, "description": "When it was written."}}
    gone: dict[str, Any] = {
        "type": "object",
        "description": "A version that says that the document was deleted.",
        "required": ["_href", "_etag", "_deleted_on", *told],
        "properties": {"_href": {"type": "string"}, "_etag": {"type": "string"}, "_deleted_on": _TIME, **told},
    }
    one = {"anyOf": [schemas.item(), schemas.item_part()], "required": list(told), "properties": told}
    address = {"type": "string", "format": "uri-reference"}
    return {
        "type": "object",
        "description": "Versions of a document, the latest first.",
        "required": ["items"],
        "properties": {
            "items": {"type": "array", "items": {"anyOf": [one, gone]}},
            "withheld": {"type": "integer", "minimum": 1, "description": "Versions that could not be verified."},
            "next": {**address, "description": "The page after this one, if there is one."},
            "prev": {**address, "description": "The page before this one, if there is one."},
        },
    }
