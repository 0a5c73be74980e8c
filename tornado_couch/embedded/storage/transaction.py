"""Writes to a database: writers that wait share one transaction (group commit)."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import Callable, Iterable
from concurrent.futures import Executor
from typing import Any, NamedTuple

from tornado_couch.embedded.problems import Problem, bad_request, conflict, no_database
from tornado_couch.embedded.storage import revisions
from tornado_couch.embedded.storage.attachments import Attachment, NewAttachment, dump_attachments
from tornado_couch.embedded.storage.database import DELETED, LIVING, PURGED, Database
from tornado_couch.embedded.storage.documents import Draft, is_design, is_local
from tornado_couch.embedded.storage.revisions import Tree, dump_tree, load_tree
from tornado_couch.revision import revision_of

__all__ = ["Transaction", "Writer"]

Outcome = str | Problem
"""The outcome of a draft: its new revision, or the reason why it was not written."""


class Transaction:
    """The writes to a database in one SQLite transaction.

    Counters are changed here, and the database takes them over after the commit (`publish`), so that a reader never
    sees what may still be rolled back.

    Args:
        database: the database to write to.
        connection: a connection in its transaction.
    """

    def __init__(self, database: Database, connection: sqlite3.Connection) -> None:
        self.database = database
        self.connection = connection
        self.seq = database.seq
        self.counts = [database.doc_count, database.doc_del_count, 0]
        self.meta: dict[str, str] = {}
        self.purge_seq = database.purge_seq
        self.designs_written = False

    def savepoint(self) -> tuple[int, list[int], dict[str, str], int, bool]:
        """The state of the counters, which `restore` needs to undo the effect of later writes."""
        return self.seq, list(self.counts), dict(self.meta), self.purge_seq, self.designs_written

    def restore(self, saved: tuple[int, list[int], dict[str, str], int, bool]) -> None:
        """Undo the effect on the counters of all writes since `savepoint`."""
        self.seq, self.counts, self.meta, self.purge_seq, self.designs_written = saved

    def publish(self) -> None:
        """Pass the counters to the database, after the commit."""
        database = self.database
        database.seq = self.seq
        database.doc_count, database.doc_del_count = self.counts[LIVING], self.counts[DELETED]
        database.purge_seq = self.purge_seq
        if "security" in self.meta:
            database.security = json.loads(self.meta["security"])
        if "revs_limit" in self.meta:
            database.revs_limit = int(self.meta["revs_limit"])
        if "purged_infos_limit" in self.meta:
            database.purged_infos_limit = int(self.meta["purged_infos_limit"])
        if self.designs_written:
            database.design_version += 1

    # ------------------------------------------------------------ documents

    def write_all(self, drafts: Iterable[Draft], *, new_edits: bool) -> list[Outcome]:
        """Write drafts one after the other; one that cannot be written does not stop the others."""
        outcomes: list[Outcome] = []
        for draft in drafts:
            try:
                outcomes.append(self.write(draft, new_edits=new_edits))
            except Problem as problem:
                # A missing stub fails the whole request, as in CouchDB, not just one document.
                if problem.status == 412:
                    raise
                outcomes.append(problem)
        return outcomes

    def write(self, draft: Draft, *, new_edits: bool) -> str:
        """Write a draft and return its revision.

        Raises:
            Problem: 409, it does not follow a leaf; 412, a stub refers to an attachment that does not exist.
        """
        if is_local(draft.id):
            return self._write_local(draft, new_edits)
        row = self.connection.execute("SELECT rev, state, tree, body FROM docs WHERE id = ?", (draft.id,)).fetchone()
        if row is not None and row[1] == PURGED:
            old_state, tree = PURGED, {}
        else:
            old_state, tree = (row[1], load_tree(row[2])) if row else (-1, {})
        if new_edits:
            return self._edit(draft, tree, old_state)
        return self._replicate(draft, tree, old_state)

    def _edit(self, draft: Draft, tree: Tree, old_state: int) -> str:
        """Write a new revision that follows a leaf."""
        parent = self.parent_of(draft, tree)
        kept = self._resolve(draft, tree, [parent] if parent else [])
        # `revpos` is the generation in which an attachment was added.
        generation = revisions.sort_key(parent)[0] + 1 if parent else 1
        placed = [self._place(item, generation, keep_revpos=False) for item in kept]
        rev = revision_of(
            parent, draft.deleted, draft.body, [(item.name, item.content_type, item.md5) for item in placed]
        )
        if rev in tree:
            raise conflict()
        key = self._store_body(draft.text, placed)
        if parent is None and not tree:
            merged = {rev: revisions.Node(None, draft.deleted, key)}
        else:
            merged, _ = revisions.graft(tree, [rev, parent] if parent else [rev], draft.deleted, key)
        self._store_tree(draft.id, merged, old_state)
        return rev

    @staticmethod
    def parent_of(draft: Draft, tree: Tree) -> str | None:
        """The revision that the draft follows.

        Raises:
            Problem: 409, that is not a leaf.
        """
        if not tree:
            if draft.rev is not None:
                raise conflict()
            return None
        leaves = revisions.leaves(tree)
        if tree[leaves[0]].deleted:
            # The document is deleted: it can only be created again, without naming a revision.
            if draft.rev is not None or draft.deleted:
                raise conflict()
            return leaves[0]
        if draft.rev not in leaves:
            raise conflict()
        return draft.rev

    def _replicate(self, draft: Draft, tree: Tree, old_state: int) -> str:
        """Write a revision as it is, with its history (without `new_edits`)."""
        path = draft.path or ([draft.rev] if draft.rev else [])
        if not path:
            raise bad_request("When `new_edits: false`, the document needs `_rev` or `_revisions` specified")
        rev = path[0]
        # Replicating an existing revision is not a change: it must not get a new sequence number.
        if rev in tree and tree[rev].body is not None and not _new_links(tree, path):
            return rev
        known = [step for step in path if step in tree] + revisions.leaves(tree) if tree else []
        kept = self._resolve(draft, tree, known)
        generation = revisions.sort_key(rev)[0]
        if rev in tree and tree[rev].body is not None:
            key = tree[rev].body
        else:
            key = self._store_body(draft.text, [self._place(item, generation, keep_revpos=True) for item in kept])
        merged, _ = revisions.graft(tree, path, draft.deleted, key or 0)
        self._store_tree(draft.id, merged, old_state)
        return rev

    def _store_body(self, text: str, attachments: list[Attachment]) -> int:
        cursor = self.connection.execute(
            "INSERT INTO bodies (json, atts) VALUES (?, ?)", (text, dump_attachments(attachments))
        )
        return cursor.lastrowid or 0

    def _store_tree(self, doc_id: str, tree: Tree, old_state: int) -> None:
        """Write a document's row with a new sequence number."""
        tree = revisions.stem(tree, self.database.revs_limit)
        rev = revisions.winner(tree)
        node = tree[rev]
        state = DELETED if node.deleted else LIVING
        self.seq += 1
        if old_state < 0:
            self.connection.execute(
                "INSERT INTO docs VALUES (?, ?, ?, ?, ?, ?)", (self.seq, doc_id, rev, state, node.body, dump_tree(tree))
            )
        else:
            self.counts[old_state] -= 1
            self.connection.execute(
                "UPDATE docs SET seq = ?, rev = ?, state = ?, body = ?, tree = ? WHERE id = ?",
                (self.seq, rev, state, node.body, dump_tree(tree), doc_id),
            )
        self.counts[state] += 1
        if is_design(doc_id):
            self.designs_written = True

    # ------------------------------------------------------------ attachments

    def _resolve(self, draft: Draft, tree: Tree, known: list[str]) -> list[NewAttachment | Attachment]:
        """The draft's attachments, with stubs replaced by what is stored."""
        if not draft.attachments:
            return []
        stored: dict[str, Attachment] = {}
        if any(item.data is None for item in draft.attachments):
            # The nearest revision is read last, so its attachments count.
            for rev in reversed(known):
                found = self.database.revision(tree, rev, self.connection)
                stored.update({item.name: item for item in found[1]} if found else {})
        resolved: list[NewAttachment | Attachment] = []
        for item in draft.attachments:
            if item.data is not None:
                resolved.append(item)
            elif item.name in stored and item.revpos in (None, stored[item.name].revpos):
                resolved.append(stored[item.name])
            else:
                # CouchDB compares neither digest nor length nor type.
                raise Problem(412, "missing_stub", f"Invalid attachment stub in {draft.id} for {item.name}")
        return resolved

    def _place(self, item: NewAttachment | Attachment, generation: int, *, keep_revpos: bool) -> Attachment:
        """Make the record of an attachment, and write its bytes if they are new."""
        if isinstance(item, Attachment):
            return item
        key = self.connection.execute("SELECT coalesce(max(key), 0) + 1 FROM blobs").fetchone()[0]
        rows = ((key, number, part) for number, part in enumerate(item.parts()))
        self.connection.executemany("INSERT INTO blobs VALUES (?, ?, ?)", rows)
        if item.stored == 0:
            self.connection.execute("INSERT INTO blobs VALUES (?, 0, x'')", (key,))
        revpos = item.revpos if keep_revpos and item.revpos else generation
        return Attachment(
            item.name, item.content_type, revpos, item.digest, item.length, item.stored, item.encoding, key
        )

    # ------------------------------------------------------------ the rest

    def _write_local(self, draft: Draft, new_edits: bool) -> str:
        """Write or delete a local document; as in CouchDB, its revisions 0-1, 0-2 … are not checked."""
        if draft.deleted:
            self.connection.execute("DELETE FROM locals WHERE id = ?", (draft.id,))
            return "0-0"
        number = 1
        if draft.rev:
            digits = draft.rev.partition("-")[2]
            if not draft.rev.startswith("0-") or not digits.isdigit() or len(digits) > 15:
                raise bad_request("Invalid rev format")
            number = int(digits) + int(new_edits)
        self.connection.execute("INSERT OR REPLACE INTO locals VALUES (?, ?, ?)", (draft.id, number, draft.text))
        return f"0-{number}"

    def set_meta(self, name: str, value: str) -> None:
        """Set metadata of the database: "security", "revs_limit" …"""
        self.connection.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (name, value))
        self.meta[name] = value

    def purge(self, doc_id: str, revs: list[str]) -> list[str]:
        """Purge leaf revisions and everything that only they needed; returns those that existed.

        A document that has no leaves left keeps its row in the state "purged", so that view indexes notice it.
        """
        row = self.connection.execute("SELECT state, tree FROM docs WHERE id = ?", (doc_id,)).fetchone()
        tree = load_tree(row[1]) if row and row[0] != PURGED else {}
        leaves = revisions.leaves(tree) if tree else []
        purged = [rev for rev in revs if rev in leaves]
        if not purged:
            return []
        kept: dict[str, Any] = {}
        for leaf in leaves:
            if leaf not in purged:
                kept.update({rev: tree[rev] for rev in revisions.ancestry(tree, leaf)})
        if kept:
            self._store_tree(doc_id, kept, row[0])
        else:
            self._forget(doc_id, row[0])
        self.purge_seq += 1
        self.set_meta("purge_seq", str(self.purge_seq))
        return purged

    def _forget(self, doc_id: str, old_state: int) -> None:
        self.seq += 1
        self.counts[old_state] -= 1
        self.counts[PURGED] += 1
        self.connection.execute(
            "UPDATE docs SET seq = ?, rev = '', state = 2, body = NULL, tree = '[]' WHERE id = ?", (self.seq, doc_id)
        )
        self.designs_written |= is_design(doc_id)


def _new_links(tree: Tree, path: list[str]) -> bool:
    """Whether a path contains revisions or parents that the tree does not know."""
    for place, rev in enumerate(path):
        parent = path[place + 1] if place + 1 < len(path) else None
        if rev not in tree or (parent is not None and tree[rev].parent is None):
            return True
    return False


_INLINE_BYTES = 512 * 1024
_LARGEST_GROUP = 200

Work = Callable[[Transaction], Any]


class _Job(NamedTuple):
    work: Work
    size: int
    done: asyncio.Future[Any]


class Writer:
    """Runs pieces of work in transactions, and answers each when its transaction is committed.

    Small groups run on the event loop: SQLite answers in microseconds, and a thread would wait for the interpreter's
    lock at each statement. Large groups run in a thread.

    Args:
        database: the database to write to.
        executor: the threads for large groups.
        on_commit: called on the event loop after each commit.
    """

    def __init__(self, database: Database, executor: Executor, on_commit: Callable[[], None]) -> None:
        self._database = database
        self._executor = executor
        self._on_commit = on_commit
        self._waiting: list[_Job] = []
        self._running = False

    async def run(self, work: Work, size: int = 0) -> Any:
        """Run `work` and return its result once it is committed. An error in it undoes only its own writes.

        Args:
            work: a function that receives the transaction.
            size: about how many bytes it writes.
        """
        loop = asyncio.get_running_loop()
        job = _Job(work, size, loop.create_future())
        self._waiting.append(job)
        if not self._running:
            self._running = True
            # Not at once, so that requests that have already been read can join the group.
            loop.call_soon(self._start)
        return await job.done

    def _start(self) -> None:
        group, self._waiting = self._waiting[:_LARGEST_GROUP], self._waiting[_LARGEST_GROUP:]
        if sum(job.size for job in group) > _INLINE_BYTES:
            future = asyncio.get_running_loop().run_in_executor(self._executor, self._commit, group)
            future.add_done_callback(
                lambda done: self._finish(group, [no_database()] * len(group) if done.cancelled() else done.result())
            )
        else:
            self._finish(group, self._commit(group))

    def _finish(self, group: list[_Job], results: list[Any]) -> None:
        """Answer a group, and continue with the work that has arrived meanwhile."""
        for job, result in zip(group, results, strict=True):
            if job.done.done():
                continue
            if isinstance(result, Exception):
                job.done.set_exception(result)
            else:
                job.done.set_result(result)
        self._on_commit()
        if self._waiting:
            asyncio.get_running_loop().call_soon(self._start)
        else:
            self._running = False

    def _commit(self, group: list[_Job]) -> list[Any]:
        """Run a group in one transaction, and return the result or the exception of each."""
        try:
            with self._database.connections.write() as connection:
                transaction = Transaction(self._database, connection)
                results = [_run_one(job.work, transaction, connection) for job in group]
            transaction.publish()
        except sqlite3.ProgrammingError:  # it is closed, since the database was deleted meanwhile
            return [no_database()] * len(group)
        except Exception as error:  # noqa: BLE001  an error of SQLite is the answer for all of the group
            return [error] * len(group)
        return results


def _run_one(work: Work, transaction: Transaction, connection: sqlite3.Connection) -> Any:
    """Run one piece of work; if it fails, its writes are undone."""
    saved = transaction.savepoint()
    connection.execute("SAVEPOINT piece")
    try:
        result = work(transaction)
    except Exception as error:  # noqa: BLE001  it goes to the caller of this piece
        connection.execute("ROLLBACK TO piece")
        transaction.restore(saved)
        result = error
    connection.execute("RELEASE piece")
    return result
