"""Writes documents for a user, after all checks that a draft needs before it reaches the database."""

from __future__ import annotations

import contextlib
import sqlite3
import zlib
from collections.abc import Sequence
from typing import Any

from tornado_couch.embedded.couch import Couch
from tornado_couch.embedded.messages import User
from tornado_couch.embedded.problems import Problem, illegal_docid, too_large
from tornado_couch.embedded.storage.database import PLAIN, Database
from tornado_couch.embedded.storage.databases import OpenDatabase
from tornado_couch.embedded.storage.documents import Draft, document_text, is_design, is_local
from tornado_couch.embedded.storage.revisions import revisions_member
from tornado_couch.embedded.storage.transaction import Outcome, Transaction
from tornado_couch.embedded.users.security import need_database_admin
from tornado_couch.revision import revision_of

__all__ = ["user_context", "write_draft", "write_drafts"]


async def write_draft(couch: Couch, user: User, opened: OpenDatabase, draft: Draft, *, new_edits: bool = True) -> str:
    """Write one draft and return its revision.

    Raises:
        Problem: the draft was refused.
    """
    outcome = (await write_drafts(couch, user, opened, [draft], new_edits=new_edits))[0]
    if isinstance(outcome, Problem):
        raise outcome
    return outcome


async def write_drafts(
    couch: Couch, user: User, opened: OpenDatabase, drafts: Sequence[Draft], *, new_edits: bool
) -> list[Outcome]:
    """Write drafts in one transaction, and return for each its revision or the reason of its refusal.

    Raises:
        Problem: one is too large, and none was written; or one names an attachment that is not there, and the
            other shard's were written all the same.
    """
    outcomes: dict[int, Outcome] = {}
    for place, draft in enumerate(drafts):
        try:
            await _judge(couch, user, opened, draft)
        except Problem as problem:
            if problem.status == 413:
                raise
            outcomes[place] = problem
    if opened.validators():
        left = [place for place in range(len(drafts)) if place not in outcomes]
        refused = await couch.turns.run(
            opened.owner("validate_doc_update"), _validate, couch, user, opened, [drafts[place] for place in left],
            new_edits,
        )  # fmt: skip
        outcomes.update({left[index]: problem for index, problem in refused.items()})
    return await _store(opened, drafts, outcomes, new_edits=new_edits)


async def _store(
    opened: OpenDatabase, drafts: Sequence[Draft], outcomes: dict[int, Outcome], *, new_edits: bool
) -> list[Outcome]:
    """Write the drafts that have no outcome yet."""
    left = [place for place in range(len(drafts)) if place not in outcomes]

    async def write(some: Sequence[Draft]) -> list[Outcome]:
        def work(transaction: Transaction) -> list[Outcome]:
            return transaction.write_all(some, new_edits=new_edits)

        written: list[Outcome] = await opened.writer.run(work, sum(map(_weight, some))) if some else []
        return written

    try:
        written = await write([drafts[place] for place in left])
    except Problem:
        # In CouchDB, each shard stores its part of the documents, and one of them refuses the whole request.
        for shard in range(_SHARDS):
            with contextlib.suppress(Problem):
                await write([drafts[place] for place in left if _shard(drafts[place]) == shard])
        raise
    outcomes.update(zip(left, written, strict=True))
    return [outcomes[place] for place in range(len(drafts))]


_SHARDS = 2  # CouchDB's default `q`


def _shard(draft: Draft) -> int:
    """The shard in which CouchDB would have a document: by the CRC-32 of its id (`mem3_hash`)."""
    return zlib.crc32(draft.id.encode()) * _SHARDS >> 32


def _weight(draft: Draft) -> int:
    """Estimate how many bytes a draft costs to write."""
    return len(draft.text) + 500 + sum(max(item.stored, 0) for item in draft.attachments)


async def _judge(couch: Couch, user: User, opened: OpenDatabase, draft: Draft) -> None:
    """Check everything about a draft that does not depend on what the database contains.

    Raises:
        Problem: 400, 401, 403 or 413.
    """
    if len(draft.text) > couch.settings.number("couchdb", "max_document_size"):
        raise too_large("document_too_large", draft.id)
    database = opened.database
    if is_design(draft.id):
        need_database_admin(user, database.security)
        if not draft.deleted:
            text = document_text(draft.id, "1-0", draft.text)
            await couch.turns.run(opened.owner(draft.id), _check_design, couch, text, database.partitioned)
    elif database.partitioned and not is_local(draft.id):
        _check_partition(draft.id)
    if database.name == "_users" and not draft.id.startswith("_"):
        from tornado_couch.embedded.user_documents import prepare_user

        await prepare_user(couch, user, database, draft)


def _check_design(couch: Couch, text: str, partitioned: bool) -> None:
    from tornado_couch.embedded.views.functions import check_design

    check_design(text, couch.scripts, partitioned=partitioned)


def _check_partition(doc_id: str) -> None:
    partition, colon, rest = doc_id.partition(":")
    if not colon:
        raise illegal_docid("Doc id must be of form partition:id")
    if not partition:
        raise illegal_docid("Partition must not be empty")
    if partition.startswith("_"):
        raise Problem(400, "illegal_partition", "Partition must not start with an underscore")
    if not rest:
        raise illegal_docid("Document id must not be empty")


def user_context(user: User, database: Database) -> dict[str, Any]:
    """The `userCtx` that functions of design documents receive."""
    return {"db": database.name, "name": user.name, "roles": list(user.roles)}


def _validate(
    couch: Couch, user: User, opened: OpenDatabase, drafts: Sequence[Draft], new_edits: bool
) -> dict[int, Problem]:
    """Call the functions `validate_doc_update`; returns the refusals by the index of the draft."""
    refused: dict[int, Problem] = {}
    database = opened.database
    context = user_context(user, database)
    for place, draft in enumerate(drafts):
        if is_local(draft.id) or is_design(draft.id):
            continue
        try:
            # Read before calling the functions, not during: they may take long, and a database in memory has one
            # connection.
            with database.connections.read() as connection:
                new, old = _versions(database, connection, draft, new_edits)
        except Problem:
            continue  # it is a conflict, which the writer reports
        try:
            couch.functions.validate(opened.validators(), new, old, context, database.security)
        except Problem as problem:
            refused[place] = problem
    return refused


def _versions(
    database: Database, connection: sqlite3.Connection, draft: Draft, new_edits: bool
) -> tuple[str, str | None]:
    """The new and the old document as the functions receive them.

    Raises:
        Problem: 409, the draft does not follow a leaf.
    """
    stored = database.stored(draft.id, connection)
    tree = stored.tree if stored else {}
    if new_edits:
        parent = Transaction.parent_of(draft, tree)
        path = [revision_of(parent, draft.deleted, draft.body), *([parent] if parent else [])]
    else:
        path = draft.path or [draft.rev or "1-0"]
        parent = next((rev for rev in path[1:] if rev in tree), None)
    extra: dict[str, Any] = {"_revisions": revisions_member(path)}
    if draft.attachments:
        extra["_attachments"] = {
            item.name: {"content_type": item.content_type, "revpos": item.revpos or 1, "stub": True,
                        "digest": f"md5-{item.digest}", "length": item.length}
            for item in draft.attachments
        }  # fmt: skip
    new = document_text(draft.id, path[0], draft.text, deleted=draft.deleted, extra=extra)
    old = None
    # Seen with CouchDB 3.5: a replicated revision is compared with its own ancestor, even a deleted one, or with none;
    # an edit of a deleted document is compared with none.
    if stored is not None and parent is not None and not (new_edits and tree[parent].deleted):
        old = database.text(stored, parent, PLAIN, connection)
    return new, old
