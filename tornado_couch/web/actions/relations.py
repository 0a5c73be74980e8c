"""What follows from references: `include` embeds the documents that they name, and deletions go on to those with them.

    GET /orders/7?include=customer          {"customer_id": "1", "customer": {"_href": "/customers/1", "name": "Ada"}}
    GET /orders?include=customer,lines.product

A document is embedded as a GET of it would show it to this caller, by the same handler class: null stands for one
that the caller may not see, or that is not there.
"""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from tornado.web import HTTPError

from ...errors import CouchError, TornadoCouchError
from ...models import Model, ModelInfo, Relation, referring
from ...store.references import Dependent, Dependents, Finding, unlinked
from ..access import AllowAny, Policy
from ..action_table import ACTIONS
from ..handler import ResourceHandler
from ..http import Preconditions
from ..openapi.components import Schema, nullable
from ..openapi.operation import ApiOperation
from ..openapi.schemas import ModelSchemas
from ..problems import Problem
from ..query import decode_parameter
from ..relations import Named
from ..resources import Resource

__all__ = ["Consequences", "describe_consequences", "describe_include", "include"]

Q = TypeVar("Q")

_MOST_NAMED = 10  # documents that a refusal names


def include(handler: ResourceHandler, query: Q, mixin: type[ResourceHandler]) -> Q:
    """Read the parameter `include`, and let the handler embed what it names.

    Args:
        handler: the handler of a GET.
        query: what the rest of the query string asks for.
        mixin: the handler class that shows a single document.

    Returns:
        The same with a projection, if it has one, that keeps what is embedded.

    Raises:
        Problem: 400, it names a document that there is not, or is given twice.
    """
    values = handler.request.query_arguments.get("include")
    if not values:
        return query
    related = handler.related
    offered = _offered(handler.resource.info, related.mounted, related.policy, mixin)
    names = list(dict.fromkeys(decode_parameter("include", values).split(",")))
    if not offered.keys() >= set(names):
        detail = "`include` takes names of documents that are referred to, separated by commas; see `allowed`."
        raise Problem.of("bad-parameter", detail, parameter="include", allowed=list(offered))
    handler.include = _Including(handler, [offered[name] for name in names], mixin).embed
    projection = getattr(query, "projection", None)
    if projection is None:
        return query
    shown = {each.partition(".")[0] for each in names if "." not in each}
    return replace(query, projection=replace(projection, names=projection.names | shown))  # type: ignore[type-var]


def _offered(
    info: ModelInfo,
    mounted: Callable[[type[Model]], Iterable[Resource[Any]]],
    policy_of: Callable[[Resource[Any]], Policy],
    mixin: type[ResourceHandler],
) -> dict[str, Relation]:
    """The references of a model whose documents can be embedded, by their names."""
    return {
        name: relation
        for name, relation in info.relations.items()
        if not relation.declared.write_only
        and any(
            policy_of(each).offers("retrieve") and _class_of(each, mixin) is not None
            for each in mounted(relation.target)
        )
    }


def _class_of(resource: Resource[Any], mixin: type[ResourceHandler]) -> type[Any] | None:
    """The handler class that shows a resource's documents; None if it has no GET, or one of the service's own."""
    own = resource.document
    if own is None:
        return mixin
    method = ACTIONS["retrieve"].runs
    return own if getattr(own, method, None) is getattr(mixin, method) else None


async def _beside(handler: ResourceHandler, cls: type[Any], resource: Resource[Any]) -> Any:
    """Return a handler of the same request for another resource, with its own idea of the caller; it never answers.

    Raises:
        Problem: 401, to that resource the credentials are wrong.
    """
    if resource.parts:  # the path of a single document is not known yet
        resource = resource.at(resource.parts)
    made = cls(handler.application, handler.request, resource=resource)
    handler.request.connection.set_close_callback(handler.on_connection_close)  # type: ignore[union-attr]
    made.principal = await handler.related.principal(resource)
    prepared = made.prepare()
    if prepared is not None:
        await prepared
    made.body, made._preconditions = handler.body, Preconditions()
    return made


class _Including:
    """Embeds documents that are referred to.

    Args:
        handler: the handler of the request.
        relations: the references whose documents are embedded.
        mixin: the handler class that shows a single document.
    """

    def __init__(self, handler: ResourceHandler, relations: Sequence[Relation], mixin: type[ResourceHandler]) -> None:
        self._handler = handler
        self._relations = relations
        self._mixin = mixin

    async def embed(self, shown: Sequence[dict[str, Any]]) -> None:
        """Embed the documents that are named in what a client is shown, and read them as one group.

        Raises:
            Problem: 400, they are more than a page of the collection can have.
        """
        held = [(each, holder.members) for each in self._relations for one in shown for holder in each.holders(one)]
        keys = [(each.target, str(key)) for each in self._relations for one in shown for _, key in each.keys(one)]
        named, most = dict.fromkeys(keys), self._handler.resource.max_page_size
        if len(named) > most:
            detail = f"More than {most} documents would be embedded; include less, or ask for fewer items by `limit`."
            raise Problem.of("bad-parameter", detail, parameter="include")
        found = await self._found(named)
        for relation, members in held:
            members[relation.shown_as] = _embedded(relation, members.get(relation.member), found)

    async def _found(self, named: Iterable[Named]) -> dict[Named, dict[str, Any]]:
        keys: dict[type[Model], list[str]] = {}
        for model, text in named:
            keys.setdefault(model, []).append(text)
        found: dict[Named, dict[str, Any]] = {}
        for model, texts in keys.items():
            for resource in self._handler.related.mounted(model):
                missing = [text for text in texts if (model, text) not in found]
                items = await self._shown(resource, missing)
                found |= {(model, text): item for text, item in zip(missing, items, strict=False) if item is not None}
        return found

    async def _shown(self, resource: Resource[Any], texts: Sequence[str]) -> list[dict[str, Any] | None]:
        """What GETs of documents of a resource would show to this caller; empty if it shows none."""
        cls = _class_of(resource, self._mixin)
        if not texts or cls is None:
            return []
        try:
            resource = await self._handler.related.placed(resource)
            made = await _beside(self._handler, cls, resource)
            await made.authorize("retrieve")
            if resource.hooks.has_before:
                await resource.hooks.before(made.event("retrieve"))
        except HTTPError:
            return []
        return await asyncio.gather(*(self._item(made, resource, text) for text in texts))

    async def _item(self, made: Any, resource: Resource[Any], text: str) -> dict[str, Any] | None:
        handler = copy.copy(made)
        key = resource.info.parse_key(text)
        try:
            model = None if key is None else await handler.perform_retrieve(key)
            if model is None:
                return None
            handler.resource = handler.related.bound(resource, model)
            await handler.related.enter(handler.resource)
            await handler.authorize("retrieve", model)
            item: dict[str, Any] = await handler.item(model, "retrieve")
        except CouchError:
            raise
        except (HTTPError, TornadoCouchError):  # a `perform_retrieve` of the service may raise Tornado's own
            return None
        return item


def _embedded(relation: Relation, keys: Any, found: Mapping[Named, dict[str, Any]]) -> Any:
    """What is embedded beside a property that holds a key, or several."""

    def one(key: Any) -> dict[str, Any] | None:
        return found.get((relation.target, str(key)))

    if relation.several and isinstance(keys, dict):
        return {name: one(key) for name, key in keys.items()}
    if relation.several:
        return [one(key) for key in keys or ()]
    return one(keys)


class Consequences(Dependents):
    """What a deletion does to the documents that refer to the deleted one, as a service over HTTP does it.

    Each is changed or deleted by a handler of its own class: under its policy, with its hooks and its `perform_…`
    method, and tried again after a conflict. Where the policy of one refuses, nothing is deleted.

    Args:
        handler: the handler of the deletion.
        mixins: by what a reference says, the handler class that does it where a resource names none.
    """

    def __init__(self, handler: ResourceHandler, mixins: Mapping[str, type[ResourceHandler]]) -> None:
        super().__init__(handler.resource.store.references)
        self._handler = handler
        self._mixins = mixins
        self._chosen: dict[tuple[type[Model], str, str], Resource[Any]] = {}

    async def rehearse(self, model: Model) -> None:
        """Raise what a deletion would raise, as far as it is known before.

        Raises:
            Problem: 409, a document has to stay as it is.
        """
        finding = await self.survey(model)
        if finding.refused or finding.unreadable:
            raise await self.refusal(model, finding)

    async def may_change(self, step: Dependent) -> bool:
        """Whether a policy lets the caller change a document, or delete it, as its reference says."""
        related, action = self._handler.related, _ACTIONS[step.relation.marker.on_delete]
        resources = list(related.mounted(type(step.model)))
        for resource in resources:
            if await related.allows(resource, action, step.model):
                self._chosen[step.place] = await related.placed(related.bound(resource, step.model))
                return True
        return not resources

    async def unlink(self, step: Dependent) -> None:
        """Take the reference out of a document; see `Dependents.unlink`."""
        made = await self._made(step)
        if made is None:
            await super().unlink(step)
            return
        changed = await made.perform_patch(step.model._key, _returning(unlinked(step)), None)
        await made.resource.hooks.after(made.event("patch"), changed, None)

    async def delete(self, step: Dependent) -> None:
        """Delete a document; see `Dependents.delete`."""
        made = await self._made(step)
        if made is None:
            await super().delete(step)
            return
        deleted = await made.delete_document(step.model._key)
        await made.resource.hooks.after(made.event("destroy"), deleted, None)

    async def _made(self, step: Dependent) -> Any:
        """Return a handler for a document; None where its model is not mounted."""
        resource = self._chosen.get(step.place)
        if resource is None:
            return None
        mixin, own = self._mixins[step.relation.marker.on_delete], resource.document
        cls = own if own is not None and issubclass(own, mixin) else mixin
        return await _beside(self._handler, cls, resource)

    async def refusal(self, model: Model, finding: Finding) -> Exception:  # noqa: ARG002
        """Return the problem for a document that has to stay; it names only what the caller may see."""
        related, shown = self._handler.related, []
        for step in finding.refused:
            resource = next(iter(related.mounted(type(step.model))), None)
            if resource is not None and await related.shows(step.model):
                shown.append(self._handler.prefix + related.bound(resource, step.model).href(step.model._key))
        shown = list(dict.fromkeys(shown))[:_MOST_NAMED]
        more = finding.unreadable or len(shown) < len({each.place[:2] for each in finding.refused})
        count = f"{'More than ' if more else ''}{len(shown)} document{'s' * (len(shown) != 1)}" if shown else "Others"
        detail = f"{count} refer{'s' * (count.startswith('1 '))} to this one, and it was not deleted."
        return Problem.of("referenced", detail, references=shown, more=more)


_ACTIONS = {"cascade": "destroy", "set null": "patch"}  # as policies and hooks call them


def _returning(change: Any) -> Any:
    def apply(current: Model) -> Model:
        change(current)
        return current

    return apply


# ---------------------------------------------------------------- the API document


def describe_include(operation: ApiOperation, mixin: type[ResourceHandler], *shown: Schema) -> None:
    """Describe `include`, if there is anything that it could name.

    Args:
        operation: the operation that has the parameter.
        mixin: the handler class that shows a single document.
        *shown: the schemas of the documents that it shows.
    """
    offered = _offered(
        operation.resource.info,
        lambda model: (each for each in operation.mounted if each.model is model),
        lambda each: each.policy or operation.settings.get("policy") or AllowAny(),
        mixin,
    )
    if not offered:
        return
    one = "|".join(each.replace(".", r"\.") for each in offered)
    schema = {"type": "string", "pattern": f"^({one})(,({one}))*$", "examples": [next(iter(offered))]}
    words = f"Documents to embed, separated by commas: {', '.join(offered)}. null stands for one that is not shown."
    operation.query("include", schema, words)
    embedded = {each.shown_as: _embedded_schema(operation, each) for each in offered.values() if not each.outer}
    operation.of_model().embed(embedded, *shown)


def _embedded_schema(operation: ApiOperation, relation: Relation) -> Schema:
    target = nullable(ModelSchemas(operation.components, relation.target).item())
    found: Schema = {"type": "array", "items": target} if relation.several else target
    return {**found, "readOnly": True, "description": f"With `include={relation.name}`: the document of the reference."}


def describe_consequences(operation: ApiOperation) -> None:
    """Describe how a deletion fails because of the documents that refer to the deleted one."""
    if referring(operation.resource.model):
        operation.problem("referenced", "dependents-left")
