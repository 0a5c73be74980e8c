"""The actions on a collection and on a document. Each has a `perform_…` hook that does the work."""

from __future__ import annotations

import unicodedata
from typing import Any

from ..errors import DocumentExists, DocumentNotFound, RevisionMismatch, ValidationFailed
from ..models import Model, ModelInfo, replaced, validated
from ..store import Change, Expectation
from .handlers import ResourceHandler
from .problems import Problem

__all__ = ["CreateMixin", "DestroyMixin", "ReplaceMixin", "RetrieveMixin"]


def check_key(info: ModelInfo, key: Any) -> None:
    """Refuse a client's key that could not name a document in a URL or in CouchDB.

    Raises:
        ValidationFailed: it is empty, a dot segment (RFC 3986 §3.3), which clients resolve, or has
            control characters; or it is an id with a leading underscore, which are CouchDB's own.
    """
    if key is None:
        return  # one will be given
    text = info.key_text(key)
    reserved = info.key is None and text.startswith("_")
    if text in ("", ".", "..") or reserved or any(unicodedata.category(each) == "Cc" for each in text):
        detail = "A key cannot be empty, `.`, `..`, begin with an underscore as an id, or have control characters."
        pointer = f"/{info.key.name}" if info.key else ""
        raise ValidationFailed([{"pointer": pointer, "keyword": "key", "detail": detail}])


class CreateMixin(ResourceHandler):
    """POST to a collection: a new document."""

    async def create(self) -> None:
        """Create it; 201 with Location."""
        body = await self.read_body("create")
        model = validated(self.resource.model, {**body, **self.get_initial()})
        check_key(self.resource.info, model._key)
        created = await self.perform_create(model)
        self.set_header("Location", self.resource.href(created._key))
        self.answer_document(created, 201)

    def get_initial(self) -> dict[str, Any]:
        """Values that the service gives to a new document, by name in JSON: read-only properties, say."""
        return {}

    async def perform_create(self, model: Any) -> Any:
        """Store the new model; what is returned is shown to the client."""
        return await self.resource.store.create(model)


class RetrieveMixin(ResourceHandler):
    """GET of a document."""

    async def retrieve(self, key: Any) -> None:
        """Answer with the document, or 304."""
        self.preconditions()  # a malformed one is 400 whether or not the document is there
        model = await self.perform_retrieve(key)
        if not self.answered_from_cache(model._rev):
            self.answer_document(model)

    async def perform_retrieve(self, key: Any) -> Any:
        """Find the model."""
        return await self.resource.store.get(self.resource.model, key)


class WriteMixin(ResourceHandler):
    """What the writes to one document share."""

    def expectation(self) -> Expectation | None:
        """Which revision the client means the write for.

        Raises:
            Problem: 400 when an entity tag list is malformed; 428 when the revision must be named
                and is not: only once the document is found, since 404 comes first.
        """
        preconditions = self.preconditions()
        if self.resource.require_if_match and preconditions.if_match is None:
            return _refuse_without_if_match
        return preconditions.expectation()

    def missing(self) -> Exception:
        """The error for a document that is not there."""
        if self.preconditions().if_match is not None:
            return RevisionMismatch("there is no such document", None)  # RFC 9110 §13.1.1
        return DocumentNotFound("there is no such document")


def _refuse_without_if_match(_: str) -> bool:
    raise Problem(428, "if-match-required", "Say in If-Match which revision the change is meant for.")


class ReplaceMixin(WriteMixin):
    """PUT to a document: replace it, or create it where the resource allows that."""

    async def replace(self, key: Any) -> None:
        """Replace the document."""
        body = await self.read_body("replace")
        self._check_key_in_body(key, body)
        expected = self.expectation()

        def change(current: Model) -> Model:
            return replaced(current, body)

        try:
            model, status = await self.perform_replace(key, change, expected), 200
        except DocumentNotFound:
            if not self.resource.create_by_put or self.preconditions().if_match is not None:
                raise self.missing() from None
            model, status = await self._create_at(key, body), 201
        if status == 201:
            self.set_header("Location", self.resource.href(key))
        self.answer_document(model, status)

    def _check_key_in_body(self, key: Any, body: dict[str, Any]) -> None:
        info = self.resource.info
        if info.key and body.get(info.key.name, info.key_value(key)) != info.key_value(key):
            raise Problem(400, "key-mismatch", f"`{info.key.name}` differs from the key in the URL.")

    async def _create_at(self, key: Any, body: dict[str, Any]) -> Any:
        info = self.resource.info
        check_key(info, key)
        model = validated(self.resource.model, {**body, **({info.key.name: info.key_value(key)} if info.key else {})})
        if info.key is None:
            model._id = key
        try:
            return await self.resource.store.create(model)
        except DocumentExists:
            # Somebody created it since it was looked for.
            if self.preconditions().if_none_match is not None:
                raise RevisionMismatch("the document exists", None) from None
            return await self.perform_replace(key, lambda current: replaced(current, body), None)

    async def perform_replace(self, key: Any, change: Change[Any], expected: Expectation | None) -> Any:
        """Apply the change to the latest document; what is returned is shown to the client."""
        return await self.resource.store.update(self.resource.model, key, change, expected=expected)


class DestroyMixin(WriteMixin):
    """DELETE of a document."""

    async def destroy(self, key: Any) -> None:
        """Delete the document; 204."""
        try:
            await self.perform_destroy(key, self.expectation())
        except DocumentNotFound:
            raise self.missing() from None
        self.set_status(204)
        self.finish()

    async def perform_destroy(self, key: Any, expected: Expectation | None) -> None:
        """Delete it from the store."""
        await self.resource.store.delete(self.resource.model, key, expected=expected)
