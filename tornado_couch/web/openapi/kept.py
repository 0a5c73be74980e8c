"""Describes earlier versions and deleted documents in an API document."""

from __future__ import annotations

from typing import Any

from ...models import model_info
from .components import Schema
from .operation import ApiOperation

__all__ = ["describe_deleted", "describe_retrieval", "describe_version", "versions_schema"]

_TIME: Schema = {"type": "string", "format": "date-time"}


def describe_deleted(operation: ApiOperation, words: str) -> None:
    """Describe the parameter `deleted`, if the model keeps deleted documents."""
    if model_info(operation.resource.model).restorable:
        operation.query("deleted", {"type": "boolean", "default": False}, words)


def describe_retrieval(operation: ApiOperation) -> None:
    """Describe how a GET asks for an earlier version or a deleted document."""
    describe_deleted(operation, "The deleted document, which can be restored, instead of another.")
    if model_info(operation.resource.model).history:
        describe_version(operation)


def describe_version(operation: ApiOperation) -> None:
    """Describe `version` and `at`, which exclude each other, and the header fields that the answer then has."""
    version = {"type": "string", "pattern": "^[1-9][0-9]{0,9}(~[0-9a-f]+)?$", "examples": ["1"]}
    operation.query("version", version, "Return the version with this number.")
    operation.query("at", _TIME, "Return the version that was the latest at this time; write a plus sign as `%2B`.")
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
        "description": "A version that marks the deletion of the document.",
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
