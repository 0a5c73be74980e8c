"""PATCH and DELETE of a collection: change or delete every document that a filter selects.

    PATCH /v1.0/fruits?color=red           {"color": "crimson"}, a merge patch for each of them
    DELETE /v1.0/fruits?color=red&dry_run=true

One request changes at most `max_bulk` documents; `next` in the answer is the address of a request for the rest. Each
document is changed by a handler of the mounted document class: under its own policy, hooks and `perform_…` method, and
tried again after a conflict. The filter is looked at again at each try, so that a document which somebody else has
changed in the meantime, so that it does not fit any more, is left alone.
"""

from __future__ import annotations

import copy
from collections.abc import Awaitable, Callable, Collection, Mapping
from functools import partial
from typing import Any

from ...errors import ValidationFailed
from ...models import Model
from ...store import Position
from ...store.references import held_by
from ..action_table import MERGE_PATCH
from ..handler import ResourceHandler
from ..http import Preconditions, entity_tag
from ..openapi.components import Schema
from ..openapi.descriptions import describe_body, describe_writing
from ..openapi.operation import ApiOperation
from ..openapi.parameters import describe_filters, describe_groups
from ..problems import Problem
from ..query import Cursor, ListQuery, decode_parameter, filterable, parse_list_query
from ..query.decoding import bad_parameter, flag
from ..resources import M, Resource
from .documents import DestroyMixin, PatchMixin, Writing
from .gathering import Gathering, attempted
from .idempotency import OnceMany, idempotency_key
from .results import Results, results_schema

__all__ = ["DestroyManyMixin", "PatchManyMixin", "changing_many"]

_FOREIGN = ("sort", "nulls", "fields", "include", "count", "deleted")  # parameters of a list that mean nothing here
# By what is done to each document: the mixin that does it to a single one, and its method.
_RUN_BY: dict[str, tuple[type[ResourceHandler], str]] = {
    "patch": (PatchMixin, "patch_document"),
    "destroy": (DestroyMixin, "destroy"),
}

Run = Callable[[Any, Any], Awaitable[Any]]


class _ManyMixin(ResourceHandler[M]):
    """What both have in common."""

    async def authorize(self, action: str, document: Model | None = None) -> None:
        """Ask the policy: before anything is read, whether the caller may list documents and change one.

        Raises:
            Problem: 401, 403 or 404.
        """
        if action not in ("patch_many", "destroy_many"):
            await super().authorize(action, document)
            return
        await super().authorize("list")
        await super().authorize(action.removesuffix("_many"))

    async def change_many(self, action: str, body: Any, run: Run, rehearse: Run, status: int) -> None:
        """Change the documents that the filters select, and answer with a result for each.

        Args:
            action: "patch" or "destroy".
            body: what the client sent.
            run: changes one document by its key, with a handler of its own.
            rehearse: does what a dry run can do: it is given the handler and the model.
            status: the status of a success.

        Raises:
            Problem: 400, the query string is not good; 409, 422: as `Idempotency-Key` has it; 412, the request names
                a revision.
        """
        key, arguments = idempotency_key(self.request.headers), dict(self.request.query_arguments)
        dry = flag("dry_run", decode_parameter("dry_run", arguments.pop("dry_run", [b"false"])))
        query = self._selection(arguments)
        self._refuse_tags()
        if key is None or dry:
            answer, replayed = await self._changed(action, query, rehearse if dry else run, status, dry), False
        else:
            work = partial(self._changed, action, query, run, status, dry)
            answer, replayed = await OnceMany(self).answer(key, [self.request.query, body], work)
        if replayed:
            self.set_header("Idempotent-Replayed", "true")
        await self.answers.many(answer)

    def _refuse_tags(self) -> None:
        """Refuse entity tags: a client that sends them wants nothing changed that it has not seen.

        Raises:
            Problem: 412, or 400 where a list of tags is malformed.
        """
        given = self.preconditions()
        if given.if_match not in (None, "*") or given.if_none_match is not None:
            raise Problem.of("revision-mismatch", "An entity tag names one document: change it at its own address.")

    def _selection(self, arguments: Mapping[str, list[bytes]]) -> ListQuery:
        for name in _FOREIGN:
            if name in arguments:
                detail = f"`{name}` is for lists: this takes filters, `limit`, `cursor` and `dry_run`."
                raise bad_parameter(name, detail)
        most = self.resource.max_bulk
        query = parse_list_query(self.resource, arguments, self.cursors(), self.restriction(), most=most)
        if not arguments.keys() - {"limit", "cursor"}:
            raise Problem.of("filter-required")
        return query

    async def _changed(self, action: str, query: ListQuery, run: Run, status: int, dry: bool) -> dict[str, Any]:
        store, model = self.resource.store, self.resource.model
        page = await store.find(model, query.query, limit=query.limit, start=query.start)
        chosen = [each for each in page.items if await self._lists(each)]
        gathering = Gathering(store, model)
        made = await self._made(action)
        handlers = [self._for(made, each, query, gathering) for each in chosen]
        work = [partial(run, handler, each) for handler, each in zip(handlers, chosen, strict=True)]
        if dry:
            pairs = zip(chosen, work, strict=True)
            items = [self._rehearsed(each, await attempted(do()), status) for each, do in pairs]
        else:
            results = Results(self)
            items = [
                await results.of(action, outcome, status, self.href(each._key), made.show)
                for each, outcome in zip(chosen, await gathering.run(work), strict=True)
            ]
        found: dict[str, Any] = {"items": items, **({"dry_run": True} if dry else {})}
        if page.withheld:
            found["withheld"] = page.withheld
        if page.next:
            found["next"] = self._next(page.next, query, dry)
        return found

    def _rehearsed(self, model: Any, outcome: Any, status: int) -> dict[str, Any]:
        """The result that a document would have had; no hook is called."""
        if isinstance(outcome, Exception):
            return Results(self).failure(outcome, self.href(model._key))
        return {"status": status, "_href": self.href(model._key), "_etag": entity_tag(model._rev or "")}

    async def _made(self, action: str) -> Any:
        """Return a handler of this request, of the class that changes a single document; it never answers."""
        mixin, _ = _RUN_BY[action]
        own = self.resource.document
        made: Any = (own if own is not None else mixin)(self.application, self.request, resource=self.resource)
        self.request.connection.set_close_callback(self.on_connection_close)  # type: ignore[union-attr]
        made.principal = self.principal
        prepared = made.prepare()
        if prepared is not None:
            await prepared
        made.body = self.body
        return made

    def _for(self, made: Any, model: Any, query: ListQuery, gathering: Gathering) -> Any:
        """Return a handler for one document, which looks at the filter again where the document has changed."""
        handler, listed, store = copy.copy(made), model._rev, self.resource.store

        def condition(current: Model) -> None:
            if current._rev != listed and not store.selects(query.query, current):
                raise Problem.of("not-selected")

        given = Preconditions(unmodified_since=self.preconditions().unmodified_since)
        handler._gathering, handler._preconditions, handler._condition = gathering, given, condition
        return handler

    async def _lists(self, model: Any) -> bool:
        """Whether the caller may know that the document is there."""
        try:
            await self.authorize("list", model)
        except Problem:
            return False
        return True

    def _next(self, to: Position, query: ListQuery, dry: bool) -> str:
        path = self.resource.path
        cursor = self.cursors().encode(Cursor(to.key, to.id, False, to.inclusive), query.scope(path))
        return self.prefix + query.address(path, cursor) + ("&dry_run=true" if dry else "")


class PatchManyMixin(_ManyMixin[M]):
    """PATCH of a collection: a merge patch for each document that the filters select."""

    async def patch_matching(self) -> None:
        """Patch the documents."""
        patch = await self.read_json()
        if not isinstance(patch, dict):
            detail = "Must be an object: anything else would replace whole documents."
            raise ValidationFailed([{"pointer": "", "keyword": "type", "detail": detail}])

        async def run(handler: Any, model: Any) -> Any:
            return await handler.perform_patch(model._key, lambda current: handler._merged(current, patch), None)

        async def rehearse(handler: Any, model: Any) -> Any:
            await handler.authorize("patch", model)
            Writing(handler).check_date(model)
            before = held_by(model)
            await handler.related.check(handler._merged(model, patch), before)

        await self.change_many("patch", patch, run, rehearse, 200)

    @staticmethod
    def describe_patch_many(operation: ApiOperation) -> None:
        """Describe PATCH of a collection."""
        operation.says(f"Change every {_one(operation)} that the filters select", _WORDS)
        operation.takes_body(operation.of_model().merge_patch(), MERGE_PATCH)
        describe_body(operation)
        _describe(operation)


class DestroyManyMixin(_ManyMixin[M]):
    """DELETE of a collection: of each document that the filters select."""

    async def destroy_matching(self) -> None:
        """Delete the documents."""

        async def run(handler: Any, model: Any) -> Any:
            return await handler.delete_document(model._key)

        async def rehearse(handler: Any, model: Any) -> Any:
            await handler.authorize("destroy", model)
            Writing(handler).check_date(model)
            await handler.consequences.rehearse(model)

        await self.change_many("destroy", None, run, rehearse, 204)

    @staticmethod
    def describe_destroy_many(operation: ApiOperation) -> None:
        """Describe DELETE of a collection."""
        operation.says(f"Delete every {_one(operation)} that the filters select", _WORDS)
        _describe(operation)


def changing_many(collection: type[ResourceHandler], many: Collection[str], resource: Resource[Any]) -> Any:
    """Return a class of the collection that can also change many documents.

    Args:
        collection: the class of the collection.
        many: what it can do to many documents: "patch", "destroy".
        resource: what is mounted.

    Raises:
        ValueError: a change has another name; or each document has to be named with its revision; or the class of a
            document does it in a way of its own, of which nobody knows what it asks of the request.
    """
    mixins = {"patch": PatchManyMixin, "destroy": DestroyManyMixin}
    if isinstance(many, str) or not set(many) <= mixins.keys():
        raise ValueError(f'many={many!r}: give a list of what clients can do to many documents: "patch", "destroy"')
    if many and resource.require_if_match:
        raise ValueError("many: a change of many documents names no revisions, as require_if_match=True demands")
    document = resource.document
    for name in many if document is not None else ():
        mixin, method = _RUN_BY[name]
        if getattr(document, method, None) is not getattr(mixin, method):
            raise ValueError(f"many: {document} has no {mixin.__name__}, or a {method!r} of its own")
    bases: tuple[type, ...] = (*(mixins[name] for name in mixins if name in many), collection)
    return type(collection.__name__, bases, {"__doc__": collection.__doc__}) if many else collection


# ---------------------------------------------------------------- the API document

_WORDS = (
    "Each document has a result of its own. At least one filter is needed; `next` is the address of a request for the"
    " documents that are left."
)


def _one(operation: ApiOperation) -> str:
    return operation.one.partition(" ")[2]


def _describe(operation: ApiOperation) -> None:
    resource = operation.resource
    operation.takes("Idempotency-Key", "If-Match", "If-None-Match", "Prefer")
    operation.problem("malformed-entity-tag", "revision-mismatch")  # every tag: they name single documents
    if resource.modified:
        operation.takes("If-Unmodified-Since")
    limit = {"type": "integer", "minimum": 1, "default": resource.max_bulk}
    operation.query("limit", limit, f"The number of documents to change, at most {resource.max_bulk}.")
    operation.query("cursor", {"type": "string"}, "Where to go on; take it from `next`.")
    operation.query("dry_run", {"type": "boolean", "default": False}, "Change nothing, and say what would be changed.")
    describe_filters(operation, filterable(resource.model))
    describe_groups(operation)
    schema = operation.of_model().other("Changes", lambda: _changes_schema(operation))
    found = operation.answers_with(200, "A result for each document.", schema, "Cache-Control", "Vary")
    found.fields |= {"Preference-Applied": False, "Idempotent-Replayed": False}
    operation.problem("no-index", "filter-required", "validation", "malformed-idempotency-key")
    operation.problem("idempotency-key-reused", "idempotent-request-running")
    operation.problem("tampered-document")  # where somebody deleted the note that a key was used
    operation.answers[409].fields["Retry-After"] = False
    describe_writing(operation)


def _changes_schema(operation: ApiOperation) -> Schema:
    results = operation.components.get("schemas", results_schema(operation)["$ref"].rpartition("/")[2])
    more: dict[str, Schema] = {
        "dry_run": {"type": "boolean", "description": "Nothing was changed."},
        "withheld": {"type": "integer", "minimum": 1, "description": "Documents that could not be verified."},
        "next": {"type": "string", "format": "uri-reference", "description": "The request for those that are left."},
    }
    return {**results, "properties": {**results["properties"], **more}}
