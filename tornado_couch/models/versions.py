"""Models that keep their deleted documents (`soft_delete=True`) or every version (`history=True`); pure.

    "_id": "fruit:apple:0000000003",
    "tornado_couch_version": {"written_on": "2026-…", "follows": "1-917f…"}

The id is made of the key and the version's number, so that of two writers of one version CouchDB refuses the
second. It is ASCII and the key is quoted in it as in a URL, so that ids sort by key and number, and CouchDB's
collation takes no two of them for equal. A version that says that the document is deleted has `"deleted": true`.

Where two clusters wrote the same version, replication brings both, as a conflict of that one document. A reconciler
moves the one that lost beside the other, with its revision's digest in the id: `fruit:apple:0000000003~917f…`. It is
the same document there but for its signature: what is encrypted in it stays bound to the id that it was written under.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from .. import revision
from ..errors import InvalidDocument
from .timestamps import format_timestamp

if TYPE_CHECKING:
    from .model import ModelInfo

__all__ = [
    "DELETED_PROPERTY",
    "LAST_NUMBER",
    "VERSION_PROPERTY",
    "Version",
    "beside",
    "bound_id",
    "deleted_on",
    "is_deleted",
    "version_id",
    "version_of",
    "version_prefix",
]

VERSION_PROPERTY = "tornado_couch_version"
"""The member of a version's document that says which place it has in the history."""

LAST_NUMBER = 9_999_999_999

_ID = re.compile(r"(?P<prefix>.+):(?P<number>[0-9]{10})(?:~(?P<branch>[0-9a-f]+))?", re.DOTALL)


@dataclass(frozen=True)
class Version:
    """The place of one version in the history of a document.

    Attributes:
        prefix: the id of the document without number: the same for all its versions.
        number: from 1 on, without a gap.
        written_on: when, as time stamps are stored; later than the version before.
        follows: the revision of the version before; None for the first.
        deleted: it says that the document is deleted; its properties are those from before.
        branch: of one that another cluster wrote under the same number, what tells it from the other; else empty.
        since: the number of the version that the document was created with; greater than 1 if another document had
            the key before and was deleted.
    """

    prefix: str
    number: int
    written_on: str
    follows: str | None = None
    deleted: bool = False
    branch: str = ""
    since: int = 1

    @property
    def written_at(self) -> datetime:
        """The time that `written_on` says."""
        return datetime.fromisoformat(self.written_on)

    @property
    def name(self) -> str:
        """What a client calls it by."""
        return f"{self.number}~{self.branch}" if self.branch else str(self.number)


def version_prefix(info: ModelInfo, key: Any) -> str:
    """What the ids of all versions of a document begin with."""
    return f"{info.type.name}:{quote(info.key_text(key), safe='')}"


def version_id(prefix: str, number: int, branch: str = "") -> str:
    """The id of one version."""
    return f"{prefix}:{number:010}~{branch}" if branch else f"{prefix}:{number:010}"


def bound_id(document: Mapping[str, Any]) -> str:
    """The id that a document's ciphertexts are bound to."""
    document_id = str(document.get("_id", ""))
    return document_id.rpartition("~")[0] if VERSION_PROPERTY in document and _is_branch(document_id) else document_id


def _is_branch(document_id: str) -> bool:
    match = _ID.fullmatch(document_id)
    return match is not None and match["branch"] is not None


def beside(document: Mapping[str, Any]) -> dict[str, Any]:
    """The document of a version that lost against another of its number, under an id of its own; not signed.

    The same wherever it is made, so that CouchDB gives it the same revision everywhere.
    """
    digest = revision.digest(str(document["_rev"]))
    body = {name: value for name, value in document.items() if not name.startswith("_")}
    return {"_id": f"{document['_id']}~{digest}", **body}


def _is_written_on(text: object) -> bool:
    """Whether a text is a time stamp as they are stored."""
    try:
        return isinstance(text, str) and format_timestamp(datetime.fromisoformat(text)) == text
    except (ValueError, OverflowError):
        return False


def version_of(document: Mapping[str, Any]) -> Version:
    """The place that a document has in a history.

    Raises:
        InvalidDocument: it is not a version of a history.
    """
    document_id = str(document.get("_id", ""))
    match, held = _ID.fullmatch(document_id), document.get(VERSION_PROPERTY)
    if match is None or not isinstance(held, dict) or not _is_written_on(held.get("written_on")):
        raise InvalidDocument("a stored document is not a version of a history", document_id)
    return Version(
        match["prefix"],
        int(match["number"]),
        held["written_on"],
        held.get("follows"),
        held.get("deleted") is True,
        match["branch"] or "",
        since if isinstance(since := held.get("since"), int) else 1,
    )


DELETED_PROPERTY = "tornado_couch_deleted_on"
"""The member of a stored document that says since when it is deleted."""


def is_deleted(info: ModelInfo, document: Mapping[str, Any]) -> bool:
    """Whether a document is there, and yet deleted as far as clients are concerned."""
    return deleted_on(info, document) is not None


def deleted_on(info: ModelInfo, document: Mapping[str, Any]) -> str | None:
    """Since when a document is marked as deleted, as time stamps are stored; None where it is not."""
    if info.soft_delete and DELETED_PROPERTY in document:
        return str(document[DELETED_PROPERTY])
    held = document.get(VERSION_PROPERTY) if info.history else None
    return str(held.get("written_on")) if isinstance(held, dict) and held.get("deleted") is True else None
