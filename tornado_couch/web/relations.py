"""`Related`: the documents that those of a request refer to, as far as the request's caller may see them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..errors import ValidationFailed
from ..models import Model, model_info, reading_partially
from ..store import Store
from ..store.references import MOST_LOOKED_UP, Held, failed, held_by, held_in, mark, read_for, to_check
from .access import AllowAny, Caller, Hidden, Policy, Principal, opened
from .admission import Admission
from .problems import Problem
from .resources import Resource, mounted_resources

if TYPE_CHECKING:
    from .handler import ResourceHandler

__all__ = ["Related", "check_relations", "is_under"]

_OF_REQUEST = "tornado_couch_related"  # the attribute of a request that holds its `Related`

_DEEPEST = 4  # collections in each other

Named = tuple[type[Model], str]
"""A document: its model, and its key as it stands in its address."""


class Related:
    """Says which documents the caller may refer to: those that are there, and that a policy shows.

    Where a model is mounted, its documents are shown by any of its policies that lets the caller retrieve them. Where
    it is not, nobody is asked, and being there is enough. What was found is remembered for the request.

    Args:
        handler: the handler of the request.
    """

    def __init__(self, handler: ResourceHandler) -> None:
        self._handler = handler
        self._principals: dict[int, Principal | Problem | None] = {}
        self._identified: set[type[Model]] = set()
        self._visible: dict[Named, bool] = {}
        self._stores: dict[int, Store] = {}
        self._mounted: list[Resource[Any]] | None = None

    @classmethod
    def of(cls, handler: ResourceHandler) -> Related:
        """Return that of a handler's request."""
        found: Related | None = getattr(handler.request, _OF_REQUEST, None)
        if found is None:
            found = cls(handler)
            setattr(handler.request, _OF_REQUEST, found)
        return found

    def mounted(self, model: type[Model]) -> Iterator[Resource[Any]]:
        """Yield the resources of a model, in the order of their routes."""
        if self._mounted is None:
            self._mounted = mounted_resources(self._handler.application.default_router)
        return (each for each in self._mounted if each.model is model)

    def bound(self, resource: Resource[Any], document: Model) -> Resource[Any]:
        """Return a resource as a document belongs to it, in this request."""
        return resource.bound_to(document, self._handler.resource.given)

    async def placed(self, resource: Resource[Any]) -> Resource[Any]:
        """Return a resource with the store that it has for the caller, which is open until the request is over."""
        if not callable(resource.store):
            return resource
        if id(resource.store) not in self._stores:
            caller = Caller(await self.principal(resource), self._handler.request)
            self._stores[id(resource.store)] = await self._handler.enter(opened(resource.store, caller))
        return resource.within(self._stores[id(resource.store)])

    def forget(self) -> None:
        """Forget what was found, for a request that takes long."""
        self._visible.clear()

    # ------------------------------------------------------------ references

    async def check(self, model: Model, before: Collection[Held] = ()) -> None:
        """Refuse a model that refers to a document which is not there for this caller.

        Args:
            model: the model as it is to be written.
            before: the references that it had before.

        Raises:
            ValidationFailed: with each of them.
        """
        if model_info(type(model)).relations:
            (fault,) = await self.faults([(model, before)])
            if fault is not None:
                raise fault

    async def faults(self, models: Sequence[tuple[Model, Collection[Held]]]) -> list[ValidationFailed | None]:
        """For each model, with the references that it had before, return the error of `check`."""
        wanted = [to_check(held_by(model), before, model) for model, before in models]
        await self.find(each.named for held in wanted for each in held)
        faults: list[ValidationFailed | None] = []
        for (model, _), held in zip(models, wanted, strict=True):
            missing = [each for each in held if not self._visible[each.named]]
            mark(model, [each for each in held if each not in missing])
            faults.append(failed(missing) if missing else None)
        return faults

    async def prepare(self, model: type[Model], bodies: Iterable[object]) -> None:
        """Look in one group for what many bodies refer to, so that `check` finds it."""
        if model_info(model).relations:
            await self.find(each.named for body in bodies for each in held_in(model, body))

    async def find(self, named: Iterable[Named], depth: int = 0) -> None:
        """Look for documents that are not known yet, all at once.

        Args:
            named: the documents.
            depth: how many documents have led here, each under the next; some may lead back to themselves.
        """
        new = [each for each in dict.fromkeys(named) if each not in self._visible]
        for model in dict.fromkeys(model for model, _ in new):
            await self._identify(model)
        for begin in range(0, len(new), MOST_LOOKED_UP):
            some = new[begin : begin + MOST_LOOKED_UP]
            found = await asyncio.gather(*(self._is_seen(*each, depth) for each in some))
            self._visible |= dict(zip(some, found, strict=True))

    async def _is_seen(self, model: type[Model], text: str, depth: int) -> bool:
        store = self._handler.resource.store.references.keeper(model)
        key = model_info(model).parse_key(text)
        found = None if store is None or key is None else await read_for(store.get(model, key, fresh=True))
        return found is not None and await self.shows(found, depth + 1)

    async def _identify(self, model: type[Model]) -> None:
        """Find out who the caller is to all policies that documents of a model are shown by.

        This comes before the documents are read: neither `Vary` nor the time of a password may tell which are there.
        """
        if model in self._identified:
            return
        self._identified.add(model)
        for resource in self.mounted(model):
            with contextlib.suppress(Problem):  # asked about a document, that policy refuses
                await self.principal(resource)
            for parent in resource.parents:
                await self._identify(parent.target)

    # ------------------------------------------------------------ what the caller may see

    async def shows(self, document: Model, depth: int = 0) -> bool:
        """Whether the caller may retrieve a document, by the policies of where its model is mounted."""
        resources = list(self.mounted(type(document)))
        for each in resources:
            if await self.allows(each, "retrieve", document, depth):
                return True
        return not resources

    async def allows(self, resource: Resource[Any], action: str, document: Model, depth: int = 0) -> bool:
        """Whether a resource's policy lets the caller do something with a document."""
        policy, model = self.policy(resource), resource.model
        try:
            principal = await self.principal(resource)
            with reading_partially(document._unfit):
                await policy.authorize(principal, action, model)
                await policy.authorize(principal, action, model, document)
                await self.enter(self.bound(resource, document), depth)
        except Problem:
            return False
        return True

    async def enter(self, resource: Resource[Any], depth: int = 0) -> None:
        """Look for the documents that a nested collection is under.

        Raises:
            Hidden: the caller sees none of a key, or one that is not under the others.
        """
        named = [(each.target, str(resource.under[each.member])) for each in resource.parents if resource.under]
        if not named:
            return
        if depth > _DEEPEST:
            raise Hidden
        await self.find(named, depth)
        if not all(self._visible[each] for each in named):
            raise Hidden
        for model, text in named if len(named) > 1 else ():
            known = model_info(model).given
            await self._check_chain(model, text, {name: each for name, each in resource.under.items() if name in known})

    async def _check_chain(self, model: type[Model], text: str, under: Mapping[str, Any]) -> None:
        """Refuse a document that is under others than the address has."""
        store = self._handler.resource.store.references.keeper(model)
        key = model_info(model).parse_key(text)
        found = None if store is None else await read_for(store.get(model, key))
        if found is None or not is_under(found, under):
            raise Hidden

    def policy(self, resource: Resource[Any]) -> Policy:
        """Return the policy of a resource."""
        policy: Policy = resource.policy or self._handler.settings.get("policy") or AllowAny()
        return policy

    async def principal(self, resource: Resource[Any]) -> Principal | None:
        """Return who the caller is to the policy of a resource, which may have authenticators of its own.

        Raises:
            Problem: 401, to that policy the credentials are wrong; 429, too many were, by the limit of the resource.
        """
        policy = self.policy(resource)
        if policy.authenticators == self._handler.policy.authenticators:
            return self._handler.principal
        if id(policy) not in self._principals:
            if policy.vary:
                self._handler.admission.vary(policy.vary)
            try:
                self._principals[id(policy)] = await Admission(self._handler, resource).identified()
            except Problem as refusal:  # a wrong password is checked once, however many documents are named
                self._principals[id(policy)] = refusal
        found = self._principals[id(policy)]
        if isinstance(found, Problem):
            raise found
        return found


def is_under(document: Model, under: Mapping[str, Any]) -> bool:
    """Whether a document has the references that the address of a nested collection fixes."""
    info = model_info(type(document))
    return all(
        info.stored_value(name, getattr(document, info.properties[name].attribute, None)) == value
        for name, value in under.items()
    )


def check_relations(resources: Sequence[Resource[Any]]) -> None:
    """Refuse stores that look in their own databases for documents that another store keeps.

    Raises:
        ValueError: saying how to tell them.
    """
    for each in resources:
        for relation in each.info.relations.values():
            targets = [other for other in resources if other.model is relation.target]
            pairs = [(each, other) for other in targets[:1]]
            if relation.marker.on_delete != "nothing":
                pairs += [(other, each) for other in targets]
            for one, other in pairs:
                _check_keeper(one, other)


def _check_keeper(one: Resource[Any], other: Resource[Any]) -> None:
    if callable(one.store) or callable(other.store):
        return  # which store it is turns out in a request
    keeper = one.store.references.keeper(other.model)
    if keeper is not None and keeper.database is not other.store.database:
        raise ValueError(
            f"{one.path}: another store than its own keeps the documents of {other.model.__name__}; say so by"
            f" Store(…, elsewhere={{{other.model.__name__}: …}})"
        )
