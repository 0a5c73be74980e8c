"""Describes the files of documents in an API document; pure."""

from __future__ import annotations

from typing import Any

from ...models import AttachmentProperty
from ..http.multipart import FORM_DATA, RELATED
from ..openapi.components import Schema
from ..openapi.descriptions import answer_minimal, describe_reading, describe_stored, describe_writing, prefer_document
from ..openapi.operation import ApiOperation

__all__ = ["describe_creation", "describe_files"]

_TEXT: Schema = {"type": "string"}
_BYTES: Schema = {"description": "The bytes of the file."}  # OpenAPI 3.1 §4.8.14.4: no schema for what is no JSON
_FORM: Schema = {"type": "object", "additionalProperties": False}
_FIELDS = ("ETag", "Accept-Ranges", "Content-Disposition", "Content-Security-Policy", "Cache-Control", "Vary")
_MOST = "It has at most {} bytes."


def describe_files(operation: ApiOperation) -> None:
    """Describe an operation on files, as its action has it."""
    declared: AttachmentProperty = operation.target["declared"]
    if ("path", "name") in operation.parameters:
        schema = {"type": "string", "minLength": 1, "maxLength": 200, "pattern": r"^[A-Za-z0-9][A-Za-z0-9_-]*$"}
        operation.parameter("path", "name", schema, "The name of the file.")
    _DESCRIBED[operation.action](operation, declared)


def _what(declared: AttachmentProperty) -> str:
    return f"a file of `{declared.name}`" if declared.many else f"the file `{declared.name}`"


def _retrieve(operation: ApiOperation, declared: AttachmentProperty) -> None:
    operation.says(
        f"Get {_what(declared)}",
        "Its entity tag is that of the file, not of the document. A file is shown in the window of a browser only if"
        " it is a picture, audio, video or PDF.",
    )
    operation.takes("Range", "If-Range", "If-None-Match", "If-Match")
    for media_type in _types(declared):
        whole = operation.answers_with(200, "The file.", dict(_BYTES), *_FIELDS, media_type=media_type)
        part = operation.answers_with(206, "Ranges of the file.", dict(_BYTES), *_FIELDS, media_type=media_type)
    operation.answers_with(206, "", {"description": "Several ranges."}, media_type="multipart/byteranges")
    for each in (whole, part):
        each.fields["Repr-Digest"] = False
    part.fields["Content-Range"] = False
    words = "Not modified: `If-None-Match` names the current entity tag."
    operation.answers_with(304, words, None, "ETag", "Cache-Control", "Vary")
    operation.problem("malformed-entity-tag", "file-mismatch", "bad-parameter", "contended", "range-not-satisfiable")
    operation.answers[412].fields["ETag"] = None
    operation.answers[416].fields["Content-Range"] = True
    _states(operation)
    operation.fails(404)
    describe_stored(operation)


def _list(operation: ApiOperation, declared: AttachmentProperty) -> None:
    operation.says(f"List the files of `{declared.name}`")
    item = {"type": "object", "allOf": [_file(operation)], "required": ["name"], "properties": {"name": _TEXT}}
    page = {"type": "object", "required": ["items"], "properties": {"items": {"type": "array", "items": item}}}
    describe_reading(operation, "The files, by their names.", page)
    _states(operation)
    operation.fails(404)
    describe_stored(operation)


def _states(operation: ApiOperation) -> None:
    if operation.resource.info.history:
        operation.query("version", {"type": "string", "pattern": "^[1-9][0-9]{0,9}$"}, "The file of this version.")
        operation.query("at", {**_TEXT, "format": "date-time"}, "The file of the version that was the latest then.")
    if operation.resource.info.restorable:
        operation.query("deleted", {"type": "boolean", "default": False}, "The file of a deleted document.")


def _replace(operation: ApiOperation, declared: AttachmentProperty) -> None:
    words = "A new one, or another one in its place. "
    operation.says(f"Store {_what(declared)}", words + _MOST.format(declared.max_bytes))
    operation.takes("Repr-Digest")
    _take(operation, declared)
    operation.answers_with(200, "Replaced.", _file(operation), "ETag", "Cache-Control", "Vary")
    answer_minimal(operation)
    created = operation.answers_with(201, "Stored.", _file(operation), "Location", "ETag", "Cache-Control", "Vary")
    created.fields["Preference-Applied"] = False
    prefer_document(operation)
    _change(operation, declared)


def _add(operation: ApiOperation, declared: AttachmentProperty) -> None:
    operation.says(
        f"Store another file of `{declared.name}`",
        "Its name is that of Content-Disposition; without one, it gets one. A form has files in fields that are called"
        f" `{declared.name}`. There are at most {declared.max_items}. " + _MOST.format(declared.max_bytes),
    )
    operation.takes("Repr-Digest", "Content-Disposition", "Idempotency-Key")
    _take(operation, declared)
    files = {"type": "array", "items": dict(_BYTES), "maxItems": declared.max_items}
    form = {**_FORM, "properties": {declared.name: files}, "required": [declared.name]}
    operation.takes_body(form, FORM_DATA)
    operation.encodings[FORM_DATA] = {declared.name: {"contentType": ", ".join(_types(declared))}}
    created = operation.answers_with(201, "Stored.", _file(operation), "Location", "ETag", "Cache-Control", "Vary")
    created.fields |= {"Preference-Applied": False, "Idempotent-Replayed": False}
    status = {"status": {"type": "integer"}, "name": _TEXT}
    result = {"type": "object", "description": "The file, or a problem.", "required": ["status"], "properties": status}
    results = {"type": "object", "required": ["items"], "properties": {"items": {"type": "array", "items": result}}}
    many = operation.answers_with(200, "A result for each file of a form, in order.", results)
    many.fields["Preference-Applied"] = False
    prefer_document(operation)
    operation.problem("malformed-body", "exists", "validation", "malformed-idempotency-key", "idempotency-key-reused")
    operation.problem("idempotent-result-gone", "idempotency-key-for-many")
    _change(operation, declared)


def _destroy(operation: ApiOperation, declared: AttachmentProperty) -> None:
    operation.says(f"Delete {_what(declared)}")
    operation.answers_with(204, "Deleted.")
    _conditions(operation)


def _take(operation: ApiOperation, declared: AttachmentProperty) -> None:
    for media_type in _types(declared):
        operation.takes_body(dict(_BYTES), media_type)


def _types(declared: AttachmentProperty) -> tuple[str, ...]:
    return declared.media_types or ("*/*",)  # a range of media types (OpenAPI 3.1 §4.8.14.2)


def _change(operation: ApiOperation, declared: AttachmentProperty) -> None:
    if declared.many:
        operation.problem("too-many-files")
    operation.fails(413)
    operation.problem("file-too-large", "file-type", "file-content")
    operation.fails(415, fields=["Accept-Encoding"])
    _conditions(operation)


def _conditions(operation: ApiOperation) -> None:
    operation.takes("If-Match", "If-None-Match")
    operation.problem("malformed-entity-tag", "file-mismatch")
    operation.answers[412].fields["ETag"] = False
    operation.fails(404)
    if operation.resource.require_if_match:
        operation.problem("if-match-required")
    describe_stored(operation)
    describe_writing(operation)


def _file(operation: ApiOperation) -> dict[str, Any]:
    return dict(operation.of_model().file())


_DESCRIBED = {
    "retrieve_file": _retrieve,
    "list_files": _list,
    "replace_file": _replace,
    "add_file": _add,
    "destroy_file": _destroy,
}


def describe_creation(operation: ApiOperation) -> None:
    """Describe the POST of a collection that takes a document with its files."""
    if operation.action != "create":
        return
    schemas = operation.of_model()
    files: dict[str, Schema] = {}
    for name, each in operation.resource.info.attachments.items():
        if not each.read_only:
            one = {**_BYTES, "description": " ".join([*each.media_types, _MOST.format(each.max_bytes)])}
            files[name] = {"type": "array", "items": one, "maxItems": each.max_items} if each.many else one
    required = [name for name, each in operation.resource.info.attachments.items() if each.required]
    properties = {"document": schemas.create(), **files}
    form = {**_FORM, "properties": properties, "required": ["document", *required]}
    parts = {name: {"contentType": ", ".join(_types(operation.resource.info.attachments[name]))} for name in files}
    for media_type in (FORM_DATA, RELATED):
        operation.takes_body(form, media_type)
        operation.encodings[media_type] = {"document": {"contentType": "application/json"}, **parts}
    operation.problem("too-many-files", "file-too-large", "file-type", "file-content")
