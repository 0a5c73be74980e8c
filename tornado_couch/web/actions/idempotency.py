"""Idempotency-Key: a POST that is sent again creates nothing again (draft-ietf-httpapi-idempotency-key-header).

No second store is needed. A secret is derived from the caller's name, the collection's path and the key, and the
id of the new document from the secret; the document keeps a fingerprint of the request's body, made with
the same secret. So CouchDB itself refuses a second document, from whatever process, and the fingerprint
is replicated with the document. If the document has another id, since that follows from its own key (`unique`) or
since it takes the place of a deleted one (`soft_delete`), a small document with the derived id, without any of the
body, holds the fingerprint.

- A request that is sent again with the same body is answered 201 with the document *as it is now*, so that the
  entity tag is good for the next write. The hook after a read is called, not the one before a creation.
- If the document was deleted in the meantime, the answer is 410: 201 would not be true, and the document must not
  come back.
- Each caller has keys of its own: two principals can use equal keys. All anonymous callers
  share theirs, as they share everything.
- An action on a document notes its key in the document itself, by the write that carries it out; see `marked`.
- With `cookie_secret` (or the resource's `cursor_key`), nobody else can derive the id from a key, or find out from
  the database what the body was, which may hold a password. Without either, the secret is only as good as the keys
  are hard to guess: clients should send random ones, such as UUIDs. Changing the secret forgets the keys.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import re
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ...errors import Conflict, DocumentExists, DocumentNotFound, InvalidDocument, NotFound, TornadoCouchError
from ...models import is_deleted
from ..problems import Problem

if TYPE_CHECKING:
    from ..handler import ResourceHandler
    from .create import CreateMixin

__all__ = ["PROPERTY", "Mark", "Once", "OnceMany", "idempotency_key", "marked", "noted", "refuse_key", "refuse_other"]

logger = logging.getLogger("tornado_couch.web")

PROPERTY = "tornado_couch:idempotency"
"""The member of a stored document that holds the fingerprint; it is not a property of a model, so it is never shown."""

_RESERVATION = "idempotency_v1.0"
_LONGEST = 255
_REMEMBERED = 16  # keys of actions that a document remembers
_REMEMBERED_SECONDS = 24 * 3600
_MARKS = "tornado_couch:action:"  # how the members of a stored document begin that each remember one of them

# RFC 8941 §3.3.3: a string of printable ASCII. Many clients send the key bare, without quotes.
_KEY = re.compile(r'(?:"(?P<string>(?:[\x20\x21\x23-\x5b\x5d-\x7e]|\\["\\])*)"|(?P<bare>[!#-+\--:<-\[\]-~]+))')


def idempotency_key(headers: Mapping[str, str]) -> str | None:
    """Return the key of a request; None if the request has none.

    Raises:
        Problem: 400 when the field is not one string of 1 to 255 characters.
    """
    field = headers.get("Idempotency-Key")
    if field is None:
        return None
    match = _KEY.fullmatch(field.strip(" \t"))
    text = "" if match is None else match["bare"] or re.sub(r"\\(.)", r"\1", match["string"])
    if not 0 < len(text) <= _LONGEST:
        detail = f'The field must be a string of 1 to {_LONGEST} characters, such as "8e03978e-40d5-43dd".'
        raise Problem.of("malformed-idempotency-key", f"Idempotency-Key: {detail}")
    return text


def refuse_key(headers: Mapping[str, str]) -> None:
    """Refuse a key on a request for many documents.

    Raises:
        Problem: 400.
    """
    if "Idempotency-Key" in headers:
        detail = "A key is for one document: its id follows from it. Send documents one by one, or without a key."
        raise Problem.of("idempotency-key-for-many", f"Idempotency-Key: {detail}")


@dataclass(frozen=True)
class Mark:
    """What follows from a key and a body.

    Attributes:
        id: the document id that follows from the key.
        fingerprint: a fingerprint of the body; another body under the same key has a different one.
    """

    id: str
    fingerprint: str

    @classmethod
    def of(cls, secret: bytes, scope: object, key: str, body: Any) -> Mark:
        """Return the mark of a request.

        Args:
            secret: the service's secret; may be empty.
            scope: who sent the key, and to which collection.
            key: the client's.
            body: the JSON value of the request.
        """
        own = _hmac(secret, b"tornado_couch idempotency v1", _canonical([scope, key]))
        return cls(_hmac(own, b"id", b"").hex()[:32], _hmac(own, b"body", _canonical(body)).hex())


class Once:
    """Creates a document once for each key.

    Args:
        handler: the handler of the request.
    """

    def __init__(self, handler: CreateMixin) -> None:
        self._handler = handler
        self._resource = handler.resource

    async def create(self, key: str, body: Any, files: Any = None) -> tuple[Any, bool]:
        """Create the document that a body describes, or find the one that it made before.

        Args:
            key: the client's.
            body: the JSON value of the request.
            files: what tells the files of the request from others, if it has files.

        Returns:
            The model, and whether it was there already.

        Raises:
            Problem: 409, the first request is still running; 410, the document was deleted since;
                422, the key was used with another body.
            ValidationFailed, DocumentExists: as without a key.
        """
        handler = self._handler
        valid = await handler.valid("create", body)
        name = handler.principal.name if handler.principal else None
        said = body if files is None else [body, files]
        mark = Mark.of(self._resource.secret(handler.settings), [name, self._resource.path], key, said)
        with self._claimed(mark):
            earlier = await self._earlier(mark, valid)
            if earlier is None:
                try:
                    return await self._create_marked(mark, valid), False
                except DocumentExists:
                    # Another process may have been faster with the same request.
                    earlier = await self._earlier(mark, valid) or await self._in_place_of_another(mark, valid)
                    if earlier is None:
                        raise
            await handler.authorize("create", earlier)  # the document may have become invisible to this caller
            return earlier, True

    @contextmanager
    def _claimed(self, mark: Mark) -> Iterator[None]:
        """Refuse a second request with this key while the first runs here; between processes, CouchDB decides.

        Raises:
            Problem: 409.
        """
        running: set[str] = self._handler.settings.setdefault("_tornado_couch_running", set())
        if mark.id in running:
            detail = "The first request with this Idempotency-Key is still running. Send it again later."
            raise Problem.of("idempotent-request-running", detail, headers={"Retry-After": "1"})
        running.add(mark.id)
        try:
            yield
        finally:
            running.discard(mark.id)

    async def _create_marked(self, mark: Mark, valid: dict[str, Any]) -> Any:
        handler = self._handler
        model = await handler.referring(await handler.admitted(handler.new_model(valid)))
        if self._resource.info.unique or await self._is_deleted(model._key):
            await self._reserve(mark)
        else:
            model._id = mark.id
        model._stored = {**model._stored, PROPERTY: mark.fingerprint}
        return await handler.perform_create(model)

    @property
    def _takes_places(self) -> bool:
        """Whether a new document can take the place, and the id, of a deleted one that only a view knows."""
        info = self._resource.info
        return info.soft_delete and not info.unique and info.key is not None and not info.key.generated

    async def _is_deleted(self, key: Any) -> bool:
        """Whether a new document with this key takes the place of a deleted one."""
        if not self._takes_places:
            return False
        try:
            await self._resource.store.get(self._resource.model, key, deleted=True)
        except DocumentNotFound:
            return False
        except InvalidDocument:
            pass  # its place is taken all the same
        return True

    async def _in_place_of_another(self, mark: Mark, valid: dict[str, Any]) -> Any:
        """Return the model that the key has made in the place of a deleted one; None if it has made none.

        Raises:
            Problem: 410.
        """
        return await self._kept(self._handler.new_model(valid)._key, mark) if self._takes_places else None

    async def _reserve(self, mark: Mark) -> None:
        """Store the fact that the key is used, if the document's id does not follow from it."""
        reservation = {"_id": mark.id, "type": _RESERVATION, PROPERTY: mark.fingerprint}
        try:
            await self._resource.store.store_new(reservation)
        except Conflict:
            _refuse_other(await self._document(mark.id) or {}, mark)

    async def _earlier(self, mark: Mark, valid: dict[str, Any]) -> Any:
        """Return the model that the key has already made; None if it has made none.

        Raises:
            Problem: 410, 422.
        """
        info = self._resource.info
        if info.history and not info.unique:
            return await self._kept(mark.id, mark)
        document = await self._document(mark.id)
        if document is None:
            return None
        _refuse_other(document, mark)
        if self._takes_places and document.get("type") == _RESERVATION:
            return await self._in_place_of_another(mark, valid)
        if info.unique:  # the document was the reservation
            key = self._handler.new_model(valid)._key
            if info.history:
                return await self._kept(key, mark)
            document = await self._document(info.document_id(key) or "")
            if document is None or document.get(PROPERTY) != mark.fingerprint:
                return None  # nothing is stored yet, or the document is another request's
        if is_deleted(info, document):
            raise _gone()
        return await self._resource.store.load(self._resource.model, document)

    async def _kept(self, key: Any, mark: Mark) -> Any:
        """Return the model with a key, or its latest version, if it bears the mark; None if there is no such model.

        Raises:
            Problem: 410, 422.
        """
        try:
            latest = await self._resource.store.get(self._resource.model, key, deleted=None)
        except DocumentNotFound:
            return None
        if key == mark.id:
            _refuse_other(latest._stored, mark)
        elif latest._stored.get(PROPERTY) != mark.fingerprint:
            return None
        if is_deleted(self._resource.info, latest._stored):
            raise _gone()
        return latest

    async def _document(self, document_id: str) -> dict[str, Any] | None:
        """Return the document; None if it never existed.

        Raises:
            Problem: 410.
        """
        try:
            return await self._resource.store.stored(document_id)
        except NotFound as error:
            if error.reason == "missing":
                return None
            if error.reason != "deleted":
                raise
            raise _gone() from None


class OnceMany:
    """Changes many documents once for each key, and keeps the answer.

    A small document says that the key is used before anything is changed, and another one holds the answer afterwards.
    Where a request was cut off in between, what it did is not known: the key stays used, without an answer. So it does
    where the answer cannot be kept, although the first request gets it.

    Args:
        handler: the handler of the request.
        work: what is done; by default the name of the HTTP method.
    """

    def __init__(self, handler: ResourceHandler, work: str = "") -> None:
        self._handler = handler
        self._store = handler.resource.store
        self._work = work or handler.request.method

    async def answer(
        self, key: str, body: Any, work: Callable[[], Awaitable[dict[str, Any]]]
    ) -> tuple[dict[str, Any], bool]:
        """Do the work, or find the answer that it had.

        Args:
            key: the client's.
            body: what the client asks for.
            work: does it, and returns the answer.

        Returns:
            The answer, and whether it was there already.

        Raises:
            Problem: 409, the first request has no answer yet; 422, the key was used for another request.
        """
        handler = self._handler
        name = handler.principal.name if handler.principal else None
        scope = [name, handler.resource.path, self._work]
        secret = handler.resource.secret(handler.settings)
        mark, kept = Mark.of(secret, scope, key, body), Mark.of(secret, [*scope, "answer"], key, body)
        try:
            await self._store.store_new({"_id": mark.id, "type": _RESERVATION, PROPERTY: mark.fingerprint})
        except Conflict:
            _refuse_other(await self._store.stored(mark.id), mark)
            return await self._kept(kept), True
        found = await work()
        # Without the documents, which may hold what only their own protection may store.
        bare = dict(found)
        if "items" in found:
            bare["items"] = [{name: each[name] for name in each if name != "document"} for each in found["items"]]
        try:
            await self._store.store_new({"_id": kept.id, "type": _RESERVATION, "answer": bare})
        except TornadoCouchError:
            # The work is done, and an error would deny it. Whoever asks again is told to look.
            logger.warning("the answer to a request with an Idempotency-Key could not be kept", exc_info=True)
        return found, False

    async def _kept(self, kept: Mark) -> dict[str, Any]:
        try:
            answer: dict[str, Any] = (await self._store.stored(kept.id))["answer"]
        except NotFound as error:
            if error.reason not in ("missing", "deleted"):
                raise
            detail = "The first request with this key is still running, or was cut off. Look at the documents."
            raise Problem.of("idempotent-request-running", detail, headers={"Retry-After": "1"}) from None
        return answer


def noted(stored: Mapping[str, Any], mark: Mark) -> list[Any] | None:
    """Return what an action with this mark has noted in a stored document; None if none has.

    That is the time, the fingerprint and, if it was kept, the answer.
    """
    found = stored.get(_member(mark))
    return None if _moment(found) is None else found


def marked(stored: Mapping[str, Any], mark: Mark, kept: list[Any]) -> dict[str, Any]:
    """Return what is stored of a document, with the mark of one more action, and without those that are old.

    Each is a member of its own, so that those of two copies are merged like any properties that the model does not
    know: all of them are kept.

    Args:
        stored: the document as it was stored.
        mark: the mark of the action.
        kept: the answer, if it is to be kept.
    """
    now = int(time.time())
    marks = {name: each for name, each in stored.items() if name.startswith(_MARKS) and _moment(each) is not None}
    recent = [name for name, each in marks.items() if (_moment(each) or 0) > now - _REMEMBERED_SECONDS]
    newest = sorted(recent, key=lambda name: _moment(marks[name]) or 0)[1 - _REMEMBERED :]
    others = {name: each for name, each in stored.items() if not name.startswith(_MARKS) or name in newest}
    return {**others, _member(mark): [now, mark.fingerprint, *kept]}


def _member(mark: Mark) -> str:
    return f"{_MARKS}{mark.id[:16]}"


def _moment(mark: Any) -> int | None:
    return mark[0] if isinstance(mark, list) and len(mark) > 1 and isinstance(mark[0], int) else None


def _gone() -> Problem:
    detail = "The document that was created with this Idempotency-Key has been deleted since."
    return Problem.of("idempotent-result-gone", detail)


def _refuse_other(document: dict[str, Any], mark: Mark) -> None:
    refuse_other(str(document.get(PROPERTY)), mark)


def refuse_other(fingerprint: str, mark: Mark) -> None:
    """Refuse a request whose key was used with another body.

    Raises:
        Problem: 422.
    """
    if not hmac.compare_digest(fingerprint, mark.fingerprint):
        detail = "This Idempotency-Key was used for another request. A new request needs a new key."
        raise Problem.of("idempotency-key-reused", detail)


def _hmac(key: bytes, purpose: bytes, message: bytes) -> bytes:
    return hmac.new(key, purpose + b"\0" + message, hashlib.sha256).digest()


def _canonical(value: Any) -> bytes:
    """Return the same text for equal JSON values, whatever the order of their members."""
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode("ascii")
