"""The tokens that writes leave in documents: which write is it, which change was meant, and what came before it; pure.

Each write puts a random text into the document, under `WRITE_PROPERTY`. What a document keeps is
`creation.operations.latest`. The token of the creation distinguishes the document that was just created from an older
one with the same id, however long its history is and however little of it can be read. The first half of a token names
the *operation*, the change that is meant: when it is tried again, over another revision, it has the same first half. A
document keeps the operations of its last writes, so that

- it shows whether a write is among them also where CouchDB has forgotten the revision itself, and
- a copy of another attempt that appears later, in a leaf of its own, is known for what it is, and never merged.
"""

from __future__ import annotations

import hashlib
import secrets
from base64 import urlsafe_b64encode
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar, Token
from typing import Any

from ...models import WRITE_PROPERTY
from ...revision import generation

__all__ = [
    "ELSEWHERE",
    "Attempts",
    "creation",
    "handed_on",
    "history",
    "latest",
    "marked",
    "merged_mark",
    "operation",
    "operations",
    "redone",
    "since_creation",
    "unmarked",
]

Document = dict[str, Any]

_TOKEN_BYTES = 9  # random; 12 characters of base64
_TOKEN_LENGTH = 12
_OPERATION_LENGTH = 6  # characters of a token that name the operation
ELSEWHERE = "~" * _OPERATION_LENGTH
"""Stands among the operations of a document after those that were merged in, from another branch of the history."""
_OPERATIONS = 16  # that a document keeps, besides those of the creation and of the latest write
_OPERATIONS_AT_MOST = 48  # that it keeps where writers of a cluster met; each takes six bytes


def marked(document: Mapping[str, Any], *, new: bool = False, contended: bool = False) -> Document:
    """A copy of the document with the token of a new write.

    Args:
        document: the document to write; it may still contain the token of a document that it replaces or copies.
        new: whether the document is being created.
        contended: whether others may write to it at once, so that more operations have to be kept.
    """
    token, attempt = secrets.token_urlsafe(_TOKEN_BYTES), _attempt.get()
    if attempt is not None:
        token = attempt + token[_OPERATION_LENGTH:]
    created, _, rest = ("", "", "") if new else _token(document).partition(".")
    if not created:
        return {**document, WRITE_PROPERTY: token}
    before, _, last = rest.rpartition(".")
    kept = _shortened(before + last[:_OPERATION_LENGTH], _OPERATIONS_AT_MOST if contended else _OPERATIONS)
    return {**document, WRITE_PROPERTY: f"{created[:_TOKEN_LENGTH]}.{kept}{'.' if kept else ''}{token}"}


def _shortened(kept: str, most: int) -> str:
    """Leave out the oldest operations, so that no more than so many are left.

    What was merged in stands at the front, but it came in no earlier than what was written just before. So what was
    written goes first, as long as more than half of all is of that kind.
    """
    size = _OPERATION_LENGTH
    over = len(kept) // size - most
    if over <= 0 or ELSEWHERE not in kept:
        return kept[max(over, 0) * size :]
    own = kept.rfind(ELSEWHERE) + size
    spare = max(0, min(over, (len(kept) - own) // size - most // 2))
    return kept[(over - spare) * size : own] + kept[own + spare * size :]


def unmarked(document: Mapping[str, Any]) -> Document:
    """A copy of the document without a token."""
    return {name: value for name, value in document.items() if name != WRITE_PROPERTY}


def merged_mark(leaves: Sequence[Mapping[str, Any]]) -> str:
    """What a document that is merged of some leaves, the winning one first, keeps of their tokens.

    Like any other write it adds an operation, which follows from the leaves.
    """
    created = creation(leaves[0])
    if not created:
        return ""
    own = since_creation(leaves[0])
    known = {creation(leaves[0])[:_OPERATION_LENGTH], *own, ELSEWHERE}
    new = dict.fromkeys(each for leaf in leaves[1:] for each in operations(leaf) if each not in known)
    others = list(new)[-_OPERATIONS_AT_MOST // 2 :]
    parents = " ".join(each["_rev"] for each in leaves)
    made = urlsafe_b64encode(hashlib.sha256(parents.encode()).digest()).decode()[:_OPERATION_LENGTH]
    kept = [*others, ELSEWHERE, *own[len(others) + 2 - _OPERATIONS_AT_MOST :], made]
    return f"{created}.{''.join(kept)}."


def operation(document: Mapping[str, Any]) -> str:
    """The operation of the write that a document comes from; empty where it has none."""
    return latest(document)[:_OPERATION_LENGTH]


def operations(document: Mapping[str, Any]) -> list[str]:
    """The operations that a document says it contains, the latest one last."""
    created = creation(document)
    return [created[:_OPERATION_LENGTH], *since_creation(document)] if created else []


def redone(leaf: Mapping[str, Any], other: Mapping[str, Any], settled: Collection[str] = ()) -> list[str]:
    """The revisions of a leaf that are earlier or later attempts at what another leaf contains, the oldest one first.

    They are those that follow the last revision which both leaves have, as far as each of them is such an attempt.
    What follows the last of them is the leaf's own.

    Args:
        leaf: a leaf, with `_revisions`.
        other: another leaf of the same document, with `_revisions`.
        settled: operations that are not to be compared, since it is known of another attempt that both contain it.
    """
    path, others = history(leaf), history(other)
    fork = next((place for place, each in enumerate(path) if each in others), None)
    if not fork:
        return []
    own, theirs = operations(leaf)[::-1], operations(other)[::-1]
    there = others.index(path[fork])
    # Programs that keep the token of the document which they write over must not be taken for its writer.
    if len(own) != generation(path[0]) or ELSEWHERE in own:  # otherwise each revision's is there
        common = _at(own, fork, path)
        if common is None or common != _at(theirs, there, others):
            return []
    found = []
    for place in range(fork - 1, -1, -1):
        done = _at(own, place, path)
        if done not in theirs or done in settled:
            break
        found.append(path[place])
    return found


def _at(kept: Sequence[str], place: int, path: Sequence[str]) -> str | None:
    """The operation of a revision of a path, of which the leaf keeps some, the latest one first."""
    if ELSEWHERE in kept:
        kept = kept[: kept.index(ELSEWHERE)]
    elif len(kept) != generation(path[0]):
        kept = kept[:-1]  # the one of the creation, of which it is not known how far back it is
    return kept[place] if place < len(kept) else None


_attempt: ContextVar[str | None] = ContextVar("tornado_couch_operation", default=None)
_handed: ContextVar[str | None] = ContextVar("tornado_couch_handed_on", default=None)


class Attempts:
    """The attempts at one change; what is marked while this is entered belongs to it.

    Args:
        document: one that was marked for an attempt; by default the change is a new one.

    Attributes:
        operation: what their tokens have in common.
    """

    def __init__(self, document: Mapping[str, Any] | None = None) -> None:
        begun = operation(document or {}) or _handed.get()
        self.operation = begun or secrets.token_urlsafe(_TOKEN_BYTES)[:_OPERATION_LENGTH]
        _handed.set(None)  # it is for these alone, not for changes that are made on the way
        self._resets: list[Token[str | None]] = []

    def __enter__(self) -> None:
        self._resets.append(_attempt.set(self.operation))

    def __exit__(self, *_: object) -> None:
        _attempt.reset(self._resets.pop())

    def contained(self, document: Mapping[str, Any]) -> bool:
        """Whether a document contains one of them."""
        return self.operation in operations(document)


@contextmanager
def handed_on(document: Mapping[str, Any]) -> Iterator[None]:
    """Let the `Attempts` that are made inside go on with the change that a document was to be written for."""
    reset = _handed.set(operation(document) or None)
    try:
        yield
    finally:
        _handed.reset(reset)


def history(document: Mapping[str, Any]) -> list[str]:
    """A document's revision and the ones before it, the latest first, as far as `_revisions` lists them."""
    known = document.get("_revisions")
    if known is None:
        return [document["_rev"]]
    return [f"{known['start'] - age}-{each}" for age, each in enumerate(known["ids"])]


def _token(document: Mapping[str, Any]) -> str:
    held = document.get(WRITE_PROPERTY)
    return held if isinstance(held, str) else ""


def creation(document: Mapping[str, Any]) -> str:
    """The token of the write that created a document; empty where it has none."""
    return _token(document).partition(".")[0][:_TOKEN_LENGTH]


def latest(document: Mapping[str, Any]) -> str:
    """The token of the write that a document comes from; empty where it has none, as that of a merge."""
    return _token(document).rpartition(".")[2]


def since_creation(document: Mapping[str, Any]) -> list[str]:
    """The operations that a document keeps besides that of its creation, the latest one last."""
    _, dot, rest = _token(document).partition(".")
    before, _, last = rest.rpartition(".")
    size = _OPERATION_LENGTH
    found = [before[place : place + size] for place in range(0, min(len(before), size * _OPERATIONS_AT_MOST), size)]
    return [*found, last[:size]] if dot and last else found
