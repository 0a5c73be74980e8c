"""Classified properties between models and documents: hashed, encrypted and indexed blindly on the way in.

What was not changed stays as it is stored: a hash that was read, and a ciphertext of the primary key. So writing
a document tells nobody which of its protected properties changed, and which did not.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any, TypeVar

from ... import _json
from ...errors import DecryptionFailed, KeySetError, NotProtected
from ...models import (
    Classification,
    Encrypted,
    Model,
    ModelInfo,
    Place,
    Property,
    StoredHash,
    bound_id,
    classes_of,
    model_info,
    run_slow,
    to_document,
)
from ...security import as_keys, is_encrypted
from ..query import Query

__all__ = ["Protection", "check_protected", "classified", "is_nothing"]

M = TypeVar("M", bound=Model)
Document = dict[str, Any]

_ENCRYPTED = Encrypted()


class Protection:
    """Applies the classes of the models' properties, with one store's keys.

    Args:
        crypter: what encrypts: whatever `as_keys` takes; None for a store of models that need no keys.
        indexer: what makes blind indexes; the crypter without it.
    """

    def __init__(self, crypter: object | None = None, indexer: object | None = None) -> None:
        self._crypter = None if crypter is None else as_keys(crypter)
        self._indexer = self._crypter if indexer is None else as_keys(indexer)

    def check(self, cls: type[Model]) -> None:
        """Refuse a model that needs keys where there are none.

        Raises:
            KeySetError: naming the properties.
        """
        needing = [each.name for each, found in classified(model_info(cls)) if found.needs_keys]
        if needing and self._crypter is None:
            raise KeySetError(f"{cls.__name__} has encrypted {needing}, so it needs keys: Store(database, crypter=...)")

    async def protected(self, model: Model) -> Document:
        """The document to write for a model that has its id; its hashed values are replaced by their hashes."""
        self.check(type(model))
        info = model_info(type(model))
        plain = self._revealed(type(model), model._stored, tolerant=True)
        document = to_document(model, plain)
        for declared, found in classified(info):
            if declared.blind:
                document.pop(declared.index_member, None)
            if declared.name in document:
                place = self._place(info, declared.name, model._id or "")
                await self._protect(model, declared, found, place, document, plain)
        return document

    async def _protect(
        self,
        model: Model,
        declared: Property,
        found: Classification,
        place: Place,
        document: Document,
        plain: Document,
    ) -> None:
        """Put what is to be stored in the place of one property's value."""
        name, value = declared.name, document[declared.name]
        if isinstance(held := getattr(model, declared.attribute, None), StoredHash):
            document[name] = str(held)
            return
        if found.blind_index is not None:
            document[declared.index_member] = found.blind_index(value, place)
        if self._stays(type(model), found, place, model._stored, plain, value):
            document[name] = model._stored[name]
        elif found.slow:
            document[name] = await run_slow(found.protect, value, place)
        else:
            document[name] = found.protect(value, place)
        if found.hidden:
            # Not `setattr`, which would have the model's own validators judge a hash.
            model.__dict__[declared.attribute] = found.reveal(document[name], place)

    def revealed(self, cls: type[Model], document: Document) -> Document:
        """A stored document with the values that its model has.

        Raises:
            DecryptionFailed: a value was changed, or is not in the place that it was encrypted for.
            NotProtected: a value is stored in the clear.
            KeySetError: there are no keys.
        """
        if _has_nothing_classified(cls):
            return document
        self.check(cls)
        return self._revealed(cls, document, tolerant=False)

    def moved(self, cls: type[Model], document: Document, source_id: str | None) -> Document:
        """A document to be written, with what its model does not know encrypted for its own id, too.

        Args:
            cls: the model.
            document: with its id.
            source_id: of the document that it was made of; None for a new one.
        """
        if source_id in (None, document["_id"]):
            return document
        found, info = dict(document), model_info(cls)
        for name in document.keys() - info.properties.keys():
            if is_encrypted(document[name]):
                try:
                    value = _ENCRYPTED.reveal(document[name], self._place(info, name, str(source_id)))
                except DecryptionFailed:
                    continue  # it was worth nothing in its own place either
                found[name] = _ENCRYPTED.protect(value, self._place(info, name, document["_id"]))
        return found

    def lookup(self, cls: type[Model], query: Query) -> Query:
        """A query as the indexes know its values.

        Raises:
            KeySetError: there are no keys.
        """
        info = model_info(cls)
        among = {name: self._lookups(info, name, list(values)) for name, values in query.among.items()}
        return replace(query, among=among)

    def _lookups(self, info: ModelInfo, name: str, values: list[Any]) -> list[Any]:
        declared = info.properties.get(name)
        lookups = declared.classification.lookups if declared and declared.classification else None
        if declared is None or lookups is None:
            return values
        place = self._place(info, name, "")
        # None by default is not stored, so nothing stands in its place.
        found = [[value] if value is None and declared.optional else lookups(value, place) for value in values]
        return list(dict.fromkeys(each for some in found for each in some))

    def _revealed(self, cls: type[Model], document: Document, *, tolerant: bool) -> Document:
        values, info = dict(document), model_info(cls)
        for name, found in _classes(cls, document).items():
            declared = info.properties.get(name)
            if name not in document or (declared and is_nothing(declared, document[name])):
                continue
            try:
                place = self._place(info, name, bound_id(document))
                check_protected(place, found, document[name])
                values[name] = found.reveal(document[name], place)
            except DecryptionFailed:
                if not tolerant:
                    raise
                del values[name]  # whatever it was, it is written anew
        return values

    def _stays(
        self, cls: type[Model], found: Classification, place: Place, before: Document, plain: Document, value: Any
    ) -> bool:
        """Whether what is stored stands for this value already, in this document and under this class."""
        if found.hidden or place.name not in before or place.name not in plain:
            return False
        if before.get("_id") != place.document_id or _classes(cls, before).get(place.name) is not found:
            return False
        # Compared as JSON, since Python takes 1 and True for equal.
        same = _json.dumps(plain[place.name]) == _json.dumps(value)
        return same and found.is_current(before[place.name], place)

    def _place(self, info: ModelInfo, name: str, document_id: str) -> Place:
        return Place(document_id, info.type.name, name, self._crypter, self._indexer)


def _classes(cls: type[Model], document: Document) -> dict[str, Classification]:
    """How a document is classified; one that was never stored has nothing that is."""
    return classes_of(cls, document) if "type" in document else {}


@cache
def _has_nothing_classified(cls: type[Model]) -> bool:
    """Whether no document of a model, of whatever version, has anything to reveal."""
    info = model_info(cls)
    return not info.upgrades and not classified(info)


def classified(info: ModelInfo) -> list[tuple[Property, Classification]]:
    """The properties of a model that are classified, with their classes."""
    return [(each, each.classification) for each in info.properties.values() if each.classification is not None]


def is_nothing(declared: Property, stored: object) -> bool:
    """Whether there is nothing to protect: null where null is as good as nothing."""
    return stored is None and declared.optional


def check_protected(place: Place, found: Classification, stored: object) -> None:
    """Refuse a value that stands in the clear where it has to be protected.

    Raises:
        NotProtected: saying what to do.
    """
    if not found.is_protected(stored):
        raise NotProtected(
            f"{place.type_name}.{place.name} is stored in the clear: the document is older than the property's"
            " class, or was written past this service; what is older, `tornado-couch rotate --models ..."
            " --protect-plaintext` protects"
        )
