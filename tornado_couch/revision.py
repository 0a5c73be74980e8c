"""CouchDB's revisions: a generation, a hyphen and a digest (CouchDB documentation, "Document Revisions"); pure."""

from __future__ import annotations

__all__ = ["digest", "generation", "is_revision", "rank"]

_MOST_DIGITS = 18  # more would be no generation that a document can reach, and slow to read


def is_revision(text: str) -> bool:
    """Whether a text has the form of a revision, such as "3-917fa2381192822767f010b95b45325b"."""
    return generation(text) >= 0 and digest(text) != ""


def generation(revision: str) -> int:
    """The number that a revision begins with; -1 for a text that does not begin with a number."""
    digits = revision.partition("-")[0]
    return int(digits) if digits.isdecimal() and digits.isascii() and len(digits) <= _MOST_DIGITS else -1


def digest(revision: str) -> str:
    """The part of a revision after its generation; empty if it has no such part."""
    return revision.partition("-")[2]


def rank(revision: str) -> tuple[int, str]:
    """The key by which leaves are ordered: the greatest one wins.

    See "Replication and conflict model" in CouchDB's documentation.
    """
    return generation(revision), digest(revision)
