"""The actions on documents. Each has a `perform_…` hook that does the work."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, cast

from ...errors import DocumentExists, DocumentNotFound, RevisionMismatch, ValidationFailed
from ...models import Model, json_patch, merge_patch, replaced, representation
from ...store import Change, Check, Expectation
from ...store.references import held_by
from ..access import Hidden
from ..action_table import JSON_PATCH, MERGE_PATCH
from ..handler import ResourceHandler
from ..http import Preconditions, check_grown, is_large, media_type
from ..openapi.descriptions import (
    JSON_PATCH_SCHEMA,
    answer_minimal,
    describe_body,
    describe_change,
    describe_reading,
    describe_stored,
    prefer_document,
)
from ..openapi.operation import ApiOperation
from ..openapi.parameters import describe_fields
from ..problems import Problem
from ..resources import M, Resource
from .create import CreateMixin, check_chosen_id, check_key
from .relations import Consequences, describe_consequences, describe_include, include
from .versions import Versions, describe_retrieval, parse_retrieval

__all__ = ["DestroyMixin", "PatchMixin", "ReplaceMixin", "RetrieveMixin", "check_key_in_body"]


class RetrieveMixin(ResourceHandler[M]):
    """GET of a document."""

    async def retrieve(self, key: Any) -> None:
        """Answer with the document, or the `fields` of it, or 304; or with what it was: see `versions`."""
        wanted = parse_retrieval(self.resource, self.request.query_arguments)
        self.projection = include(self, wanted, RetrieveMixin).projection
        self.preconditions()  # a malformed one is 400 whether or not the document is there
        if wanted.current:
            model: Any = await self.asking("retrieve", self.perform_retrieve(key))
            await self.authorize("retrieve", model)
        else:
            model = await Versions(self).wanted(key, wanted)
        if self.resource.modified and not self.shows_more:  # what is added can change without the document
            self.answers.date(model)
        # Without hooks the revision decides, and a 304 costs no body.
        if self.shows_more or not self.answers.unchanged(model._rev):
            await self.answers.document(model, "retrieve")

    async def perform_retrieve(self, key: Any, /) -> M:
        """Find the model."""
        return await self.resource.store.get(self.resource.model, key)

    @staticmethod
    def describe_retrieve(operation: ApiOperation) -> None:
        """Describe GET of a document."""
        schemas = operation.of_model()
        operation.says(f"Get {operation.one}")
        describe_fields(operation)
        describe_include(operation, RetrieveMixin, schemas.shown(), schemas.part())
        both = {"anyOf": [schemas.shown(), schemas.part()]}
        describe_reading(operation, "The document; with `fields`, a part of it.", both)
        if operation.resource.modified:
            operation.takes("If-Modified-Since", "If-Unmodified-Since")
            for status in (200, 304):
                operation.answers[status].fields["Last-Modified"] = None
        describe_retrieval(operation)
        operation.fails(404)
        describe_stored(operation)


class Writing:
    """The steps that all writes to one document share.

    Args:
        handler: the handler of the request.
        given: the preconditions; without them, the request's.
    """

    def __init__(self, handler: ResourceHandler, given: Preconditions | None = None) -> None:
        self._handler = handler
        self.preconditions = handler.preconditions() if given is None else given

    def expectation(self) -> Expectation | None:
        """Return the test that the current revision must pass, or None if any revision will do.

        Raises:
            Problem: 428 when the revision must be named and is not; the test raises it, since 404 comes first.
        """
        if self._handler.resource.require_if_match and self.preconditions.if_match is None:
            return _refuse_without_if_match
        return self.preconditions.expectation()

    def checked(self, action: str) -> Check[Any]:
        """Return a check that asks the policy about the stored document, before preconditions are looked at."""

        async def check(current: Model) -> None:
            await self._handler.authorize(action, current)
            self.check_date(current)
            if self._handler._condition is not None:
                self._handler._condition(current)

        return check

    def check_date(self, current: Model) -> None:
        """Hold the document to If-Unmodified-Since, also when the write is tried again after a conflict.

        Raises:
            RevisionMismatch: it was modified later.
        """
        name = self._handler.resource.modified
        if self.preconditions.unmodified_since is None or name is None:
            return
        moment = getattr(current, name, None)
        if moment is not None and self.preconditions.is_outdated(int(moment.timestamp())):
            raise RevisionMismatch("the document was changed after If-Unmodified-Since", current._rev)

    def hooked(self, action: str, change: Callable[[Any], Any]) -> Change[Any]:
        """Return a change with the hook before it; what is large is changed in a thread."""
        handler = self._handler

        async def with_hook(current: Model) -> Model:
            large = handler.body.large or is_large(current._stored)
            before = held_by(current) if action != "restore" else []  # what is restored is held to all of them
            new = await asyncio.to_thread(change, current) if large else change(current)
            new = await handler.resource.hooks.before(handler.event(action), new, current) or new
            if handler.resource.has_relations:
                await handler.related.check(new, before)
            return new

        return with_hook

    async def update(self, action: str, key: Any, change: Callable[[M], M], expected: Expectation | None) -> M:
        """Apply a change to the latest document: policy, preconditions, change, hook, in that order."""
        store, model = self._handler.store, cast("type[M]", self._handler.resource.model)
        return await store.update(
            model, key, self.hooked(action, change), check=self.checked(action), expected=expected
        )

    def missing(self) -> Exception:
        """Return the error for a document that is not there, under these preconditions."""
        if self.preconditions.if_match is not None:
            return RevisionMismatch("there is no such document", None)  # RFC 9110 §13.1.1
        return DocumentNotFound("there is no such document")


def _refuse_without_if_match(_: str) -> bool:
    raise Problem.of("if-match-required", "Name in If-Match the revision that the change is meant for.")


def check_key_in_body(handler: ResourceHandler, key: Any, body: dict[str, Any]) -> None:
    """Refuse a body with another key than the document's.

    Raises:
        Problem: 400.
    """
    info = handler.resource.info
    if info.key and body.get(info.key.name, info.key_value(key)) != info.key_value(key):
        raise Problem.of("key-mismatch", f"`{info.key.name}` differs from the key in the URL.")


class ReplaceMixin(ResourceHandler[M]):
    """PUT to a document: replace it, or create it where the resource allows that."""

    async def replace(self, key: Any) -> None:
        """Replace the document."""
        model, status = await self.upsert(key, await self.valid("replace", await self.read_json()))
        if status == 201:
            self.set_header("Location", self.href(key))
        await self.answers.document(model, "replace", status)

    async def upsert(self, key: Any, body: dict[str, Any]) -> tuple[Any, int]:
        """Replace, restore or create the document; return it with the status of the answer.

        Raises:
            DocumentNotFound, RevisionMismatch: the document does not exist and is not created.
        """
        check_key_in_body(self, key, body)
        writing = Writing(self)
        try:
            return await self.perform_replace(key, body, writing.expectation()), 200
        except DocumentNotFound:
            return await self._put_missing(key, body, writing), 201

    async def perform_replace(self, key: Any, body: dict[str, Any], expected: Expectation | None, /) -> M:
        """Replace the latest document by the body; what is returned is shown to the client."""
        return await Writing(self).update("replace", key, lambda current: replaced(current, body), expected)

    async def _put_missing(self, key: Any, body: dict[str, Any], writing: Writing) -> Any:
        """Restore or create the document that a PUT did not find.

        Raises:
            DocumentNotFound, RevisionMismatch: it can be neither restored nor created.
        """
        preconditions, creating = writing.preconditions, self.resource.create_by_put
        # `If-Match: *` fails where no document is shown; `If-None-Match: *` asks for a creation.
        if preconditions.if_match != "*" and (creating or preconditions.if_none_match is None):
            try:
                return await self._restore(key, body, writing)
            except DocumentNotFound:
                pass
            except DocumentExists:  # somebody restored it since it was looked for, or it is not for this caller
                try:
                    return await self.perform_replace(key, body, writing.expectation())
                except DocumentNotFound:
                    raise writing.missing() from None
        if creating and preconditions.if_match is None:
            return await self._create_at(key, body, preconditions)
        raise writing.missing()

    async def _restore(self, key: Any, body: dict[str, Any], writing: Writing) -> Any:
        """Bring back the deleted document as the body has it.

        Raises:
            DocumentNotFound: it does not exist, or the caller may not restore it and so must not know about it.
            DocumentExists: it is not deleted.
        """
        if not self.resource.info.restorable:
            raise DocumentNotFound("there is no such document")
        expected = None if writing.preconditions.if_none_match is not None else writing.expectation()
        await self._let_restore(None)
        change = writing.hooked("restore", lambda current: replaced(current, body))
        store = self.resource.store
        return await store.restore(self.resource.model, key, change, check=self._let_restore, expected=expected)

    async def _let_restore(self, current: Model | None) -> None:
        try:
            await self.authorize("restore", current)
        except Problem:
            raise Hidden from None

    async def _create_at(self, key: Any, body: dict[str, Any], preconditions: Preconditions) -> Any:
        """Create the document that a PUT found missing."""
        info, creator = self.resource.info, await self._creator()
        check_key(self.resource, key)
        if not self.resource.plain_ids:
            check_chosen_id(info, key)
        await self.authorize("create")
        model = creator.new_model({**body, info.key.name: info.key_value(key)} if info.key else body)
        if info.key is None:
            model._id = key
        check_key_in_body(self, key, {info.key.name: info.key_value(model._key)} if info.key else {})
        model = await creator.referring(await creator.admitted(model))
        try:
            return await creator.perform_create(model)
        except DocumentExists:
            # Somebody created it since it was looked for.
            if preconditions.if_none_match is not None:
                raise RevisionMismatch("the document exists", None) from None
            return await self.perform_replace(key, body, None)

    async def _creator(self) -> CreateMixin[Any]:
        """Return a handler of this request, of the class that takes a POST: it has the steps of a creation."""
        own = self.resource.collection
        cls = own if own is not None and issubclass(own, CreateMixin) else CreateMixin
        made = cls(self.application, self.request, resource=self.resource)
        self.request.connection.set_close_callback(self.on_connection_close)  # type: ignore[union-attr]
        made.principal = self.principal
        prepared = made.prepare()
        if prepared is not None:
            await prepared
        made.body, made._gathering = self.body, self._gathering
        return made

    @staticmethod
    def describe_replace(operation: ApiOperation) -> None:
        """Describe PUT of a document."""
        schemas = operation.of_model()
        operation.says(
            f"Replace {operation.one}",
            "An optional property that is left out is removed; read-only properties are kept."
            " Without If-Match, the latest revision is replaced, and conflicts are tried again."
            + _words_on_ids(operation.resource),
        )
        operation.takes_body(schemas.replace())
        operation.answers_with(200, "Replaced.", schemas.shown(), "ETag", "Cache-Control", "Vary")
        answer_minimal(operation)
        if operation.resource.create_by_put or operation.resource.info.restorable:
            words = "Created, or restored; with `Prefer: return=minimal`, without a body."
            created = operation.answers_with(201, words, schemas.shown(), "Location", "ETag", "Cache-Control", "Vary")
            created.fields["Preference-Applied"] = False
            operation.problem("exists")
            prefer_document(operation)
        describe_body(operation)
        operation.problem("validation", "key-mismatch")
        describe_change(operation)


def _words_on_ids(resource: Resource[Any]) -> str:
    """Say which ids a client can choose, where it is not the key of the model."""
    if not resource.create_by_put or resource.info.key or resource.plain_ids:
        return ""
    return f" The id of a new document begins with `{resource.info.type.name}:`."


class PatchMixin(ResourceHandler[M]):
    """PATCH of a document, by merge patch (RFC 7396) or JSON patch (RFC 6902)."""

    async def patch_document(self, key: Any) -> None:
        """Patch the document."""
        patch = await self.read_json()
        writing = Writing(self)
        merging = media_type(self.request.headers) == MERGE_PATCH
        apply = self._merged if merging else self._patched

        try:
            model = await self.perform_patch(key, lambda current: apply(current, patch), writing.expectation())
        except DocumentNotFound:
            raise writing.missing() from None
        await self.answers.document(model, "patch")

    async def perform_patch(self, key: Any, change: Callable[[M], M], expected: Expectation | None, /) -> M:
        """Apply the patch to the latest document; what is returned is shown to the client."""
        return await Writing(self).update("patch", key, change, expected)

    def _merged(self, current: M, patch: Any) -> M:
        before = representation(current)
        body = merge_patch(before, patch)
        self._drop_files(before, body)
        if isinstance(patch, dict) and isinstance(body, dict):
            # A write-only property is not in the representation, and null must remove it all the same. A
            # read-only property cannot be removed, and must not look as if it were.
            kept = [name for name, each in self.resource.info.properties.items() if each.write_only or each.read_only]
            body.update({name: None for name in kept if name in patch and patch[name] is None})
        return self._result(current, body)

    def _patched(self, current: M, patch: Any) -> M:
        before = representation(current)
        after = json_patch(before, patch)
        check_grown(before, after, self.resource.limits)
        self._drop_files(before, after)
        return self._result(current, after)

    def _drop_files(self, before: dict[str, Any], body: Any) -> None:
        """Say of files that the patch removes that they go; what a body leaves out would be kept."""
        for name in self.resource.info.attachments if isinstance(body, dict) else ():
            if name in before:
                body.setdefault(name, None)

    def _result(self, current: M, body: Any) -> M:
        """Return the model that a patched representation makes of the current one, validated as a whole."""
        info = self.resource.info
        valid = self.validated("replace", body)
        if info.key and valid.get(info.key.name) != info.key_value(current._key):
            detail = "The key of a document cannot change."
            raise ValidationFailed([{"pointer": f"/{info.key.name}", "keyword": "readOnly", "detail": detail}])
        return replaced(current, valid)

    @staticmethod
    def describe_patch(operation: ApiOperation) -> None:
        """Describe PATCH of a document."""
        schemas = operation.of_model()
        operation.says(f"Change {operation.one}", "By a merge patch (RFC 7396) or a JSON patch (RFC 6902).")
        operation.takes_body(schemas.merge_patch(), MERGE_PATCH)
        operation.takes_body(operation.components.put("schemas", "JsonPatch", JSON_PATCH_SCHEMA), JSON_PATCH)
        operation.answers_with(200, "Changed.", schemas.shown(), "ETag", "Cache-Control", "Vary")
        answer_minimal(operation)
        describe_body(operation)
        operation.problem("validation", "patch-test-failed")
        describe_change(operation)


class DestroyMixin(ResourceHandler[M]):
    """DELETE of a document."""

    async def destroy(self, key: Any) -> None:
        """Delete the document; 204."""
        deleted = await self.delete_document(key)
        await self.resource.hooks.after(self.event("destroy"), deleted, None)
        self.set_status(204)
        self.finish()

    async def delete_document(self, key: Any) -> Any:
        """Delete the document under the request's preconditions; return what was deleted.

        Raises:
            DocumentNotFound, RevisionMismatch: the document does not exist.
        """
        writing = Writing(self)
        try:
            return await self.perform_destroy(key, writing.expectation())
        except DocumentNotFound:
            raise writing.missing() from None

    async def perform_destroy(self, key: Any, expected: Expectation | None, /) -> M:
        """Delete it from the store; what was deleted is returned."""
        return await self.store.delete(
            self.resource.model, key, check=Writing(self).checked("destroy"), expected=expected, confirm=self._confirmed
        )

    async def _confirmed(self, current: Model) -> None:
        """Call the hook before a deletion, then deal with the documents that refer to this one."""
        await self.resource.hooks.before(self.event("destroy"), None, current)
        await self.consequences.settle(current)

    @property
    def consequences(self) -> Consequences:
        """What a deletion does to the documents that refer to the deleted one."""
        return Consequences(self, {"cascade": DestroyMixin, "set null": PatchMixin})

    @staticmethod
    def describe_destroy(operation: ApiOperation) -> None:
        """Describe DELETE of a document."""
        operation.says(f"Delete {operation.one}")
        operation.answers_with(204, "Deleted.")
        describe_consequences(operation)
        describe_change(operation)
