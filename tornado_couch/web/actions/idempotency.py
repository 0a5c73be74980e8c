"""Idempotency-Key: a POST that is sent again creates nothing again (draft-ietf-httpapi-idempotency-key-header).

There is no second store. The caller's name, the collection's path and the key decide a secret, and
that the id of the new document; in the document stays a fingerprint of the request's body, made with
the same secret. So CouchDB itself refuses a second document, from whatever process, and what is
remembered lives and is replicated with the document. Where the id is a function of the document's own
key (`unique`), a small document of the derived id, without any of the body, holds the fingerprint.

- Sent again with the same body: 201 with the document *as it is now*, so that the entity tag is good for
  the next write. No hook before a creation is called; that after a reading is.
- Deleted meanwhile: 410. Neither is 201 true then, nor may the document come back.
- The key is the caller's own: another principal's equal key is another key. All anonymous callers
  share theirs, as they share everything.
- With `cookie_secret` (or the resource's `cursor_key`) nobody without it can tell from a key what id it
  makes, nor from the database what the body was: a body may hold a password. Without either the
  secret is as good as the keys are hard to guess: a client should send random ones, as a UUID is.
  Changing the secret forgets the keys.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ...errors import Conflict, DocumentExists, DocumentNotFound, NotFound
from ...models import is_deleted
from ..problems import Problem

if TYPE_CHECKING:
    from .create import CreateMixin

__all__ = ["PROPERTY", "Mark", "Once", "idempotency_key", "refuse_key"]

PROPERTY = "tornado_couch:idempotency"
"""The member of a stored document that holds the fingerprint; no model's property, so never shown."""

_LONGEST = 255

# RFC 8941 §3.3.3: a string of printable ASCII. Many clients send the key bare, without quotes.
_KEY = re.compile(r'(?:"(?P<string>(?:[\x20\x21\x23-\x5b\x5d-\x7e]|\\["\\])*)"|(?P<bare>[!#-+\--:<-\[\]-~]+))')


def idempotency_key(headers: Mapping[str, str]) -> str | None:
    """The key of a request; None where it has none.

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
    """What a key and a body decide.

    Attributes:
        id: the document id that the key decides.
        fingerprint: of the body; another body under the same key has another.
    """

    id: str
    fingerprint: str

    @classmethod
    def of(cls, secret: bytes, scope: object, key: str, body: Any) -> Mark:
        """The mark of a request.

        Args:
            secret: of the service; may be empty.
            scope: whose key it is, and for what.
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

    async def create(self, key: str, body: Any) -> tuple[Any, bool]:
        """Create the document that a body describes, or find the one that it made before.

        Args:
            key: the client's.
            body: the JSON value of the request.

        Returns:
            The model, and whether it was there already.

        Raises:
            Problem: 409, the first request is still running; 410, the document was deleted since;
                422, the key was used with another body.
            ValidationFailed, DocumentExists: as without a key.
        """
        handler = self._handler
        valid = handler.validated("create", body)
        name = handler.principal.name if handler.principal else None
        mark = Mark.of(self._resource.secret(handler.settings), [name, self._resource.path], key, body)
        with self._claimed(mark):
            earlier = await self._earlier(mark, valid)
            if earlier is None:
                try:
                    return await self._create_marked(mark, valid), False
                except DocumentExists:
                    # Another process may have been faster with the same request.
                    earlier = await self._earlier(mark, valid)
                    if earlier is None:
                        raise
            await handler.authorize("create", earlier)  # as it is now it may be nothing for this caller
            return earlier, True

    @contextmanager
    def _claimed(self, mark: Mark) -> Iterator[None]:
        """Let no second request with this key run in this process; between processes, CouchDB decides.

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
        model = await handler.admitted(handler.new_model(valid))
        if self._resource.info.unique:
            await self._reserve(mark)
        else:
            model._id = mark.id
        model._stored = {**model._stored, PROPERTY: mark.fingerprint}
        return await handler.perform_create(model)

    async def _reserve(self, mark: Mark) -> None:
        """Write down that the key is used, where it does not decide the document's id."""
        reservation = {"_id": mark.id, "type": "idempotency_v1.0", PROPERTY: mark.fingerprint}
        try:
            await self._resource.store.store_new(reservation)
        except Conflict:
            _refuse_other(await self._document(mark.id) or {}, mark)

    async def _earlier(self, mark: Mark, valid: dict[str, Any]) -> Any:
        """The model that the key made already; None if it made none.

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
        if info.unique:  # that was the reservation
            key = self._handler.new_model(valid)._key
            if info.history:
                return await self._kept(key, mark)
            document = await self._document(info.document_id(key) or "")
            if document is None or document.get(PROPERTY) != mark.fingerprint:
                return None  # nothing yet, or somebody else's
        if is_deleted(info, document):
            raise _gone()
        return await self._resource.store.load(self._resource.model, document)

    async def _kept(self, key: Any, mark: Mark) -> Any:
        """The model whose versions bear the mark, which each takes over from the one before; None if there is none.

        Raises:
            Problem: 410, 422.
        """
        try:
            latest = await self._resource.store.get(self._resource.model, key, deleted=None)
        except DocumentNotFound:
            return None
        if not self._resource.info.unique:
            _refuse_other(latest._stored, mark)
        elif latest._stored.get(PROPERTY) != mark.fingerprint:
            return None
        if is_deleted(self._resource.info, latest._stored):
            raise _gone()
        return latest

    async def _document(self, document_id: str) -> dict[str, Any] | None:
        """The document; None if there never was one.

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


def _gone() -> Problem:
    detail = "The document that was created with this Idempotency-Key has been deleted since."
    return Problem.of("idempotent-result-gone", detail)


def _refuse_other(document: dict[str, Any], mark: Mark) -> None:
    if not hmac.compare_digest(str(document.get(PROPERTY)), mark.fingerprint):
        detail = "This Idempotency-Key was used with another body. A new request needs a new key."
        raise Problem.of("idempotency-key-reused", detail)


def _hmac(key: bytes, purpose: bytes, message: bytes) -> bytes:
    return hmac.new(key, purpose + b"\0" + message, hashlib.sha256).digest()


def _canonical(value: Any) -> bytes:
    """One text for one JSON value, whatever the order of its members."""
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode("ascii")
