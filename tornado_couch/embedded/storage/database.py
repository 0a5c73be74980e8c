"""One database in SQLite: what is stored, and every way to read it. `transaction` writes to it.

A document is one row whose key is the sequence number of its last change; each write moves the row to the end. The
bodies of its revisions are rows of their own, which the revision tree refers to.
"""

from __future__ import annotations

import json
import sqlite3
import time
import uuid
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from tornado_couch.embedded.problems import missing
from tornado_couch.embedded.storage import revisions
from tornado_couch.embedded.storage.attachments import Attachment, load_attachments, stub
from tornado_couch.embedded.storage.connections import Connections
from tornado_couch.embedded.storage.documents import document_text
from tornado_couch.embedded.storage.revisions import Tree, load_tree
from tornado_couch.embedded.storage.source import Change

__all__ = ["Database", "ReadOptions", "Row", "Stored"]

LIVING, DELETED, PURGED = 0, 1, 2

_SCHEMA = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE docs (seq INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, rev TEXT NOT NULL, state INTEGER NOT NULL,
                   body INTEGER, tree TEXT NOT NULL);
CREATE INDEX docs_living ON docs (id) WHERE state = 0;
CREATE TABLE bodies (key INTEGER PRIMARY KEY, json TEXT NOT NULL, atts TEXT);
CREATE TABLE locals (id TEXT PRIMARY KEY, rev INTEGER NOT NULL, json TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE blobs (key INTEGER, part INTEGER, data BLOB NOT NULL, PRIMARY KEY (key, part));
"""
_WINNER = (
    "SELECT docs.rev, docs.state, bodies.json, bodies.atts FROM docs JOIN bodies ON bodies.key = docs.body"
    " WHERE docs.id = ?"
)
# With CouchDB 3's `couchdb/default_security` admin_only, only admins may use a new database.
_DEFAULT_SECURITY = '{"members":{"roles":["_admin"]},"admins":{"roles":["_admin"]}}'


class ReadOptions(NamedTuple):
    """What to add to a document that is read; the names are those of CouchDB's parameters."""

    revs: bool = False
    revs_info: bool = False
    conflicts: bool = False
    deleted_conflicts: bool = False
    local_seq: bool = False
    attachments: bool = False
    att_encoding_info: bool = False
    atts_since: tuple[str, ...] | None = None

    @property
    def needs_tree(self) -> bool:
        """Whether the revision tree must be read."""
        return (
            self.revs
            or self.revs_info
            or self.conflicts
            or self.deleted_conflicts
            or self.local_seq
            or self.atts_since is not None
        )


PLAIN = ReadOptions()


class Stored(NamedTuple):
    """A document's row: its last change and its revision tree."""

    seq: int
    id: str
    rev: str
    state: int
    tree: Tree


class Row(NamedTuple):
    """One line of `_all_docs`."""

    id: str
    rev: str
    deleted: bool


class Database:
    """One open database. Methods that read may be called from any thread.

    Args:
        name: its name in URLs.
        folder: the folder for its files; None keeps it in memory.
        partitioned: whether a new database is partitioned.
    """

    def __init__(self, name: str, folder: Path | None, *, partitioned: bool = False) -> None:
        self.name = name
        self.folder = folder
        self.index_dir: Path | None = folder / "views" if folder else None
        if folder:
            folder.mkdir(parents=True, exist_ok=True)
        self.connections = Connections(folder / "documents.sqlite" if folder else None, _SCHEMA)
        self._load(partitioned)

    def _load(self, partitioned: bool) -> None:
        """Read, or create, what is kept in memory while the database is open."""
        with self.connections.write() as connection:
            new = [("instance", uuid.uuid4().hex), ("made", str(int(time.time()))), ("security", _DEFAULT_SECURITY),
                   ("revs_limit", "1000"), ("purge_seq", "0"), ("partitioned", str(int(partitioned))),
                   ("name", self.name), ("purged_infos_limit", "1000")]  # fmt: skip
            connection.executemany("INSERT OR IGNORE INTO meta VALUES (?, ?)", new)
            meta = dict(connection.execute("SELECT name, value FROM meta"))
            counts = dict(connection.execute("SELECT state, count(*) FROM docs GROUP BY state"))
            self.seq: int = connection.execute("SELECT coalesce(max(seq), 0) FROM docs").fetchone()[0]
        self.instance = meta["instance"]
        self.made = meta["made"]
        self.security: dict[str, Any] = json.loads(meta["security"])
        self.revs_limit = int(meta["revs_limit"])
        self.purged_infos_limit = int(meta["purged_infos_limit"])
        self.purge_seq = int(meta["purge_seq"])
        self.partitioned = meta["partitioned"] == "1"
        self.doc_count = counts.get(LIVING, 0)
        self.doc_del_count = counts.get(DELETED, 0)
        self._external = (-1, 0)
        self.design_version = 0
        """Grows with each write of a design document, so that caches notice it."""

    # ------------------------------------------------------------ single documents

    def winner_text(self, doc_id: str) -> tuple[str, str]:
        """The revision and JSON text of a document, as a plain GET returns it.

        Raises:
            Problem: 404, it is missing or deleted.
        """
        row = self.connections.read_row(_WINNER, (doc_id,))
        if row is None:
            raise missing()
        rev, state, body, atts = row
        if state:
            raise missing(deleted=state == DELETED)
        return str(rev), _plain_text(doc_id, str(rev), str(body), atts)  # type: ignore[arg-type]

    def stored(self, doc_id: str, connection: sqlite3.Connection | None = None) -> Stored | None:
        """The row of a document; None if it never existed, or was purged."""
        if connection is None:
            with self.connections.read() as opened:
                return self.stored(doc_id, opened)
        row = connection.execute("SELECT seq, id, rev, state, tree FROM docs WHERE id = ?", (doc_id,)).fetchone()
        if row is None or row[3] == PURGED:
            return None
        return _stored(row)

    def revision(self, tree: Tree, rev: str, connection: sqlite3.Connection) -> tuple[str, list[Attachment]] | None:
        """The body and attachments of a revision; None if they are not stored."""
        node = tree.get(rev)
        if node is None or node.body is None:
            return None
        row = connection.execute("SELECT json, atts FROM bodies WHERE key = ?", (node.body,)).fetchone()
        return (row[0], load_attachments(row[1])) if row else None

    def text(self, stored: Stored, rev: str, options: ReadOptions, connection: sqlite3.Connection) -> str | None:
        """The JSON text of a revision; None if its body is not stored."""
        found = self.revision(stored.tree, rev, connection)
        if found is None:
            return None
        body, attachments = found
        extra = _meta_members(stored, rev, options) if options.needs_tree else {}
        if attachments:
            extra["_attachments"] = self._attachment_members(stored.tree, rev, attachments, options, connection)
        return document_text(stored.id, rev, body, deleted=stored.tree[rev].deleted, extra=extra)

    def _attachment_members(
        self, tree: Tree, rev: str, attachments: list[Attachment], options: ReadOptions,
        connection: sqlite3.Connection,
    ) -> dict[str, Any]:  # fmt: skip
        """The value of `_attachments`: stubs, or entries with their data if requested."""
        since = _since_generation(tree, rev, options.atts_since)
        made = {}
        for item in attachments:
            entry = stub(item, encoding_info=options.att_encoding_info)
            if (options.attachments and options.atts_since is None) or (
                options.atts_since is not None and item.revpos > since
            ):
                entry = _with_data(entry, item, self.blob_parts(item, connection))
            made[item.name] = entry
        return made

    def read(self, doc_id: str, rev: str | None = None) -> str | None:
        """The JSON text of the winner, or of one revision; None if it is missing or deleted."""
        with self.connections.read() as connection:
            stored = self.stored(doc_id, connection)
            # A tombstone has a body as well, but without `rev` its document does not exist.
            if stored is None or (rev is None and stored.state != LIVING):
                return None
            wanted = stored.rev if rev is None else rev
            if wanted in stored.tree and stored.tree[wanted].deleted:
                return None
            return self.text(stored, wanted, PLAIN, connection)

    def blob_parts(self, attachment: Attachment, connection: sqlite3.Connection, first: int = 0) -> Iterator[bytes]:
        """The stored bytes of an attachment, in parts of `PART_SIZE`, beginning with part number `first`."""
        cursor = connection.execute(
            "SELECT data FROM blobs WHERE key = ? AND part >= ? ORDER BY part", (attachment.blob, first)
        )
        for row in cursor:
            yield row[0]

    def local(self, doc_id: str) -> tuple[str, str] | None:
        """The revision and body of a local document."""
        row = self.connections.read_row("SELECT rev, json FROM locals WHERE id = ?", (doc_id,))
        return (f"0-{row[0]}", str(row[1])) if row else None

    def locals(self) -> list[tuple[str, str, str]]:
        """The id, revision and body of every local document."""
        with self.connections.read() as connection:
            rows = connection.execute("SELECT id, rev, json FROM locals ORDER BY id").fetchall()
        return [(doc_id, f"0-{rev}", body) for doc_id, rev, body in rows]

    # ------------------------------------------------------------ many documents

    def current_seq(self) -> int:
        """The sequence number of the last change; 0 if there was none."""
        return self.seq

    def changes_since(self, seq: int, limit: int, *, conflicts: bool = False, local_seq: bool = False) -> list[Change]:
        """Up to `limit` changes after `seq`, with the winners' bodies, for the view engine."""
        options = ReadOptions(conflicts=conflicts, local_seq=local_seq)
        tree = "docs.tree" if options.needs_tree else "NULL"
        statement = (
            f"SELECT docs.seq, docs.id, docs.rev, docs.state, bodies.json, bodies.atts, {tree}"  # noqa: S608
            " FROM docs LEFT JOIN bodies ON bodies.key = docs.body WHERE docs.seq > ? ORDER BY docs.seq LIMIT ?"
        )
        with self.connections.read() as connection:
            rows = connection.execute(statement, (seq, limit)).fetchall()
        return [_change(row, options) for row in rows]

    def feed(self, after: int, limit: int, before: int | None = None) -> list[Stored]:
        """The changes after a sequence number with their trees, oldest first; with `before`, newest first."""
        where, order = ("seq > ?", "ASC") if before is None else ("seq < ?", "DESC")
        with self.connections.read() as connection:
            rows = connection.execute(
                f"SELECT seq, id, rev, state, tree FROM docs WHERE {where} AND state < 2"  # noqa: S608
                f" ORDER BY seq {order} LIMIT ?",
                (after if before is None else before, limit),
            ).fetchall()
        return [_stored(row) for row in rows]

    def pending(self, after: int, *, descending: bool = False) -> int:
        """How many changes there are after a sequence number, or with `descending` before it."""
        sign = "<" if descending else ">"
        row = self.connections.read_row(f"SELECT count(*) FROM docs WHERE seq {sign} ? AND state < 2", (after,))  # noqa: S608
        return int(str(row[0])) if row else 0

    def rows(self, *, where: str, values: tuple[object, ...], descending: bool, skip: int, limit: int) -> list[Row]:
        """Documents that are not deleted, in the order of their ids.

        Args:
            where: a condition on `id`.
            values: its values.
            descending: whether the highest id comes first.
            skip: how many to leave out.
            limit: return at most this many; -1 for all.
        """
        order = "DESC" if descending else "ASC"
        with self.connections.read() as connection:
            found = connection.execute(
                f"SELECT id, rev FROM docs WHERE state = 0 AND {where} ORDER BY id {order} LIMIT ? OFFSET ?",  # noqa: S608
                (*values, limit, skip),
            ).fetchall()
        return [Row(doc_id, rev, False) for doc_id, rev in found]

    def count_rows(self, where: str, values: Iterable[object]) -> int:
        """How many documents that are not deleted fulfil a condition on `id`."""
        row = self.connections.read_row(
            f"SELECT count(*) FROM docs WHERE state = 0 AND {where}",  # noqa: S608
            tuple(values),
        )
        return int(str(row[0])) if row else 0

    def rows_of(self, keys: Iterable[str]) -> list[Row | None]:
        """One row for each id, in the given order; None if the document does not exist."""
        found: list[Row | None] = []
        with self.connections.read() as connection:
            for key in keys:
                row = connection.execute("SELECT rev, state FROM docs WHERE id = ?", (key,)).fetchone()
                found.append(Row(key, row[0], row[1] == DELETED) if row and row[1] != PURGED else None)
        return found

    def documents(
        self, start: str | None, end: str | None, *, descending: bool = False, limit: int
    ) -> list[tuple[str, str]]:
        """Up to `limit` documents as id and JSON text, between two ids (inclusive), in byte order; no deleted ones."""
        low, high = (end, start) if descending else (start, end)
        from_low = "docs.id >= :low" if low is not None else ":low IS NULL"
        to_high = "docs.id <= :high" if high is not None else ":high IS NULL"
        order = "DESC" if descending else "ASC"
        statement = (
            "SELECT docs.id, docs.rev, bodies.json, bodies.atts FROM docs JOIN bodies ON bodies.key = docs.body"  # noqa: S608
            f" WHERE docs.state = 0 AND {from_low} AND {to_high} ORDER BY docs.id {order} LIMIT :limit"
        )
        with self.connections.read() as connection:
            rows = connection.execute(statement, {"low": low, "high": high, "limit": limit}).fetchall()
        return [(doc_id, _plain_text(doc_id, rev, body, atts)) for doc_id, rev, body, atts in rows]

    def design_documents(self) -> list[tuple[str, str]]:
        """The id and JSON text of every design document that is not deleted."""
        with self.connections.read() as connection:
            rows = connection.execute(
                "SELECT docs.id, docs.rev, bodies.json FROM docs JOIN bodies ON bodies.key = docs.body"
                " WHERE docs.id >= '_design/' AND docs.id < '_design0' AND docs.state = 0 ORDER BY docs.id"
            ).fetchall()
        return [(doc_id, document_text(doc_id, rev, body)) for doc_id, rev, body in rows]

    def sizes(self) -> dict[str, int]:
        """The size in bytes of the file, of the documents as JSON, and of the used part of the file."""
        with self.connections.read() as connection:
            pages = connection.execute("PRAGMA page_count").fetchone()[0]
            free = connection.execute("PRAGMA freelist_count").fetchone()[0]
            size = connection.execute("PRAGMA page_size").fetchone()[0]
            # This reads every body, so it is done once for each state of the database.
            if self._external[0] != self.seq:
                statement = "SELECT coalesce(sum(length(json)), 0) FROM docs JOIN bodies ON bodies.key = docs.body"
                self._external = (self.seq, connection.execute(statement).fetchone()[0])
            external = self._external[1]
        return {"file": pages * size, "external": external, "active": (pages - free) * size}

    def partition(self, prefix: str) -> tuple[dict[int, int], int]:
        """How many documents of each state a partition has, and their size in bytes as JSON."""
        end = prefix[:-1] + chr(ord(prefix[-1]) + 1)
        with self.connections.read() as connection:
            rows = connection.execute(
                "SELECT docs.state, count(*), sum(length(bodies.json)) FROM docs JOIN bodies ON bodies.key = docs.body"
                " WHERE docs.id >= ? AND docs.id < ? GROUP BY docs.state",
                (prefix, end),
            ).fetchall()
        return {state: count for state, count, _ in rows}, sum(size for _, _, size in rows)

    def close(self) -> None:
        """Close the files."""
        self.connections.close()


def _stored(row: tuple[Any, ...]) -> Stored:
    seq, doc_id, rev, state, tree = row
    return Stored(seq, doc_id, rev, state, load_tree(tree))


def _plain_text(doc_id: str, rev: str, body: str, atts: str | None) -> str:
    """A document that is not deleted, as a plain GET returns it."""
    extra = {"_attachments": _stubs(load_attachments(atts))} if atts else None
    return document_text(doc_id, rev, body, extra=extra)


def _stubs(attachments: list[Attachment]) -> dict[str, Any]:
    return {item.name: stub(item) for item in attachments}


def _with_data(entry: dict[str, Any], item: Attachment, parts: Iterator[bytes]) -> dict[str, Any]:
    """The entry of `_attachments` with the bytes instead of a stub."""
    import base64

    from tornado_couch.embedded.storage.attachments import decoded

    whole = b"".join(parts if "encoding" in entry else decoded(item, parts))
    # With the data CouchDB leaves out the lengths, which follow from it.
    members = {name: value for name, value in entry.items() if name not in ("stub", "length", "encoded_length")}
    return {**members, "data": base64.b64encode(whole).decode()}


def _since_generation(tree: Tree, rev: str, known: tuple[str, ...] | None) -> int:
    """The generation up to which a reader that knows some revisions has the attachments (`atts_since`)."""
    if known is None:
        return 0
    path = revisions.ancestry(tree, rev)
    return max((revisions.sort_key(item)[0] for item in path if item in known), default=0)


def _meta_members(stored: Stored, rev: str, options: ReadOptions) -> dict[str, Any]:
    """The members that describe a revision's place in its tree."""
    extra: dict[str, Any] = {}
    path = revisions.ancestry(stored.tree, rev)
    if options.revs:
        extra["_revisions"] = revisions.revisions_member(path)
    if options.revs_info:
        extra["_revs_info"] = [{"rev": item, "status": _status(stored.tree, item)} for item in path]
    if options.local_seq:
        extra["_local_seq"] = stored.seq
    if options.conflicts or options.deleted_conflicts:
        others = [leaf for leaf in revisions.leaves(stored.tree) if leaf != rev]
        living = [leaf for leaf in others if not stored.tree[leaf].deleted]
        # An empty list of conflicts is left out.
        if options.conflicts and living:
            extra["_conflicts"] = living
        if options.deleted_conflicts and len(living) < len(others):
            extra["_deleted_conflicts"] = [leaf for leaf in others if stored.tree[leaf].deleted]
    return extra


def _status(tree: Tree, rev: str) -> str:
    node = tree[rev]
    if node.body is None:
        return "missing"
    return "deleted" if node.deleted else "available"


def _change(row: tuple[Any, ...], options: ReadOptions) -> Change:
    seq, doc_id, rev, state, body, atts, tree = row
    if state != LIVING:
        return Change(seq, doc_id, True, None)
    extra: dict[str, Any] = {}
    if tree is not None:
        extra = _meta_members(Stored(seq, doc_id, rev, state, load_tree(tree)), rev, options)
    if atts:
        extra["_attachments"] = _stubs(load_attachments(atts))
    return Change(seq, doc_id, False, document_text(doc_id, rev, body, extra=extra))
