"""Finds out from a document's leaves whether a write was carried out whose answer was lost or was a refusal.

A write follows the revision that it names, its *base*, and CouchDB lets one revision follow a leaf. So once another
revision follows the base, a copy of the write that is still under way can only be refused; and while the base is a
leaf, the same document can be sent again: at most one of the two copies is stored.

A token tells whether a revision is *this* write: each write puts a random text into the document, under
`WRITE_PROPERTY`. Without tokens (the documents of tor-async-couchdb have none) the bodies are compared, and two
clients that write the same body over the same base cannot be told apart. Neither can CouchDB do that: it gives both
the same revision.

The token of the creation stays in front of that of the latest write (`created.latest`). It distinguishes the document
that was just created from an older one with the same id, however long its history is and however little of it can be
read. This module does no I/O.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Any, NamedTuple

from ...couch import Leaf
from ...models import WRITE_PROPERTY
from ...revision import generation

__all__ = ["Evidence", "Standing", "Verdict", "created_mark", "history", "marked", "unmarked"]

Document = dict[str, Any]

_TOKEN_BYTES = 9  # random; 12 characters of base64
_TOKEN_LENGTH = 12
_RECENT = 20  # how many revisions of a document to search for the one that created it

# The members that CouchDB adds to a document that is read, or changes in it.
_NOT_WRITTEN = {"_rev", "_revisions", "_revs_info", "_conflicts", "_deleted_conflicts", "_local_seq", "_attachments"}


def marked(document: Mapping[str, Any], *, new: bool = False) -> Document:
    """A copy of the document with the token of a new write.

    Args:
        document: the document to write; it may still contain the token of a document that it replaces or copies.
        new: whether the document is being created.
    """
    token = secrets.token_urlsafe(_TOKEN_BYTES)
    created = "" if new else _created(document)
    return {**document, WRITE_PROPERTY: f"{created}.{token}" if created else token}


def unmarked(document: Mapping[str, Any]) -> Document:
    """A copy of the document without a token."""
    return {name: value for name, value in document.items() if name != WRITE_PROPERTY}


def created_mark(document: Mapping[str, Any]) -> str:
    """The part of a document's token that a document merged from it keeps: that of the creation."""
    created = _created(document)
    return f"{created}." if created else ""


class Standing(Enum):
    """What is known about a write."""

    LANDED = "landed"
    PENDING = "pending"  # not stored, or not yet: the revision that it follows is still a leaf
    BEATEN = "beaten"  # not stored, and it never will be: another write came first
    UNKNOWN = "unknown"  # CouchDB has forgotten the revisions that would show it


class Verdict(NamedTuple):
    """What is known about a write, and the revision that it created if it landed."""

    standing: Standing
    revision: str | None = None


class Evidence:
    """What the leaves of a document show about a write.

    Args:
        document: the document that was written.
        leaves: all leaves of that document as they are now, with `_revisions`.
    """

    def __init__(self, document: Mapping[str, Any], leaves: Sequence[Leaf]) -> None:
        self._document = document
        self._base: str | None = document.get("_rev")
        self._leaves = [each.document for each in leaves if each.document is not None]
        self._paths = [history(each) for each in self._leaves]
        self._bodies: dict[str, Document] = {each["_rev"]: each for each in self._leaves}

    @property
    def unread(self) -> list[str]:
        """The revisions that may be the write and whose bodies have not been read."""
        suspects = self._suspects()
        if self._found(suspects) or self._made_by_others():
            return []
        return [each for each in suspects if each not in self._bodies]

    def learn(self, revisions: Sequence[Leaf]) -> None:
        """Add the bodies of older revisions, as far as CouchDB still has them."""
        self._bodies.update({each.document["_rev"]: each.document for each in revisions if each.document is not None})

    def verdict(self) -> Verdict:
        """Decide whether the write was carried out."""
        landed = self._found(self._suspects())
        if landed is not None:
            return Verdict(Standing.LANDED, landed)
        if self._base is None:
            own = self._creation()
            return Verdict(Standing.LANDED, own) if own else Verdict(self._standing_of_creation())
        if any(path[0] == self._base for path in self._paths):
            return Verdict(Standing.PENDING)
        return Verdict(Standing.UNKNOWN if self._hidden() else Standing.BEATEN)

    def _creation(self) -> str | None:
        """The first revision of a document that bears this creation's token, however often it changed since.

        Where it was created over tombstones that cannot be read any more, that is a revision before the creation: as
        an entity tag it matches nothing, while a later one could hide somebody else's change.
        """
        own = _latest(self._document)
        pairs = zip(self._leaves, self._paths, strict=True)
        firsts = [path[-1] for leaf, path in pairs if own and _created(leaf) == own]
        return next((each for each in firsts if generation(each) == 1), None)

    def _standing_of_creation(self) -> Standing:
        alive = any(not each.get("_deleted") for each in self._leaves)
        if self._hidden() and not self._made_by_others():
            return Standing.UNKNOWN
        return Standing.BEATEN if alive else Standing.PENDING  # CouchDB creates a document again over tombstones

    def _made_by_others(self) -> bool:
        """Whether the document that is there was created by another write than this one."""
        own = _latest(self._document)
        return self._base is None and bool(own) and all(_created(each) not in ("", own) for each in self._leaves)

    def _suspects(self) -> list[str]:
        """The revisions that may be the write, judged by their place in the history."""
        if self._base is None:
            return [each for path in self._paths for each in path[:_RECENT]]
        found = [_successor(path, self._base) for path in self._paths]
        return list(dict.fromkeys(each for each in found if each))

    def _hidden(self) -> bool:
        """Whether the write may be in a part of the history that can no longer be read."""
        if any(each not in self._bodies for each in self._suspects()):
            return True
        if self._base is None:
            return any(len(path) > _RECENT or generation(path[-1]) > 1 for path in self._paths)
        # CouchDB forgets old revisions of a path from its end (`_revs_limit`).
        return any(generation(path[-1]) > generation(self._base) + 1 for path in self._paths)

    def _found(self, revisions: Sequence[str]) -> str | None:
        return next((each for each in revisions if each in self._bodies and self._is_ours(each)), None)

    def _is_ours(self, revision: str) -> bool:
        token = _latest(self._document)
        if token:
            return _latest(self._bodies[revision]) == token
        return _written(self._bodies[revision]) == _written(self._document)


def history(document: Mapping[str, Any]) -> list[str]:
    """A document's revision and the ones before it, the latest first, as far as `_revisions` lists them."""
    known = document.get("_revisions")
    if known is None:
        return [document["_rev"]]
    return [f"{known['start'] - age}-{each}" for age, each in enumerate(known["ids"])]


def _successor(path: Sequence[str], base: str) -> str | None:
    """The revision of a path that follows the base; if the path was cut off there, the one that may follow it."""
    if base in path:
        place = path.index(base)
        return path[place - 1] if place else None
    return path[-1] if generation(path[-1]) == generation(base) + 1 else None


def _token(document: Mapping[str, Any]) -> str:
    held = document.get(WRITE_PROPERTY)
    return held if isinstance(held, str) else ""


def _created(document: Mapping[str, Any]) -> str:
    return _token(document).partition(".")[0][:_TOKEN_LENGTH]


def _latest(document: Mapping[str, Any]) -> str:
    return _token(document).rpartition(".")[2]


def _written(document: Mapping[str, Any]) -> str:
    """The document's contents as a text that does not change when CouchDB stores it."""
    body = {name: value for name, value in document.items() if name not in _NOT_WRITTEN}
    stored = {name: entry.get("digest") for name, entry in document.get("_attachments", {}).items()}
    return json.dumps([body, stored], sort_keys=True)
