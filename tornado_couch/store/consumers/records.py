"""What consumers keep in the database that they follow: where they are, and the changes that they have set aside.

Places are `_local` documents. They belong to this database alone, are not part of its changes, and replication does
not copy them: a place says nothing about another copy of the database. Changes that were set aside are ordinary
documents, signed as all others are; each names a document and holds nothing of its contents.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from ...couch import Database
from ...errors import Conflict, DocumentNotFound, InvalidDocument, NotFound, SecurityError, StoreError
from ...models import Model, UpdatedOn, assigned, utc_now
from ..store import Store

__all__ = ["Beginning", "FailedChange", "Reached", "Records", "check_name", "consumers_of", "local_document"]

_LOCAL = "_local/tornado_couch_consumer_"
_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,62}[a-z0-9])?")
_PLACE = re.compile(rf"{_LOCAL}({_NAME.pattern})_(\d+)_of_(\d+)")
_LAST = "\ufff0"  # greater than every text that an id can go on with


def check_name(name: str) -> str:
    """Return the name of a consumer if it can be one.

    Raises:
        ValueError: it cannot.
    """
    if not _NAME.fullmatch(name):
        raise ValueError("a consumer's name has up to 64 lower-case letters, digits and hyphens, such as new-orders")
    return name


class FailedChange(Model, type="tornado_couch_failed_v1.0", key="name", unique=True):
    """A change that a consumer has set aside, since it could not be handled.

    Attributes:
        name: the consumer and the id of the document.
        consumer: the name of the consumer.
        document_id: the id of the document that changed.
        key: the document's key as a text, if it is known.
        attempts: how often the consumer has tried in vain.
        error: the class of the last exception; its message is not kept, since it may have contents of the document.
        replay: whether the consumer is asked to try again.
        failed_on: when it was set aside, or asked to try again.
    """

    name: str
    consumer: str
    document_id: str
    key: str | None = None
    attempts: int = 0
    error: str = ""
    replay: bool = False
    failed_on: UpdatedOn = assigned()


@dataclass(frozen=True)
class Beginning:
    """Where a consumer began, or was told to begin again.

    Attributes:
        token: distinguishes this beginning from others; a place counts only with the token of the current one.
        since: where to begin, as `Store.changes` takes it.
        partitions: how many partitions the consumer has; None if the first process to come decides.
    """

    token: str
    since: str
    partitions: int | None


@dataclass(frozen=True)
class Reached:
    """How far a partition has come.

    Attributes:
        token: that of the beginning.
        place: where it goes on.
    """

    token: str
    place: str


class Records:
    """What one consumer keeps in its database.

    Args:
        store: reads and writes the changes that are set aside.
        name: the consumer's name.
    """

    def __init__(self, store: Store, name: str) -> None:
        self._store = store
        self._database = store.database
        self.name = check_name(name)
        self.prefix = f"tornado_couch_failed:{name}:"

    async def beginning(self) -> Beginning | None:
        """Return where the consumer began; None if it never has."""
        found = await local_document(self._database, self._id())
        return Beginning(found["token"], found["since"], found["partitions"]) if found else None

    async def begin(self, since: str, partitions: int | None, token: str | None = None) -> Beginning:
        """Let the consumer begin again, whatever place it has reached.

        Args:
            since: where.
            partitions: how many partitions it has from now on; None if the next process to come decides.
            token: the token of a beginning that only gets to know its partitions.
        """
        found = Beginning(token or secrets.token_hex(8), since, partitions)
        await self._put(self._id(), token=found.token, since=since, partitions=partitions)
        return found

    async def reached(self, number: int, partitions: int) -> Reached | None:
        """Return how far a partition has come; None if it has never kept a place."""
        found = await local_document(self._database, self._id(number, partitions))
        return Reached(found["token"], found["place"]) if found else None

    async def reach(self, number: int, partitions: int, reached: Reached) -> None:
        """Keep the place of a partition."""
        kept = {"token": reached.token, "place": reached.place, "kept_on": utc_now().isoformat()}
        await self._put(self._id(number, partitions), **kept)

    async def failed(self, limit: int = 100_000) -> list[str]:
        """Return the ids of the documents whose changes are set aside."""
        return list(await self.revisions(limit))

    async def revisions(self, limit: int = 100_000) -> dict[str, str]:
        """Return the same, each with the revision of what is kept of it."""
        found = await self._database.all_docs(startkey=self.prefix, endkey=self.prefix + _LAST, limit=limit)
        return {str(each.id).removeprefix(self.prefix): str(each.value["rev"]) for each in found.rows}

    async def failures(self, document_ids: Iterable[str] | None = None) -> list[FailedChange]:
        """Return the changes that are set aside: those of some documents, or all."""
        found = []
        for each in await self.failed() if document_ids is None else document_ids:
            try:
                found.append(await self._store.get(FailedChange, self._key(each), fresh=True))
            except DocumentNotFound:
                continue  # somebody has dropped it just now
            except (InvalidDocument, SecurityError):  # it can be dropped, and holds up nothing
                found.append(FailedChange(
                    name=self._key(each), consumer=self.name, document_id=each, error="unreadable"
                ))  # fmt: skip
        return found

    async def set_aside(self, document_id: str, key: str | None, attempts: int, error: str) -> None:
        """Keep a change that could not be handled, or count the attempts at one that is kept already."""
        name = self._key(document_id)

        def again(kept: FailedChange) -> None:
            kept.attempts, kept.error, kept.replay = kept.attempts + attempts, error, False

        try:
            await self._store.update(FailedChange, name, again)
        except DocumentNotFound:
            record = FailedChange(
                name=name, consumer=self.name, document_id=document_id, key=key, attempts=attempts, error=error
            )
            await self._store.create(record)

    async def replay(self, document_ids: Iterable[str]) -> int:
        """Ask the consumer to handle changes that it has set aside; return how many there were."""

        def ask(kept: FailedChange) -> None:
            kept.replay = True

        count = 0
        for each in document_ids:
            try:
                await self._store.update(FailedChange, self._key(each), ask)
                count += 1
            except DocumentNotFound:
                continue
        return count

    async def drop(self, document_ids: Iterable[str]) -> int:
        """Forget changes that were set aside; return how many there were."""
        count = 0
        for each in document_ids:
            try:
                await self._store.delete(FailedChange, self._key(each))
                count += 1
            except DocumentNotFound:
                continue
            except (InvalidDocument, SecurityError):
                unreadable = f"{self.prefix}{each}"
                await self._database.delete(unreadable, (await self._database.get(unreadable))["_rev"])
                count += 1
        return count

    def _key(self, document_id: str) -> str:
        return f"{self.name}:{document_id}"

    def _id(self, number: int | None = None, partitions: int = 0) -> str:
        return f"{_LOCAL}{self.name}" + ("" if number is None else f"_{number}_of_{partitions}")

    async def _put(self, document_id: str, **members: Any) -> None:
        found = await local_document(self._database, document_id)
        try:
            await self._database.put({**found, **members, "_id": document_id})
        except Conflict as error:  # CouchDB 3.5 accepts any write of such a document; others may not
            raise StoreError(f"another process has written the place of the consumer {self.name}") from error


async def local_document(database: Database, document_id: str) -> dict[str, Any]:
    """Return a `_local` document; an empty one if it is not there."""
    try:
        return await database.get(document_id)
    except NotFound as missing:
        if missing.reason not in ("missing", "deleted"):
            raise
        return {}


async def consumers_of(database: Database) -> list[dict[str, Any]]:
    """Return what each partition of each consumer of a database has kept: name, partition, partitions, place, time."""
    listed = await database.local_docs(startkey=_LOCAL, endkey=f"{_LOCAL}{_LAST}")
    found = []
    for row in listed.rows:
        match = _PLACE.fullmatch(str(row.id))
        kept = await local_document(database, str(row.id)) if match else {}
        if match and all(isinstance(kept.get(each), str) for each in ("token", "place", "kept_on")):
            number, partitions = int(match[2]), int(match[3])
            found.append({"name": match[1], "partition": number, "partitions": partitions, **kept})
    return sorted(found, key=lambda each: (each["name"], each["partitions"], each["partition"]))
