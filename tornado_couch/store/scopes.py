"""What a document keeps of the scopes that it has left, so that those who could see it learn that they no longer can.

A *scope* is a value of a property that policies limit lists by, such as the owner of a document. CouchDB's changes feed
tells what a document is, and not what it was. So a write that takes a document out of a scope notes that scope in it;
the note is signed as the rest of the document is, and a tombstone keeps it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from ..models import LEFT_PROPERTY, ModelInfo, format_timestamp, is_timestamp

__all__ = [
    "has_left",
    "is_scope",
    "kept_of_deleted",
    "merged_scopes",
    "scopes_in",
    "with_scopes_cut",
    "with_scopes_left",
]

Document = Mapping[str, Any]
Scope = tuple[str, str | int]

_MOST = 16  # scopes that a document keeps
_LONGEST = 256  # characters of a value; longer ones are kept as cut off


def with_scopes_left(info: ModelInfo, document: dict[str, Any], before: Document, moment: datetime) -> dict[str, Any]:
    """Return a document with a note of the scopes that it leaves with this write.

    Args:
        info: the model's.
        document: what is to be written.
        before: what it replaces: a revision of the same document, or its tombstone; empty if there was none.
        moment: when it is written.
    """
    if not info.scopes:
        return document
    left = [
        (name, before[name])
        for name in sorted(info.scopes)
        if is_scope(before.get(name)) and before[name] != document.get(name)
    ]
    noted = before.get(LEFT_PROPERTY) if LEFT_PROPERTY not in document else document[LEFT_PROPERTY]
    if not left and noted is None:
        return document
    entries, cut = _read(noted)
    when = format_timestamp(moment)
    return _noted(info, document, {**entries, **dict.fromkeys(left, when)}, cut)


def with_scopes_cut(info: ModelInfo, document: dict[str, Any], moment: datetime) -> dict[str, Any]:
    """Return a document with a note that nobody knows any more which scopes it has left up to a moment."""
    return _noted(info, document, _read(document.get(LEFT_PROPERTY))[0], format_timestamp(moment))


def merged_scopes(info: ModelInfo, merged: dict[str, Any], heads: Sequence[Document]) -> dict[str, Any]:
    """Return a document that is merged of leaves with what these have left, which follows from the leaves alone."""
    if not info.scopes:
        return merged
    entries: dict[Scope, str] = {}
    cut = ""
    for head in heads:
        noted, earlier = _read(head.get(LEFT_PROPERTY))
        cut = max(cut, earlier)
        for scope, when in noted.items():
            entries[scope] = max(when, entries.get(scope, ""))
    latest = max([cut, *entries.values()])
    for head in heads:
        for name in sorted(info.scopes):
            if is_scope(head.get(name)):
                entries.setdefault((name, head[name]), latest)
    return _noted(info, merged, entries, cut)


def kept_of_deleted(info: ModelInfo, document: Document) -> dict[str, Any]:
    """Return what a tombstone keeps of a document, so that its deletion can be told to those who could see it."""
    names = ["type", *([info.key.name] if info.key else []), *sorted(info.scopes), LEFT_PROPERTY]
    return {name: document[name] for name in names if name in document}


def scopes_in(info: ModelInfo, document: Document) -> dict[str, Any]:
    """Return what a new document needs of the deleted one whose place it takes: its scopes, and those that it left."""
    return {name: document[name] for name in [*sorted(info.scopes), LEFT_PROPERTY] if info.scopes and name in document}


def has_left(document: Document, scopes: Iterable[Scope], since: str) -> bool | None:
    """Whether a document was in one of some scopes, in none of which it is now.

    Args:
        document: the document, or its tombstone.
        scopes: for each, a property's name and its value.
        since: what is asked for: the time from which on it may have left, as time stamps are stored.

    Returns:
        None if it may have left one of them after that time, but keeps no note of it any more.
    """
    entries, cut = _read(document.get(LEFT_PROPERTY))
    if any(each in entries for each in scopes):
        return True
    return None if cut >= since and cut else False


def is_scope(value: object) -> bool:
    """Whether a property's value can be a scope, of which a document notes that it has left it."""
    return isinstance(value, str | int) and not isinstance(value, bool)


def _noted(
    info: ModelInfo, document: dict[str, Any], entries: Mapping[Scope, str], cut: str
) -> dict[str, Any]:
    """Return a document with these notes, without those of scopes that it is in, and of no more than so many."""
    kept: list[tuple[str, str | int, str]] = []
    for when, name, value in sorted(((when, *scope) for scope, when in entries.items()), key=repr):
        if name in info.scopes and document.get(name) != value:
            if isinstance(value, str) and len(value) > _LONGEST:
                cut = max(cut, when)
            else:
                kept.append((name, value, when))
    cut = max([cut, *(when for _, _, when in kept[:-_MOST])])
    found = {name: value for name, value in document.items() if name != LEFT_PROPERTY}
    if kept or cut:
        found[LEFT_PROPERTY] = {"scopes": [list(each) for each in kept[-_MOST:]], **({"cut": cut} if cut else {})}
    return found


def _read(noted: object) -> tuple[dict[Scope, str], str]:
    """Return the scopes with the times when they were left, and the time before which notes were dropped.

    Another program may have written anything there; what cannot be read counts as nothing.
    """
    if not isinstance(noted, Mapping):
        return {}, ""
    entries = {}
    scopes = noted.get("scopes")
    for each in scopes[: 2 * _MOST] if isinstance(scopes, list) else ():
        if isinstance(each, list) and len(each) == 3 and isinstance(each[0], str) and is_scope(each[1]):
            entries[each[0], each[1]] = _time(each[2])
    return entries, _time(noted.get("cut"))


def _time(text: object) -> str:
    return text if isinstance(text, str) and is_timestamp(text) else ""
