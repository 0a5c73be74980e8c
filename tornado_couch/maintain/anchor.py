"""The anchor of an audit: which revisions a database held the last time, kept outside of it under a signed root.

Nothing in a database says that it is the latest one, or that a document is missing. So an audit can leave a state:
an SQLite file with the id and the leaves of each document, of about 100 bytes each, and beside it a small file, the
*root*, with a Merkle root over them, the sequence that was reached, and a signature. The root can be kept elsewhere.

The next audit reads what changed since then, and whatever was known of a document must still be in its history. A purge
shows in no changes feed, and neither does a file that was put back; so it goes through all documents if the purge
sequence, the sequence or the numbers of documents do not fit, or if it is told to.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import sqlite3
from collections.abc import AsyncGenerator, Collection, Iterable, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any

from .. import _json
from ..couch import Change, Database
from ..errors import InvalidSignature, SecurityError
from ..revision import generation, rank
from ..security import Keys, Scheme, canonical
from ..store.attachments import Attachments
from ..store.protection.trees import path_of
from .audit import Auditor, AuditPage, Finding, altered_files, pages_of_trees

__all__ = ["Anchor", "AnchoredAudit"]

Document = dict[str, Any]

_FORMAT = "tornado_couch anchor"
_CONTEXT = b"tornado_couch anchor v1"
_TABLES = """
CREATE TABLE IF NOT EXISTS documents (id TEXT PRIMARY KEY, leaves TEXT NOT NULL, deleted INT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS open (id TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TEMP TABLE seen (id TEXT PRIMARY KEY) WITHOUT ROWID;
"""
_AT_ONCE = 200  # documents that are read again together


class Anchor:
    """What was known of a database at the end of the last audit.

    Args:
        path: the file of the state.
        root: the file of the signed root; by default beside the state, with the suffix `.root`.
        keys: the keys that sign the root and verify it.
        database: the database's name, which is signed.

    Attributes:
        root: what the last audit signed, without the signature; empty before the first one.

    Raises:
        SecurityError: one of the two files is missing, or they are not what was signed.
    """

    def __init__(self, path: str | os.PathLike[str], keys: Keys, database: str, root: Path | None = None) -> None:
        self._path = Path(path)
        self._root_path = root or self._path.with_name(self._path.name + ".root")
        self._keys = keys
        self._database = database
        known = self._path.exists()
        if known != (self._root_path.exists() or self._next.exists()):
            missing = self._root_path if known else self._path
            raise SecurityError(f"{missing} is missing: bring it back, or begin with another file and compare by hand")
        self._rows = sqlite3.connect(self._path, check_same_thread=False, isolation_level=None)
        self._rows.executescript(_TABLES)
        self._rows.execute("BEGIN")
        try:
            self.root: dict[str, Any] = self._verified() if known else {}
        except SecurityError:
            self.close()
            raise

    @property
    def _next(self) -> Path:
        """The root of a state that is being written; it counts if the old one does not fit any more."""
        return self._root_path.with_name(self._root_path.name + ".new")

    def close(self) -> None:
        """Close the file, and leave it as it was saved last."""
        self._rows.close()

    def leaves(self, document_id: str) -> set[str]:
        """The leaves that a document had; empty for an unknown one."""
        row = self._rows.execute("SELECT leaves FROM documents WHERE id = ?", (document_id,)).fetchone()
        return set(row[0].split()) if row else set()

    def known(self, ids: Iterable[str]) -> dict[str, set[str]]:
        """The leaves of those documents that are known."""
        found = {each: self.leaves(each) for each in ids}
        return {each: leaves for each, leaves in found.items() if leaves}

    def learn(self, rows: Iterable[tuple[str, Collection[str], bool]]) -> None:
        """Remember documents: id, leaves and whether it is deleted; one without leaves is forgotten."""
        kept = [(name, " ".join(sorted(leaves)), deleted) for name, leaves, deleted in rows]
        self._rows.executemany("INSERT OR REPLACE INTO documents VALUES (?, ?, ?)", [each for each in kept if each[1]])
        self._rows.executemany("DELETE FROM documents WHERE id = ?", [(each[0],) for each in kept if not each[1]])

    def see(self, ids: Iterable[str]) -> None:
        """Note which documents a full audit met."""
        self._rows.executemany("INSERT OR IGNORE INTO seen VALUES (?)", [(each,) for each in ids])

    def unseen(self) -> list[str]:
        """The known documents that a full audit did not meet."""
        query = "SELECT id FROM documents WHERE id NOT IN (SELECT id FROM seen) ORDER BY id"
        return [each for (each,) in self._rows.execute(query)]

    @property
    def open(self) -> list[str]:
        """The documents of which something was found, and is not cleared yet."""
        return [each for (each,) in self._rows.execute("SELECT id FROM open ORDER BY id")]

    def note(self, document_id: str, *, found: bool) -> None:
        """Remember whether something is wrong with a document."""
        statement = "INSERT OR IGNORE INTO open VALUES (?)" if found else "DELETE FROM open WHERE id = ?"
        self._rows.execute(statement, (document_id,))

    def counts(self) -> tuple[int, int]:
        """How many documents are known, and how many that are deleted."""
        rows = dict(self._rows.execute("SELECT deleted, count(*) FROM documents GROUP BY deleted").fetchall())
        return rows.get(0, 0), rows.get(1, 0)

    def save(self, since: str | int, info: dict[str, Any]) -> None:
        """Sign what is known now.

        Raises:
            KeySetError: the keys cannot sign.
        """
        documents, deleted = self.counts()
        root = {"format": _FORMAT, "version": 1, "database": self._database, "since": since, "root": self._merkle()}
        root |= {"documents": documents, "deleted": deleted, "purges": _number(info.get("purge_seq", 0))}
        signature = self._keys.sign(canonical(root), context=_CONTEXT)
        self._next.write_bytes(_json.dumps({**root, "signature": signature}) + b"\n")
        self._rows.execute("COMMIT")
        self._next.replace(self._root_path)
        self._rows.execute("BEGIN")
        self.root = root

    def _verified(self) -> dict[str, Any]:
        merkle = self._merkle()
        for path in (self._root_path, self._next):
            try:
                held = _json.loads(path.read_bytes())
                signature = held.pop("signature")
                self._keys.verify(canonical(held), signature, context=_CONTEXT)
            except (AttributeError, InvalidSignature, KeyError, OSError, TypeError, ValueError):
                continue
            if held.get("format") == _FORMAT and held["database"] == self._database and held["root"] == merkle:
                return dict(held)
        raise SecurityError(
            f"{self._path} and {self._root_path} are not what was signed for the database {self._database}:"
            " bring back a copy of both"
        )

    def _merkle(self) -> str:
        """The root of a Merkle tree (RFC 9162 §2.1) over the documents in the order of their ids."""
        query = "SELECT id, leaves, deleted FROM documents ORDER BY id"
        heights: list[tuple[int, bytes]] = []
        for row in self._rows.execute(query):
            entry = (0, hashlib.sha256(b"\0" + _json.dumps(row)).digest())
            while heights and heights[-1][0] == entry[0]:
                entry = (entry[0] + 1, hashlib.sha256(b"\1" + heights.pop()[1] + entry[1]).digest())
            heights.append(entry)
        while len(heights) > 1:
            _, right = heights.pop()
            height, left = heights.pop()
            heights.append((height, hashlib.sha256(b"\1" + left + right).digest()))
        return heights[0][1].hex() if heights else hashlib.sha256(b"").hexdigest()


class AnchoredAudit:
    """Audits a database against what was known of it.

    Args:
        database: the database to audit.
        keys: the keys of all that may have written there; they also sign the anchor.
        path: the file of the state; a first audit makes it.
        root: the file of the signed root, if it is not beside the state.
        accept: the schemes to accept.
        files: also compare the bytes of files with what was signed of them.
    """

    def __init__(
        self,
        database: Database,
        keys: Keys,
        path: str | os.PathLike[str],
        *,
        root: Path | None = None,
        accept: Collection[Scheme] = (Scheme.V3, Scheme.V2),
        files: bool = True,
    ) -> None:
        self._database = database
        self._attachments = Attachments(database, lambda document: document)
        self._files = files
        self._keys = keys
        self._path = path
        self._root = root
        self._auditor = Auditor(database.name, keys, accept)
        self._since: str | int = 0

    async def run(self, *, full: bool = False, page_size: int = 500) -> AsyncGenerator[AuditPage, None]:
        """Audit what changed, or everything where that is needed, and save what is known then.

        Besides those of `SignatureFault`, the reasons of findings are "put back" (a document lacks a revision that it
        had) and "purged". What was found is read again by each further audit, until it is cleared.

        Args:
            full: go through all documents.
            page_size: how many documents to read at a time.

        Raises:
            SecurityError: the anchor is not what was signed.
        """
        known = await asyncio.to_thread(Anchor, self._path, self._keys, self._database.name, self._root)
        try:
            everything = full or not known.root or not _fits(known.root, await self._database.info())
            self._since = known.root.get("since", 0)
            async for page in self._pass(known, everything, page_size):
                yield page
            if not everything and not await self._counted(known):
                async for page in self._pass(known, True, page_size):
                    yield page
            open_ = known.open
            for start in range(0, len(open_), _AT_ONCE):
                part = open_[start : start + _AT_ONCE]
                yield AuditPage(await self._again(known, part), len(part), self._since, 0)
            await asyncio.to_thread(known.save, self._since, await self._database.info())
        finally:
            known.close()

    async def clear(self, ids: Collection[str]) -> None:
        """Take documents for what they are now, whatever was known of them; for one that is gone, forget it.

        Raises:
            SecurityError: the anchor is not what was signed, or there is none.
        """
        known = await asyncio.to_thread(Anchor, self._path, self._keys, self._database.name, self._root)
        try:
            if not known.root:
                raise SecurityError(f"{self._path} is no anchor yet: run an audit with it first")
            for document_id, leaves in zip(ids, await self._read(list(ids)), strict=True):
                known.learn([_row(document_id, leaves)])
                known.note(document_id, found=False)
            await asyncio.to_thread(known.save, known.root["since"], {"purge_seq": known.root["purges"]})
        finally:
            known.close()

    async def _pass(self, known: Anchor, everything: bool, page_size: int) -> AsyncGenerator[AuditPage, None]:
        """Go through what changed, or through everything."""

        def is_behind(change: Change) -> bool:
            return not known.leaves(change.id) <= set(change.revisions)

        since = 0 if everything else self._since
        pages = pages_of_trees(self._database, since=since, page_size=page_size, histories_of=is_behind)
        async with aclosing(pages):
            async for page, trees in pages:
                if everything:
                    known.see(each.id for each in page.results)
                designs = [each for each in page.results if each.id.startswith("_design/")]
                known.learn((each.id, each.revisions, each.deleted) for each in designs)
                findings = []
                for leaves in trees:
                    found = self._judged(known, leaves)
                    findings += found
                    if self._files:
                        findings += await altered_files(self._attachments, leaves, found)
                self._since = page.last_seq
                yield AuditPage(findings, sum(map(len, trees)), page.last_seq, page.pending)
        unseen = known.unseen() if everything else []
        for start in range(0, len(unseen), _AT_ONCE):
            part = unseen[start : start + _AT_ONCE]
            yield AuditPage(await self._again(known, part), len(part), self._since, 0)

    async def _again(self, known: Anchor, ids: Sequence[str]) -> list[Finding]:
        """Read documents and judge them, also those that are not there any more."""
        findings = []
        for document_id, leaves in zip(ids, await self._read(ids), strict=True):
            if leaves:
                findings += self._judged(known, leaves)
            elif expected := known.leaves(document_id):
                known.note(document_id, found=True)
                findings.append(Finding(document_id, max(expected, key=rank), "purged"))
        return findings

    async def _read(self, ids: Sequence[str]) -> list[list[Document]]:
        found = await self._database.bulk_get(ids, revs=True)
        return [[leaf.document for leaf in leaves if leaf.document is not None] for leaves in found]

    def _judged(self, known: Anchor, leaves: list[Document]) -> list[Finding]:
        document_id = leaves[0]["_id"]
        lost = [each for each in known.leaves(document_id) if not _reaches(leaves, each)]
        findings = [Finding(document_id, each, "put back") for each in lost]
        if not document_id.startswith("_design/"):
            findings += self._auditor.judged(leaves)
        if not lost:
            known.learn([_row(document_id, leaves)])
        known.note(document_id, found=bool(findings))
        return findings

    async def _counted(self, known: Anchor) -> bool:
        """Whether the database has as many documents as are known, but for those that were written meanwhile."""
        info = await self._database.info()
        moved = _number(info["update_seq"]) - _number(self._since)
        numbers = zip(known.counts(), (info["doc_count"], info["doc_del_count"]), strict=True)
        return all(abs(mine - its) <= moved for mine, its in numbers)


def _row(document_id: str, leaves: Sequence[Document]) -> tuple[str, Collection[str], bool]:
    revisions = {each["_rev"] for each in leaves}
    return document_id, revisions, all(each.get("_deleted") for each in leaves)


def _reaches(leaves: Sequence[Document], revision: str) -> bool:
    """Whether a revision is still in a document's history, or so far back that CouchDB has forgotten it."""
    paths = [path_of(each) for each in leaves]
    return any(revision in path or generation(path[-1]) > generation(revision) for path in paths)


def _fits(root: dict[str, Any], info: dict[str, Any]) -> bool:
    """Whether nothing was purged, and the database is not further back than it was."""
    return root["purges"] == _number(info.get("purge_seq", 0)) and _number(root["since"]) <= _number(info["update_seq"])


def _number(sequence: str | int) -> int:
    """The number that a sequence begins with; the rest of it names the shards."""
    digits = str(sequence).partition("-")[0]
    return int(digits) if digits.isdecimal() else 0
