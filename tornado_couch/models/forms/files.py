"""The files of a document: what a model has of them, what clients see, and which of them a write keeps; pure."""

from __future__ import annotations

import base64
from collections.abc import Collection, Mapping
from typing import Any

from ...errors import ValidationFailed
from ..pointers import json_pointer
from .attachments import (
    ATTACHMENTS_PROPERTY,
    FILES_PROPERTY,
    Attachment,
    AttachmentProperty,
    Attachments,
)

__all__ = [
    "attachments_of",
    "beside_file",
    "entries_of",
    "files_kept",
    "files_shown",
    "missing_file",
    "record_of",
    "with_files_dropped",
]

Document = dict[str, Any]
Declared = Mapping[str, AttachmentProperty]  # by the name in JSON
Held = Mapping[str, Any]  # a model's values, by attribute


def entries_of(document: Mapping[str, Any]) -> Document:
    """What CouchDB, or the version of a history, says of each file of a document, by the name."""
    return {**_object(document, FILES_PROPERTY), **_object(document, "_attachments")}


def record_of(document: Mapping[str, Any], name: str) -> Document:
    """What a document says of one of its files besides; empty where another program has put another file there."""
    record, entry = _object(document, ATTACHMENTS_PROPERTY).get(name), entries_of(document).get(name, {})
    fits = isinstance(record, dict) and record.get("digest") == entry.get("digest")
    return record if isinstance(record, dict) and fits else {}


def attachments_of(document: Mapping[str, Any], plain: Mapping[str, Document] | None = None) -> dict[str, Attachment]:
    """The files of a document, by the names that CouchDB has for them.

    Args:
        document: the document.
        plain: what encrypted files are once they are decrypted, by their names.
    """
    found = {}
    for name, entry in entries_of(document).items():
        if not isinstance(entry, dict):
            continue
        known = {**entry, **record_of(document, name), **(plain or {}).get(name, {})}
        digest = f"sha256-{known['sha256']}" if "sha256" in known else str(known.get("digest"))
        found[name] = Attachment(str(known.get("content_type")), int(known.get("length", 0)), digest)
    return found


def _object(document: Mapping[str, Any], member: str) -> Document:
    found = document.get(member)
    return found if isinstance(found, dict) else {}


def with_files_dropped(stored: Document, declared: Declared, held: Held, added: Collection[str] = ()) -> Document:
    """A stored document without the files that its model does not have any more.

    Args:
        stored: the document.
        declared: the properties of files.
        held: the model's values.
        added: the names of the files that are about to be stored with it.

    Raises:
        ValidationFailed: the model has a file that is not stored.
    """
    found = entries_of(stored)
    gone: set[str] = set()
    for each in declared.values():
        value = held.get(each.attribute)
        names = {f"{each.name}/{item}" for item in value or ()} if each.many else {each.name} if value else set()
        if names - found.keys() - set(added):
            raise _refusal(each.name, "attachment", "The document has no such file; attach it first.")
        gone |= {name for name in found if each.holds(name)} - names
    if not gone:
        return stored
    kept = dict(stored)
    for member in ("_attachments", FILES_PROPERTY, ATTACHMENTS_PROPERTY):
        if left := {name: entry for name, entry in _object(stored, member).items() if name not in gone}:
            kept[member] = left
        else:
            kept.pop(member, None)
    return kept


def files_shown(declared: Declared, held: Held) -> Document:
    """What clients see of a model's files, by the property's name in JSON; their addresses are still missing."""
    found: Document = {}
    for name, each in declared.items():
        value = held.get(each.attribute)
        if value is not None and not each.write_only:
            found[name] = {item: file.shown() for item, file in value.items()} if each.many else value.shown()
    return found


def files_kept(declared: Declared, held: Held, body: Mapping[str, Any]) -> dict[str, Any]:
    """The files that stay when a body replaces a model, by attribute.

    Those stay that the body leaves out, or shows as they are. It drops one by null, and of many those that it does not
    show where it shows others.

    Raises:
        ValidationFailed: the body has another file than there is, or drops one that must stay.
    """
    return {
        each.attribute: _kept(each, held.get(each.attribute), body[name]) if name in body else held.get(each.attribute)
        for name, each in declared.items()
    }


def _kept(declared: AttachmentProperty, held: Any, sent: Any) -> Any:
    kept: Any
    if not declared.many:
        kept = None if sent is None else held
        if not _is_shown(sent, held):
            raise _refusal(declared.name, "attachment", _NOT_IN_JSON)
    else:
        known, shown = held or {}, {} if sent is None else sent
        if not isinstance(shown, dict) or not all(_is_shown(each, known.get(name)) for name, each in shown.items()):
            raise _refusal(declared.name, "attachment", _NOT_IN_JSON)
        kept = Attachments({name: file for name, file in known.items() if shown.get(name) is not None})
    if kept == held or (not kept and not held):
        return held
    if declared.read_only:
        raise _refusal(declared.name, "readOnly", "This property is read-only and has another value.")
    if declared.required:
        raise ValidationFailed([missing_file(declared)])
    return kept


_NOT_IN_JSON = "Files are not sent in JSON, except to keep or drop what is there; send each to an address of its own."


def _is_shown(sent: Any, held: Attachment | None) -> bool:
    """Whether a body drops a file, or has it as it is shown; what a representation adds to it does not count."""
    if sent is None:
        return True
    shown = {} if held is None else held.shown()
    return bool(shown) and isinstance(sent, dict) and all(sent[name] == shown[name] for name in shown.keys() & sent)


def beside_file(name: str, digest: str) -> str:
    """Another name for a file that a merge keeps beside one of the same name; the same wherever it is made."""
    try:
        short = base64.b64decode(digest.partition("-")[2])[:4].hex()
    except ValueError:
        short = "0"
    stem, dot, extension = name.rpartition(".")
    return f"{stem}~{short}.{extension}" if dot else f"{name}~{short}"


def missing_file(declared: AttachmentProperty) -> dict[str, str]:
    """The problem of a document without a file that it has to have."""
    detail = "The document cannot be without this file."
    return {"pointer": json_pointer([declared.name]), "keyword": "required", "detail": detail}


def _refusal(name: str, keyword: str, detail: str) -> ValidationFailed:
    return ValidationFailed([{"pointer": json_pointer([name]), "keyword": keyword, "detail": detail}])
