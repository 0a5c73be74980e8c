"""The actions on documents. Each has a `perform_…` hook that does the work."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, ClassVar

from ...errors import DocumentExists, DocumentNotFound, InvalidDocument, RevisionMismatch, ValidationFailed
from ...models import Model, json_patch, merge_patch, reading_partially, replaced, representation, validated
from ...store import Change, Check, Expectation
from ..access import Hidden
from ..handler import JSON, ResourceHandler
from ..http import NDJSON, Preconditions, media_type
from ..problems import Problem
from .create import ArrayMixin, check_key
from .idempotency import OnceMixin, idempotency_key, refuse_key
from .ndjson import LinesMixin
from .versions import VersionReader, parse_retrieval

__all__ = ["CreateMixin", "DestroyMixin", "PatchMixin", "ReplaceMixin", "RetrieveMixin", "Rewriter", "WriteMixin"]


class CreateMixin(ArrayMixin, LinesMixin, OnceMixin):
    """POST to a collection: a new document, or many."""

    BODY_TYPES: ClassVar[dict[str, tuple[str, tuple[str, ...]]]] = {
        **ResourceHandler.BODY_TYPES,
        "POST": ("Accept-Post", (JSON, NDJSON)),
    }

    async def create(self) -> None:
        """Create it, 201 with Location; from an array or lines, 200 with a result for each."""
        if self.receives_lines:
            await self.create_last_lines()
            return
        key, body = idempotency_key(self.request.headers), await self.read_json()
        if isinstance(body, list):
            refuse_key(self.request.headers)
            await self.create_many(body)
        elif key is None:
            await self.answer_created(await self.create_from(self.validated("create", body)))
        else:
            await self.answer_created(*await self.create_once(key, body))

    async def answer_created(self, created: Any, replayed: bool = False) -> None:
        """Answer with the new document, or with the one that the same request made before."""
        self.set_header("Location", self.resource.href(created._key))
        if replayed:
            self.set_header("Idempotent-Replayed", "true")
        await self.answer_document(created, "retrieve" if replayed else "create", 201)


class RetrieveMixin(VersionReader):
    """GET of a document."""

    async def retrieve(self, key: Any) -> None:
        """Answer with the document, or the `fields` of it, or 304; or with what it was: see `versions`."""
        wanted = parse_retrieval(self.resource, self.request.query_arguments)
        self.projection = wanted.projection
        self.preconditions()  # a malformed one is 400 whether or not the document is there
        if wanted.deleted:
            model = await self.deleted_one(key)
        elif wanted.version is not None or wanted.at is not None:
            model = await self.earlier(key, wanted)
        else:
            try:
                model = await self.perform_retrieve(key)
            except InvalidDocument as error:
                if error.partial is not None:  # who may not see the document is told nothing of it
                    with reading_partially(error.partial._unfit):
                        await self.authorize("retrieve", error.partial)
                raise
            await self.authorize("retrieve", model)
        if not self.answered_from_cache(model._rev):
            await self.answer_document(model, "retrieve")

    async def perform_retrieve(self, key: Any) -> Any:
        """Find the model."""
        return await self.resource.store.get(self.resource.model, key)


class WriteMixin(ResourceHandler):
    """What the writes to one document share."""

    def expectation(self, given: Preconditions | None = None) -> Expectation | None:
        """Which revision the client means the write for.

        Args:
            given: the preconditions; else the request's.

        Raises:
            Problem: 400 when an entity tag list is malformed; 428 when the revision must be named
                and is not: only once the document is found, since 404 comes first.
        """
        preconditions = given or self.preconditions()
        if self.resource.require_if_match and preconditions.if_match is None:
            return _refuse_without_if_match
        return preconditions.expectation()

    def checked(self, action: str) -> Check[Any]:
        """Asks the policy about the document that is there, before the preconditions are looked at."""

        async def check(current: Model) -> None:
            await self.authorize(action, current)

        return check

    def hooked(self, action: str, change: Callable[[Any], Any]) -> Change[Any]:
        """A change with the hook before it."""

        async def with_hook(current: Model) -> Model:
            new = change(current)
            return await self.resource.hooks.before(self.event(action), new, current) or new

        return with_hook

    def missing(self, given: Preconditions | None = None) -> Exception:
        """The error for a document that is not there, under these preconditions or the request's."""
        if (given or self.preconditions()).if_match is not None:
            return RevisionMismatch("there is no such document", None)  # RFC 9110 §13.1.1
        return DocumentNotFound("there is no such document")

    async def update(self, action: str, key: Any, change: Callable[[Any], Any], expected: Expectation | None) -> Any:
        """Apply a change to the latest document: policy, preconditions, change, hook, in that order."""
        return await self.store.update(
            self.resource.model, key, self.hooked(action, change), check=self.checked(action), expected=expected
        )


def _refuse_without_if_match(_: str) -> bool:
    raise Problem.of("if-match-required", "Say in If-Match which revision the change is meant for.")


class Rewriter(WriteMixin):
    """What replacing and deleting consist of, by a request for one document or in a bulk request."""

    def check_key_in_body(self, key: Any, body: dict[str, Any]) -> None:
        """Refuse a body with another key than the document's.

        Raises:
            Problem: 400.
        """
        info = self.resource.info
        if info.key and body.get(info.key.name, info.key_value(key)) != info.key_value(key):
            raise Problem.of("key-mismatch", f"`{info.key.name}` differs from the key in the URL.")

    async def put_missing(self, key: Any, body: dict[str, Any], given: Preconditions | None = None) -> Any:
        """Restore or create the document that a PUT did not find.

        Raises:
            DocumentNotFound, RevisionMismatch: there is none to restore, and none is created.
        """
        preconditions, creating = given or self.preconditions(), self.resource.create_by_put
        # Nothing has `If-Match: *` where nothing is shown; `If-None-Match: *` asks for a creation.
        if preconditions.if_match != "*" and (creating or preconditions.if_none_match is None):
            try:
                return await self.restore_at(key, body, preconditions)
            except DocumentNotFound:
                pass
            except DocumentExists:  # somebody restored it since it was looked for
                return await self.perform_replace(key, body, self.expectation(preconditions))
        if creating and preconditions.if_match is None:
            return await self.create_at(key, body, given)
        raise self.missing(given)

    async def restore_at(self, key: Any, body: dict[str, Any], given: Preconditions) -> Any:
        """Bring back the deleted document as the body has it; what is returned is shown to the client.

        Raises:
            DocumentNotFound: there is none, or the caller may not restore it: who does not see it is told no more.
            DocumentExists: it is not deleted.
        """
        if not self.resource.info.restorable:
            raise DocumentNotFound("there is no such document")
        expected = None if given.if_none_match is not None else self.expectation(given)
        try:
            await self.authorize("restore")
        except Problem:
            raise Hidden from None

        async def check(current: Model) -> None:
            try:
                await self.authorize("restore", current)
            except Problem:
                raise Hidden from None

        change = self.hooked("restore", lambda current: replaced(current, body))
        store = self.resource.store
        return await store.restore(self.resource.model, key, change, check=check, expected=expected)

    async def create_at(self, key: Any, body: dict[str, Any], given: Preconditions | None = None) -> Any:
        """Create the document that a PUT found missing."""
        info = self.resource.info
        check_key(info, key)
        await self.authorize("create")
        named = {info.key.name: info.key_value(key)} if info.key else {}
        initial = self.policy.initial(self.principal, self.resource.model)
        model = validated(self.resource.model, {**body, **initial, **named})
        if info.key is None:
            model._id = key
        await self.authorize("create", model)
        model = await self.resource.hooks.before(self.event("create"), model) or model
        try:
            return await self.store.create(model)
        except DocumentExists:
            # Somebody created it since it was looked for.
            if (given or self.preconditions()).if_none_match is not None:
                raise RevisionMismatch("the document exists", None) from None
            return await self.perform_replace(key, body, None)

    async def perform_replace(self, key: Any, body: dict[str, Any], expected: Expectation | None) -> Any:
        """Replace the latest document by the body; what is returned is shown to the client."""
        return await self.update("replace", key, lambda current: replaced(current, body), expected)

    def confirmed(self, current: Model) -> Awaitable[Any]:
        """Call the hook before a deletion."""
        return self.resource.hooks.before(self.event("destroy"), None, current)


class ReplaceMixin(Rewriter):
    """PUT to a document: replace it, or create it where the resource allows that."""

    async def replace(self, key: Any) -> None:
        """Replace the document."""
        body = await self.read_body("replace")
        self.check_key_in_body(key, body)
        try:
            model, status = await self.perform_replace(key, body, self.expectation()), 200
        except DocumentNotFound:
            model, status = await self.put_missing(key, body), 201
        if status == 201:
            self.set_header("Location", self.resource.href(key))
        await self.answer_document(model, "replace", status)


class PatchMixin(WriteMixin):
    """PATCH of a document, by merge patch (RFC 7396) or JSON patch (RFC 6902)."""

    async def patch_document(self, key: Any) -> None:
        """Patch the document."""
        patch = await self.read_json()
        merging = media_type(self.request.headers) == "application/merge-patch+json"
        apply = self._merged if merging else self._patched
        try:
            model = await self.perform_patch(key, lambda current: apply(current, patch), self.expectation())
        except DocumentNotFound:
            raise self.missing() from None
        await self.answer_document(model, "patch")

    def _merged(self, current: Model, patch: Any) -> Model:
        body = merge_patch(representation(current), patch)
        if isinstance(patch, dict) and isinstance(body, dict):
            # A write-only property is not part of what is merged into; null removes it all the same. A
            # read-only one cannot be removed, and must not look as if it were.
            kept = [name for name, each in self.resource.info.properties.items() if each.write_only or each.read_only]
            body.update({name: None for name in kept if name in patch and patch[name] is None})
        return self._result(current, body)

    def _patched(self, current: Model, patch: Any) -> Model:
        return self._result(current, json_patch(representation(current), patch))

    def _result(self, current: Model, body: Any) -> Model:
        """The model that a patched representation makes of the current one, which is valid as a whole."""
        info = self.resource.info
        valid = self.validated("replace", body)
        if info.key and valid.get(info.key.name) != info.key_value(current._key):
            detail = "The key of a document cannot change."
            raise ValidationFailed([{"pointer": f"/{info.key.name}", "keyword": "readOnly", "detail": detail}])
        return replaced(current, valid)

    async def perform_patch(self, key: Any, change: Callable[[Any], Any], expected: Expectation | None) -> Any:
        """Apply the patch to the latest document; what is returned is shown to the client."""
        return await self.update("patch", key, change, expected)


class DestroyMixin(Rewriter):
    """DELETE of a document."""

    async def destroy(self, key: Any) -> None:
        """Delete the document; 204."""
        try:
            deleted = await self.perform_destroy(key, self.expectation())
        except DocumentNotFound:
            raise self.missing() from None
        await self.resource.hooks.after(self.event("destroy"), deleted, None)
        self.set_status(204)
        self.finish()

    async def perform_destroy(self, key: Any, expected: Expectation | None) -> Any:
        """Delete it from the store; what was deleted is returned."""
        return await self.store.delete(
            self.resource.model, key, check=self.checked("destroy"), expected=expected, confirm=self.confirmed
        )
