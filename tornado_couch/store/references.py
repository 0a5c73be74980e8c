"""References between documents: whether what a document refers to is there, and what depends on a deleted document.

CouchDB has no transaction over several documents. So what is checked holds at that moment: another writer can delete
a document just after somebody has referred to it, or refer to it just after its deletion has found that nobody does.

When a document is deleted, first the documents that refer to it are changed or deleted, each with a write of its own,
and it goes last. Whatever ends that in between leaves it there, with fewer references to it than before, and the same
call again finishes the work.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any, NamedTuple, Protocol, TypeVar

from pydantic import ValidationError

from ..couch import Database
from ..errors import (
    DependentsLeft,
    DocumentNotFound,
    DocumentReferenced,
    InvalidDocument,
    NotFound,
    SecurityError,
    ValidationFailed,
)
from ..models import Model, Relation, model_info, referring
from .query import Query

__all__ = [
    "MOST_LOOKED_UP",
    "Dependent",
    "Dependents",
    "Finding",
    "Held",
    "References",
    "failed",
    "held_by",
    "held_in",
    "mark",
    "read_for",
    "to_check",
    "unlinked",
]

M = TypeVar("M", bound=Model)

MOST_LOOKED_UP = 500
"""Documents that references lead to and that are in hand at the same time, to see whether they are there."""

_AT_ONCE = 16  # documents that are changed at the same time
_PAGE = 100
_TOGETHER = 20  # documents whose dependents are looked up with one query
_MOST = 1000  # documents that one deletion changes
_MOST_NAMED = 10  # documents that an error names

_VERIFIED = "_verified"  # the private member of a model with what it was found to refer to


class Held(NamedTuple):
    """A reference of a document.

    Attributes:
        relation: the property.
        pointer: the JSON Pointer to the key.
        key: the key, as the document holds it.
    """

    relation: Relation
    pointer: str
    key: Any

    @property
    def named(self) -> tuple[type[Model], str]:
        """The document that is referred to: its model, and its key as it stands in its address."""
        return self.relation.target, str(self.key)


def held_by(model: Model) -> list[Held]:
    """All references of a model."""
    info = model_info(type(model))
    if not info.relations:
        return []
    if model._unfit is not None:
        document = model._unfit.values
    else:
        names = {each.declared.attribute for each in info.relations.values()}
        document = info.write(model, include=names)
    return _held(info.relations.values(), document)


def _held(relations: Iterable[Relation], document: Mapping[str, Any]) -> list[Held]:
    return [Held(each, *found) for each in relations for found in each.keys(document)]


def held_in(cls: type[Model], document: object) -> list[Held]:
    """The references in a body that a client sent for a document of the model; it need not be valid."""
    relations = model_info(cls).relations
    return _held(relations.values(), document) if relations and isinstance(document, dict) else []


def is_named(held: Held, model: Model) -> bool:
    """Whether a document refers to itself."""
    target, text = held.named
    return target is type(model) and model._key is not None and model_info(target).key_text(model._key) == text


def to_check(held: Sequence[Held], before: Collection[Held], model: Model) -> list[Held]:
    """The references that a write has to look at: those that are new, or were moved to another property.

    What a document has held before may stay, so that it can be changed although what it refers to is gone.
    """
    known = {(each.relation.name, each.key) for each in before} if before else set()
    verified = (model.__pydantic_private__ or {}).get(_VERIFIED, ())
    return [
        each
        for each in held
        if (each.relation.name, each.key) not in known and each.named not in verified and not is_named(each, model)
    ]


def mark(model: Model, held: Iterable[Held]) -> None:
    """Remember with a model that its references were found, so that a store does not look for them once more."""
    private: dict[str, Any] = model.__pydantic_private__ or {}
    private[_VERIFIED] = {*private.get(_VERIFIED, ()), *(each.named for each in held)}


def failed(missing: Iterable[Held]) -> ValidationFailed:
    """The error for references to documents that are not there."""
    return ValidationFailed(
        [
            {
                "pointer": each.pointer,
                "keyword": "reference",
                "detail": f"There is no {_words(each.relation.target)} with this key.",
            }
            for each in missing
        ]
    )


def _words(cls: type[Model]) -> str:
    return model_info(cls).type.name.replace("_", " ")


class _Store(Protocol):
    """What is asked of a store."""

    database: Database
    references: References

    async def get(self, cls: type[M], key: Any, *, fresh: bool = False) -> M: ...

    async def find(self, cls: type[M], query: Query, *, limit: int = 50, start: Any = None) -> Any: ...

    async def update(self, cls: type[M], key: Any, change: Callable[[M], Any]) -> M: ...

    async def delete(self, cls: type[M], key: Any) -> M: ...


class References:
    """Says whether documents are there that others refer to.

    Args:
        store: the store of the documents that refer.
        elsewhere: the stores of models that it does not keep; None for a model that nobody keeps.
    """

    def __init__(self, store: _Store, elsewhere: Mapping[type[Model], _Store | None]) -> None:
        self._store = store
        self._elsewhere = elsewhere

    def keeper(self, cls: type[Model]) -> _Store | None:
        """The store that keeps the documents of a model; None if none does."""
        return self._elsewhere.get(cls, self._store)

    async def check(self, model: Model, before: Collection[Held] | None = None) -> None:
        """Refuse a model that refers to a document which is not there.

        Args:
            model: the model as it is to be written.
            before: the references that it had before.

        Raises:
            ValidationFailed: with each of them.
        """
        if model_info(type(model)).relations:
            (fault,) = await self.faults([(model, before or ())])
            if fault is not None:
                raise fault

    async def faults(self, models: Iterable[tuple[Model, Collection[Held]]]) -> list[ValidationFailed | None]:
        """For each model, with the references that it had before, the error of `check`; read in one group."""
        wanted = [to_check(held_by(model), before, model) for model, before in models]
        if not any(wanted):
            return [None] * len(wanted)
        named = list(dict.fromkeys(each.named for held in wanted for each in held))
        there: set[tuple[type[Model], str]] = set()
        for begin in range(0, len(named), MOST_LOOKED_UP):
            some = named[begin : begin + MOST_LOOKED_UP]
            found = await asyncio.gather(*(self._is_there(*each) for each in some))
            there |= {each for each, is_there in zip(some, found, strict=True) if is_there}
        missing = [[each for each in held if each.named not in there] for held in wanted]
        return [failed(each) if each else None for each in missing]

    async def _is_there(self, cls: type[Model], text: str) -> bool:
        store, key = self.keeper(cls), model_info(cls).parse_key(text)
        return store is not None and key is not None and await read_for(store.get(cls, key, fresh=True)) is not None


async def read_for(read: Awaitable[M]) -> M | None:
    """What is read to see whether it is there, as much of it as fits its model; None where it cannot be trusted."""
    try:
        return await read
    except InvalidDocument as error:
        model: M | None = error.partial
        return model
    except (DocumentNotFound, SecurityError):
        return None


# ---------------------------------------------------------------- what depends on a document


@dataclass(frozen=True)
class Dependent:
    """A document that refers to one that is about to be deleted.

    Attributes:
        relation: the reference.
        model: the document.
        gone: the keys of what is deleted, as they stand in addresses.
    """

    relation: Relation
    model: Model
    gone: frozenset[str]

    @property
    def place(self) -> tuple[type[Model], str, str]:
        """The document and the reference: its model, its key, and the reference's name."""
        return (*_place(self.model), self.relation.name)


@dataclass
class Finding:
    """What was found to depend on a document.

    Attributes:
        refused: documents for which it has to stay.
        steps: the others; what depends on one of them comes after it.
        unreadable: whether there are documents that cannot be read, for which it has to stay.
        ended: whether there are more documents than one call changes.
    """

    refused: list[Dependent] = field(default_factory=list)
    steps: list[Dependent] = field(default_factory=list)
    unreadable: bool = False
    ended: bool = False


@dataclass
class _Deletion:
    """A deletion under way, with those that it has brought about.

    Attributes:
        places: the documents that are being deleted: model and key.
        left: how many more documents it may change.
    """

    places: set[tuple[type[Model], str]]
    left: int = field(default_factory=lambda: _MOST)


_under_way: ContextVar[_Deletion | None] = ContextVar("_under_way", default=None)


class Dependents:
    """Changes or deletes the documents that refer to one that is about to be deleted, as their references say.

    Args:
        references: says which store keeps the documents of a model.
    """

    def __init__(self, references: References) -> None:
        self._references = references

    async def settle(self, model: Model) -> None:
        """See to it that nothing depends any more on a document that is about to be deleted.

        Raises:
            DocumentReferenced: another document has to stay as it is; nothing was changed.
            DependentsLeft: more documents depend on it than one call changes.
        """
        if not referring(type(model)):
            return
        deletion = _under_way.get() or _Deletion(set())
        deletion.places.add(_place(model))
        token = _under_way.set(deletion)
        try:
            known: set[tuple[type[Model], str, str]] = set()
            while await self._settled(model, deletion, known):
                pass
        finally:
            _under_way.reset(token)

    async def survey(self, model: Model) -> Finding:
        """Find what depends on a document, and on what depends on that, without changing anything."""
        deletion = _under_way.get() or _Deletion(set())
        finding, seen = Finding(), {*deletion.places, _place(model)}
        level: list[Model] = [model]
        while level and not finding.ended:
            below = []
            for cls in dict.fromkeys(map(type, level)):
                alike = [each for each in level if type(each) is cls]
                for begin in range(0, len(alike), _TOGETHER):
                    some = alike[begin : begin + _TOGETHER]
                    below += await self._survey(some, finding, seen, deletion.left)
            level = below
        return finding

    async def _settled(self, model: Model, deletion: _Deletion, known: set[tuple[type[Model], str, str]]) -> bool:
        """Deal with what depends on a document; return whether anything did."""
        finding = await self.survey(model)
        if finding.refused or finding.unreadable:
            raise await self.refusal(model, finding)
        places = {each.place for each in finding.steps}
        if places & known:  # something has given them the same reference again
            raise await self.refusal(model, Finding(refused=[each for each in finding.steps if each.place in known]))
        known |= places
        deletion.left -= len(finding.steps)
        for steps in _in_turn(finding.steps):
            await self._take(steps)
        if finding.ended:
            raise DependentsLeft(
                "more documents depend on this one than one call changes; the same call again goes on with the others"
            )
        return bool(finding.steps)

    async def _take(self, steps: Sequence[Dependent]) -> None:
        """Take steps at the same time; an error of one stops none of the others."""
        turns, errors = asyncio.Semaphore(_AT_ONCE), []

        async def one(step: Dependent) -> None:
            async with turns:
                try:
                    await (self.delete(step) if step.relation.marker.on_delete == "cascade" else self.unlink(step))
                except DocumentNotFound:
                    pass  # somebody else has deleted it, or taken the reference out
                except Exception as error:  # noqa: BLE001 - raised below
                    errors.append(error)

        async with asyncio.TaskGroup() as group:
            for each in steps:
                group.create_task(one(each))
        if errors:
            raise errors[0]

    async def _survey(
        self, models: Sequence[Model], finding: Finding, seen: set[tuple[type[Model], str]], most: int
    ) -> list[Model]:
        """Add what refers to these documents, which are of one model; return what would be deleted with them."""
        deleted: list[Model] = []
        for cls, relation in referring(type(models[0])):
            async for each in self._referring(cls, relation, models, finding):
                if finding.ended or len(finding.refused) > _MOST_NAMED:
                    return []
                step = Dependent(relation, each, frozenset(_place(one)[1] for one in models))
                cascades = relation.marker.on_delete == "cascade"
                if _place(each) in seen:
                    continue
                if relation.marker.on_delete == "refuse" or not await self.may_change(step):
                    finding.refused.append(step)
                elif len(finding.steps) >= most:
                    finding.ended = True
                else:
                    finding.steps.append(step)
                    seen |= {_place(each)} if cascades else set()
                    deleted += [each] if cascades else []
        return deleted

    async def _referring(
        self, cls: type[Model], relation: Relation, models: Sequence[Model], finding: Finding
    ) -> AsyncIterator[Model]:
        store = self._references.keeper(cls)
        if store is None:
            return
        query, start = Query({relation.filter: [_key_for(relation, cls, each) for each in models]}), None
        while True:
            try:
                page = await store.find(cls, query, limit=_PAGE, start=start)
            except NotFound as error:
                raise NotFound(error.status, error.error, f"{error.reason}; {_needed(cls)}") from error
            finding.unreadable = finding.unreadable or bool(page.withheld)
            for each in page.items:
                yield each
            start = page.next
            if start is None:
                return

    # ------------------------------------------------------------ what a service over HTTP does in its own way

    async def may_change(self, step: Dependent) -> bool:  # noqa: ARG002
        """Whether a document may be changed, or deleted, as its reference says."""
        return True

    async def unlink(self, step: Dependent) -> None:
        """Take the reference out of a document.

        Raises:
            DocumentNotFound: it is not there any more, or does not have the reference.
        """
        cls = type(step.model)
        if (store := self._references.keeper(cls)) is not None:
            await store.update(cls, step.model._key, unlinked(step))

    async def delete(self, step: Dependent) -> None:
        """Delete a document.

        Raises:
            DocumentNotFound: it is not there any more.
        """
        cls = type(step.model)
        if (store := self._references.keeper(cls)) is not None:
            await store.delete(cls, step.model._key)

    async def refusal(self, model: Model, finding: Finding) -> Exception:
        """Return the error for a document that has to stay."""
        named = [(type(each.model), each.model._key) for each in finding.refused[:_MOST_NAMED]]
        what = ", ".join(f"{_words(cls)} {key}" for cls, key in named) or "a document that cannot be read"
        more = finding.unreadable or len(finding.refused) > _MOST_NAMED
        message = f"this {_words(type(model))} was not deleted, since others refer to it: {what}"
        return DocumentReferenced(message, named, more=more)


def _needed(cls: type[Model]) -> str:
    name = cls.__name__
    return f"install the indexes of {name}, or say elsewhere={{{name}: …}} to the store, None where nobody keeps any"


def _place(model: Model) -> tuple[type[Model], str]:
    """The model and the key of a document."""
    return type(model), model_info(type(model)).key_text(model._key)


def _key_for(relation: Relation, cls: type[Model], model: Model) -> Any:
    """The key of a document, as a document of the class holds it that refers to it."""
    text = _place(model)[1]
    try:
        return model_info(cls).adapters[relation.filter].validate_strings(text)
    except ValueError:
        return text


def _in_turn(steps: Sequence[Dependent]) -> list[list[Dependent]]:
    """The steps that can be taken at the same time: what depends on a document before the document itself."""
    alike = groupby(reversed(steps), key=lambda each: (type(each.model), each.relation.name))
    return [list(each) for _, each in alike]


def unlinked(step: Dependent) -> Callable[[Any], None]:
    """Return a change that takes a reference out of a document, as the document is then.

    The change raises:
        DocumentNotFound: the document does not have the reference any more.
        DocumentReferenced: without the reference the document would not be valid.
    """
    relation, attribute = step.relation, step.relation.declared.attribute

    def change(current: Any) -> None:
        info = model_info(type(current))
        held = info.write(current, include={attribute})[relation.member]
        if not {str(each) for each in (held if relation.several else [held])} & step.gone:
            raise DocumentNotFound("the document does not refer to the deleted one any more")
        rest = None
        if relation.several:
            rest = [
                each for each, key in zip(getattr(current, attribute), held, strict=True) if str(key) not in step.gone
            ]
        try:
            setattr(current, attribute, rest)
        except ValidationError:
            problem = "a document that refers to this one would not be valid without the reference"
            raise DocumentReferenced(problem, [(type(current), current._key)]) from None

    return change
