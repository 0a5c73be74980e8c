"""Writes documents to CouchDB, each exactly once or not at all, and finds out which of the two happened.

An answer that was lost (a time limit, a connection reset, nonsense, a 5xx) says nothing of the write. The writer then
reads the leaves of the document and decides by what they prove (see `proof`): the write landed; or another one came
first, a conflict as any other; or neither yet: then the very same document is sent again, of which CouchDB can store
only one copy. With tokens a plain conflict is proved as well, since a proxy on the way may have sent a request twice
and given the second answer.

A refusal of a whole group is no answer to any of its documents either: CouchDB refuses it for one of them, while other
shards store theirs. What the revisions do not prove to be stored is then sent by itself, and gets an answer of its own.

In a cluster each copy of a document takes the write that reaches it first, whatever the others take. CouchDB then
answers 202 to a write that only a minority took. Such a write is settled before its caller hears of it: where another
leaf follows the same revision, this one is withdrawn, that is deleted, and its caller hears of a conflict. Two writers
who met there must not both withdraw: the document would be gone. So the leaf that wins over all others is not
withdrawn as long as another one may be: it is *yielded*: the best of the others is first written once more, over
itself. Once a revision follows it, its own writer cannot withdraw it any more.

Writes of one document never meet where they come from one process: they take turns.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cachetools import LRUCache

from ...couch import Access, BulkResult, Database, Leaf, WriteResult
from ...couch.bulk import failure
from ...couch.transport.bodies import is_related
from ...errors import (
    Conflict,
    CouchError,
    Forbidden,
    InvalidReply,
    InvalidSignature,
    NotFound,
    OutcomeUnknown,
    Refused,
    SecurityError,
    TornadoCouchError,
    Unauthorized,
    Unavailable,
)
from ...models import WRITE_PROPERTY, DocumentType
from ...revision import generation
from ..protection.signatures import FOREIGN_REVISIONS, Guard, replicated
from .contests import Contests
from .proof import Evidence, Standing, Verdict, is_beaten
from .tokens import history, marked, unmarked

__all__ = ["Retry", "Writer"]


_SPREAD = 8  # of 1, 4, 8 and 16 tried with 12 writers of one document, the least one with most writes a second


@dataclass(frozen=True)
class Retry:
    """Exponential backoff with full jitter: each delay is drawn from zero to a growing, capped bound.

    The jitter is full because writers that met in a conflict would meet again after equal delays.

    Attributes:
        attempts: how often a write is tried in all; at least 1.
        base: the bound of the first delay in seconds, or eight times what a try takes, if that is longer; it doubles
            with each further try. 0 never waits.
        cap: the highest bound of a delay, in seconds.
        patience: seconds to spend, after an answer was lost, on finding out about the write before it fails with
            `OutcomeUnknown`. An exchange that has begun may finish, within the client's time limits.
        random: returns numbers in [0, 1).
    """

    attempts: int = 20
    base: float = 0.01
    cap: float = 1.0
    patience: float = 5.0
    random: Callable[[], float] = random.random

    def __post_init__(self) -> None:
        if self.attempts < 1 or min(self.base, self.cap, self.patience) < 0:
            raise ValueError("Retry: attempts must be at least 1; base, cap and patience must be at least 0")

    def delay(self, failures: int, took: float = 0.0) -> float:
        """Seconds to wait before the next try.

        Args:
            failures: how many tries have failed, at least 1.
            took: seconds that the last of them took. Writers that met would meet again unless their delays are spread
                over several times as long as a write takes.
        """
        # The exponent is bounded because 2.0 ** 1024 overflows.
        bound = min(self.cap, max(self.base, _SPREAD * took) * 2.0 ** min(failures - 1, 60)) if self.base else 0.0
        return bound * self.random()


Document = dict[str, Any]

_RECODED = (
    "a document was stored with a file that CouchDB has compressed by itself, so that no read accepts it: take its type"
    " out of `attachments/compressible_types` in CouchDB's settings, and store the file again"
)

_AT_ONCE = 1000  # documents in one request to CouchDB

_ALONE_AT_ONCE = 16  # documents that each have a request of their own
# CouchDB says these before any shard is asked: who may not even read there has written nothing.
_BEFORE_ANYTHING = (Unauthorized, Forbidden, NotFound)


@dataclass
class _Write:
    """A document that is being written.

    Attributes:
        document: what is written; the same at each sending.
        outcome: the new revision, or why there is none; None while that is open.
        refused: what CouchDB said to it last, if it said no.
        lost: why the answer to some sending is not known, if it is not.
        sending: it is to be sent, again or for the first time.
        alone: it is to be sent by itself, since a group that it was in was answered as a whole.
        stored: the revision that CouchDB says it has, if that says nothing of the other copies (202).
        contest: where it stands as a leaf beside others.
        gone: it was withdrawn, and enough copies know it.
        withdrawing: its deletion was sent, so that some copy may have it, even where a read does not show it.
    """

    document: Mapping[str, Any]
    outcome: str | Exception | None = None
    refused: Refused | None = None
    lost: CouchError | None = None
    sending: bool = True
    alone: bool = False
    stored: str | None = None
    contest: Verdict | None = None
    gone: bool = False
    withdrawing: bool = False

    @property
    def merely_refused(self) -> bool:
        """Whether CouchDB refused it as a conflict, and never said or did anything else about it."""
        seen = self.stored, self.lost, self.contest
        return isinstance(self.refused, Conflict) and seen == (None, None, None) and not self.withdrawing

    @property
    def doubtful(self) -> bool:
        """Whether only the revisions can tell if the document was written."""
        return self.outcome is None and not self.sending

    def answered(self, answer: WriteResult | CouchError) -> None:
        """Record CouchDB's answer, or the lack of one."""
        self.sending, self.refused = False, None
        if isinstance(answer, WriteResult):
            self.outcome = None if answer.accepted else answer.rev
            self.stored = answer.rev if answer.accepted else None
        elif isinstance(answer, CouchError) and len(answer.in_doubt) > 1:
            self._lose(answer)
            # Without any answer it is an outage, in which groups do better.
            self.alone = not isinstance(answer, Unavailable) or answer.status is not None
        elif isinstance(answer, Refused):
            self.refused = answer
            if self.lost is None and not (isinstance(answer, Conflict) and WRITE_PROPERTY in self.document):
                self.outcome = answer
        elif isinstance(answer, Unavailable) and not answer.sent:
            # The request was never sent, so it counts for nothing.
            self.sending = self.lost is not None
            self.outcome = None if self.sending else answer
        else:
            self._lose(answer)

    def _lose(self, answer: CouchError) -> None:
        if self.lost is None or not isinstance(answer, _BEFORE_ANYTHING):
            self.lost = answer

    def judged(self, verdict: Verdict) -> None:
        """Record what the revisions prove."""
        standing = verdict.standing
        self.contest = None
        if standing is Standing.LANDED and (verdict.continued or not self.withdrawing):
            self.outcome = verdict.revision
        elif standing is Standing.LANDED:
            pass  # it is looked for until its deletion, or what others wrote over it, is seen
        elif standing is Standing.CONTESTED or (standing is Standing.WITHDRAWN and not self.gone):
            self.contest = verdict
        elif standing is Standing.UNKNOWN and self.lost is not None:
            self.given_up()
        elif standing is Standing.PENDING and self.lost is not None and not self._is_final():
            self.sending = True
        else:
            self.outcome = self.refused or Conflict(409, "conflict", "Document update conflict.")

    def barred(self, error: CouchError) -> None:
        """Take that the revisions cannot be read: as proof where the write was refused just like that."""
        if isinstance(error, _BEFORE_ANYTHING) and type(error) is type(self.lost):
            self.outcome = error

    def given_up(self, error: CouchError | None = None) -> None:
        """Stop with an unknown outcome."""
        unknown = OutcomeUnknown("the answer to a write was lost, and it is unknown whether the write was carried out")
        unknown.__cause__ = self.lost or error
        self.outcome = unknown

    def withdrawn(self) -> None:
        """Stop with a conflict: what was stored is deleted, and nobody can write over it any more."""
        self.outcome, self.contest = Conflict(409, "conflict", "Document update conflict."), None

    def _is_final(self) -> bool:
        # A copy that is still under way would be refused as well, unless the refusal was a conflict that is gone.
        return self.refused is not None and not isinstance(self.refused, Conflict)


_Send = Callable[[Sequence[Mapping[str, Any]]], Awaitable[list[WriteResult | CouchError]]]

_Put = Callable[[Mapping[str, Any]], Awaitable[WriteResult]]


class Writer:
    """Writes documents to one database, and finds out about the writes whose answers were lost.

    Args:
        database: where the documents are.
        access: reads and writes them.
        guard: signs and verifies what a contest is settled with, and says which revision was signed.
        retry: how long, how often and how far apart to try.
        sleep: waits between tries.
        tokens: put a token into each document that is given to `marked`; without tokens, bodies are compared.
        clock: returns seconds that never go back.
    """

    def __init__(
        self,
        database: Database,
        access: Access,
        guard: Guard,
        retry: Retry,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        *,
        tokens: bool = True,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database = database
        self._turns = database.server.turns
        self._guard = guard
        self._contests = Contests(database, access, guard)
        self._access = access
        self._retry = retry
        self._sleep = sleep
        self._tokens = self.leaves_tokens = tokens
        self._clock = clock
        self._observer = database.server.observer
        self._forked: LRUCache[str, None] = LRUCache(1000)

    def marked(self, document: Mapping[str, Any], *, new: bool = False) -> Document:
        """A copy of the document with a token; to be made before it is signed, once for each intended write.

        Args:
            document: the document to write or delete.
            new: whether the document is being created.
        """
        contended = self._database.server.contended
        return marked(document, new=new, contended=contended) if self._tokens else unmarked(document)

    async def put(self, document: Mapping[str, Any]) -> str:
        """Write one document as it is, over the revision that it names.

        Returns:
            The new revision, even if others have written over it meanwhile.

        Raises:
            Conflict: nothing was written: `_rev` is not the current revision, or the document exists already.
            OutcomeUnknown: the document may have been written.
            SecurityError: nothing was written: the server computes revisions otherwise than they are signed.
            CouchError: any other error; the document was not written.
            ValueError: this cannot be a document.
        """
        (outcome,) = await self._carried_out([document], self._sent_in_company)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    async def put_many(self, documents: Sequence[Mapping[str, Any]]) -> list[str | Exception]:
        """Write documents with as few requests as possible: for each its new revision, or the error of `put`."""
        return await self._carried_out(documents, self._sent_together)

    async def _carried_out(
        self,
        documents: Sequence[Mapping[str, Any]],
        send: _Send,
    ) -> list[str | Exception]:
        await self._database.server.recognize()
        # `_bulk_docs` takes files as text only.
        writes = [_Write(each, alone=is_related(each)) for each in documents]
        keys = [self._key(each) for each in dict.fromkeys(each["_id"] for each in documents)]
        if await self._turns.take(keys if len(keys) == 1 else sorted(keys), self._database.seconds):
            for write in writes:
                base = write.document.get("_rev")
                if base is not None and self._turns.spent(self._key(write.document["_id"]), base):
                    write.withdrawn()  # another write of this process has replaced it while this one waited
        try:
            await self._decide(writes, send)
            for write in writes:
                if isinstance(write.outcome, str):
                    self._turns.spend(self._key(write.document["_id"]), write.document.get("_rev"))
                    write.outcome = await self.confirmed(write.document, write.outcome)
        finally:
            self._turns.give_back(keys)
        return [each.outcome for each in writes if each.outcome is not None]

    def fork(self, document_id: str) -> None:
        """Take note that a document has several branches that others wrote on; see `forked`."""
        self._forked[document_id] = None

    def forked(self, document_id: str) -> bool:
        """Whether the last write of a document landed in one of several branches that others wrote on.

        Nobody else may have noticed, so whoever made that write has to merge them. It is said once.
        """
        return self._forked.pop(document_id, self) is None

    async def confirmed(self, document: Mapping[str, Any], revision: str) -> str | TornadoCouchError:
        """The revision that a document received; or, where it is not the one that was signed, an error.

        No read would accept such a document, so what was there before is put back.
        """
        if self._guard.fits(document, revision) or not self._guard.follows(document, revision):
            return await self._related(document, revision) if is_related(document) else revision
        try:
            await self._put_back({**document, "_rev": revision}, document.get("_rev"))
        except (CouchError, InvalidSignature) as error:
            unknown = OutcomeUnknown(f"a document was stored that no read accepts: {FOREIGN_REVISIONS}")
            unknown.__cause__ = error
            return unknown
        return SecurityError(f"nothing was written: {FOREIGN_REVISIONS}")

    async def _related(self, document: Mapping[str, Any], revision: str) -> str | TornadoCouchError:
        """The revision of a document with files, if CouchDB has stored these as they were sent."""
        try:
            found = await self._database.get(document["_id"], rev=revision)
        except CouchError:
            return revision  # others have written over it, or it cannot be looked at now
        stored = {name: each.get("digest") for name, each in found.get("_attachments", {}).items()}
        sent = {name: each.get("digest") for name, each in document["_attachments"].items()}
        return revision if stored == sent else OutcomeUnknown(_RECODED)

    async def _put_back(self, document: Document, base: str | None) -> None:
        """Undo a write that the server stored at another revision than the signed one."""
        earlier, path = None, [document["_rev"]]
        if base is not None:
            ((found,),) = await self._access.bulk_get([(document["_id"], base)], revs=True)
            if found.document is None:
                raise failure(found.error, found.reason)
            earlier = self._guard.verified(found.document)
            path += history(found.document)
        again = self._guard.put_back(document, earlier)
        if not document.get("_deleted"):
            await self._access.put_alone(again)
            return
        # CouchDB takes a revision upon a tombstone only in the way in which replication brings it.
        ids = [each.partition("-")[2] for each in path]
        for refused in await self._database.bulk_docs([replicated(again, {"ids": ids})], new_edits=False):
            raise failure(refused.error, refused.reason)

    @contextlib.asynccontextmanager
    async def turn(self, ids: Sequence[str]) -> AsyncIterator[None]:
        """Wait until nothing else of this process writes these documents, and keep it so meanwhile.

        Args:
            ids: the documents' ids, each once and sorted.

        Raises:
            TotalTimeout: that took longer than the client waits for anything.
        """
        keys = [self._key(each) for each in ids]
        await self._turns.take(keys, self._database.seconds)
        try:
            yield
        finally:
            self._turns.give_back(keys)

    def _key(self, document_id: str) -> tuple[str, str]:
        return self._database.name, document_id

    async def _decide(self, writes: Sequence[_Write], send: _Send) -> None:
        """Send documents, and find out about them, until each has an outcome."""
        failures, end = 0, None
        while any(each.outcome is None for each in writes):
            apart = await self._send(writes, send)
            end = end or self._clock() + self._retry.patience
            unproved = await self._prove([each for each in writes if each.doubtful])
            open_ = [each for each in writes if each.outcome is None]
            if not open_:
                break
            await self._settle(open_, failures)
            open_ = [each for each in open_ if each.outcome is None]
            if not open_:
                break
            if apart and all(each.sending for each in open_):
                continue  # nothing has failed yet but the group
            failures += 1
            if failures >= self._retry.attempts or self._clock() >= end:
                for write in open_:
                    write.given_up(unproved)
                break
            await self._sleep(self._retry.delay(failures))

    async def _settle(self, writes: Sequence[_Write], looks: int) -> None:
        """Do what there is to do about those that are contested; what came of it is seen at the next look."""
        for write in writes:
            if write.contest is not None:
                standing = await self._contests.settle(write.document, write.contest, looks)
                write.gone = standing is Standing.WITHDRAWN
                write.withdrawing |= standing in (Standing.WITHDRAWING, Standing.WITHDRAWN)
                if standing is Standing.LANDED:
                    write.outcome = write.contest.revision

    async def _send(self, writes: Sequence[_Write], send: _Send) -> bool:
        """Send what is to be sent; whether some of it has to be sent by itself from now on."""
        sending = [each for each in writes if each.sending and each.outcome is None]
        together = [each for each in sending if not each.alone]
        alone = [each for each in sending if each.alone]
        answers = await send([each.document for each in together]) if together else []
        answers += await self._sent_alone([each.document for each in alone])
        accepted = []
        for write, answer in zip([*together, *alone], answers, strict=True):
            write.answered(answer)
            if write.stored is not None:
                accepted.append((write.document, write.stored))
            if write.stored is not None:
                self._database.server.contended = True
            if write.stored is not None or isinstance(answer, Conflict):
                self._database.server.contest(write.document["_id"])
        await self._contests.spread(accepted)
        return any(each.alone for each in together)

    async def _prove(self, writes: Sequence[_Write]) -> CouchError | None:
        """Decide what the revisions prove, and return the error if they could not be read."""
        if not writes or (len(writes) == 1 and await self._is_beaten(writes[0])):
            return None
        ids = [str(each.document["_id"]) for each in writes]
        try:
            leaves = await self._leaves(ids)
            for id_, each in zip(ids, leaves, strict=True):
                await self._contests.prune(id_, each)
            proofs = [Evidence(each.document, found, each.stored) for each, found in zip(writes, leaves, strict=True)]
            unread = [(id_, each, revision) for id_, each in zip(ids, proofs, strict=True) for revision in each.unread]
            found = await self._access.bulk_get([(id_, revision) for id_, _, revision in unread]) if unread else []
        except CouchError as error:
            for write in writes:
                write.barred(error)
            return error
        for (_, evidence, _), bodies in zip(unread, found, strict=True):
            evidence.learn(bodies)
        for id_, write, evidence in zip(ids, writes, proofs, strict=True):
            verdict = evidence.verdict()
            write.judged(verdict)
            landed = verdict.standing is Standing.LANDED
            if verdict.others:
                self._database.server.contended = True
                if landed:
                    self.fork(id_)
            if landed or (write.lost is not None and verdict.standing is not Standing.UNKNOWN):
                self._observer.answer_proved(_kind(write.document), landed)
        return None

    async def _is_beaten(self, write: _Write) -> bool:
        """Look at the leaves of a document that may have many, without the long list of revisions of each."""
        if not self._database.server.contended or not write.merely_refused:
            return False
        with contextlib.suppress(CouchError):  # the next look meets it again
            (leaves,) = await self._access.bulk_get([str(write.document["_id"])])
            if is_beaten(write.document, leaves) and not self._contests.has_many(leaves):
                write.judged(Verdict(Standing.BEATEN))
        return not write.doubtful

    async def _leaves(self, ids: Sequence[str]) -> list[list[Leaf]]:
        if len(ids) == 1:
            return [await self._access.leaves(ids[0], revs=True, every=True)]  # this read may be grouped with others
        return await self._access.bulk_get(ids, revs=True)

    async def _sent_in_company(self, documents: Sequence[Mapping[str, Any]]) -> list[WriteResult | CouchError]:
        return [await self._sent(self._access.put, each) for each in documents]

    async def _sent_alone(self, documents: Sequence[Mapping[str, Any]]) -> list[WriteResult | CouchError]:
        answers: list[WriteResult | CouchError] = []
        for start in range(0, len(documents), _ALONE_AT_ONCE):
            part = documents[start : start + _ALONE_AT_ONCE]
            answers += await asyncio.gather(*(self._sent(self._access.put_alone, each) for each in part))
        return answers

    async def _sent(self, put: _Put, document: Mapping[str, Any]) -> WriteResult | CouchError:
        try:
            result = await put(document)
        except CouchError as error:
            return error
        return result if _fits(document, result) else InvalidReply("PUT: the answer belongs to another request")

    async def _sent_together(self, documents: Sequence[Mapping[str, Any]]) -> list[WriteResult | CouchError]:
        answers: dict[int, WriteResult | CouchError] = {}
        for places in self._parts(documents):
            try:
                found = await self._access.bulk_docs([documents[place] for place in places])
                answers.update((place, _judged(each)) for place, each in zip(places, found, strict=True))
            except CouchError as error:
                answers.update(dict.fromkeys(places, error))
        return [answers[place] for place in range(len(documents))]

    def _parts(self, documents: Sequence[Mapping[str, Any]]) -> Iterator[list[int]]:
        """The documents that leave together, by their places: those that prefer one node, and not too many."""
        parts: dict[int, list[int]] = {}
        for place, each in enumerate(documents):
            parts.setdefault(self._database.server.place(str(each["_id"])), []).append(place)
        for part in parts.values():
            for start in range(0, len(part), _AT_ONCE):
                yield part[start : start + _AT_ONCE]


def _judged(result: BulkResult) -> WriteResult | CouchError:
    if result.rev is None:
        return failure(result.error, result.reason)
    return WriteResult(result.id, result.rev, result.accepted)


def _fits(document: Mapping[str, Any], result: WriteResult) -> bool:
    """Whether an answer can belong to this document; a connection out of step returns another request's."""
    base = document.get("_rev")
    return result.id == document["_id"] and (base is None or generation(result.rev) == generation(base) + 1)


def _kind(document: Mapping[str, Any]) -> str:
    found = DocumentType.parse(document.get("type"))
    return found.name if found else ""
