"""Protects classified properties: hashes, encrypts and blindly indexes them on the way into the database.

A value that did not change stays as it is stored: a hash that was read, or a ciphertext of the primary key. So
nobody can tell from a write which of a document's protected properties changed.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any, TypeVar

from ... import _json
from ...errors import DecryptionFailed, InvalidDocument, KeySetError, NotProtected
from ...models import (
    PLAIN_FILES,
    Classification,
    Encrypted,
    Model,
    ModelInfo,
    Place,
    Property,
    StoredHash,
    attachments_of,
    bound_id,
    classes_of,
    from_document,
    model_info,
    partition_of,
    partition_problem,
    run_slow,
    to_document,
    utc_now,
)
from ...security import as_keys, is_bound_to_database, is_encrypted
from ..query import Query, as_stored
from ..scopes import with_scopes_left
from ..uploads import check_required
from .files import FileProtection

__all__ = ["Conversion", "OpenedDocument", "Protection", "check_protected", "classified", "in_partition", "is_nothing"]


class OpenedDocument(dict[str, Any]):
    """A stored document, equal to a plain dict, that decrypts each of its values once.

    A value is remembered for its ciphertext in its place: a member that was altered since is decrypted as any other.
    """

    __slots__ = ("_texts",)

    def __init__(self, document: dict[str, Any]) -> None:
        super().__init__(document)
        # As JSON, since the model is given the value itself, and may be changed in place.
        self._texts: dict[str, tuple[Classification, Place, Any, bytes]] = {}

    def reveal(self, found: Classification, place: Place) -> Any:
        """The value of the property that has this place; see `Classification.reveal`."""
        stored = self[place.name]
        *key, text = self._texts.get(place.name, (None, b""))
        if key == [found, place, stored]:
            return _json.loads(text)
        value = found.reveal(stored, place)
        self._texts[place.name] = (found, place, stored, _json.dumps(value))
        return value

    def copy(self) -> OpenedDocument:
        """A shallow copy that remembers the same."""
        found = OpenedDocument(self)
        found._texts = self._texts.copy()
        return found

    def __reduce__(self) -> tuple[Any, ...]:
        """Be pickled, and copied by `copy.deepcopy`, as a plain dict: neither values nor keys go along."""
        return dict, (dict(self),)


M = TypeVar("M", bound=Model)

Document = dict[str, Any]

_ENCRYPTED = Encrypted()


class Protection:
    """Applies the classifications of the models' properties, with the keys of one store.

    Args:
        crypter: the keys that encrypt, in any form that `as_keys` takes; None for models that need no keys.
        indexer: the keys that make blind indexes; if None, those of `crypter`.
        database: the database's name.
        bound: whether what is encrypted is good for this database alone; in documents that have such values already, it
            always is.
    """

    def __init__(
        self,
        crypter: object | None = None,
        indexer: object | None = None,
        database: str = "",
        *,
        bound: bool = False,
    ) -> None:
        self._crypter = None if crypter is None else as_keys(crypter)
        self._indexer = self._crypter if indexer is None else as_keys(indexer)
        self._database, self._bound = database, bound
        self.files = FileProtection(self._crypter, database)

    def check(self, cls: type[Model]) -> None:
        """Refuse a model that needs keys if there are none.

        Raises:
            KeySetError: it names the properties.
        """
        info = model_info(cls)
        needing = [each.name for each, found in classified(info) if found.needs_keys]
        needing += [each.name for each in info.attachments.values() if each.encrypted]
        if needing and self._crypter is None:
            raise KeySetError(f"{cls.__name__} has encrypted {needing}, so it needs keys: Store(database, crypter=...)")

    async def protected(self, model: Model) -> Document:
        """Build the document to write for a model that has its id; in the model, hashes replace the hashed values."""
        self.check(type(model))
        info = model_info(type(model))
        plain = self._revealed(type(model), model._stored, tolerant=True)
        document = to_document(model, plain)
        for declared, found in classified(info):
            if declared.blind:
                document.pop(declared.index_member, None)
            if declared.name in document:
                place = self._place(info, declared.name, model._id or "", model._stored)
                await self._protect(model, declared, found, place, document, plain)
        return await self.files.filed(model, document)

    async def _protect(
        self,
        model: Model,
        declared: Property,
        found: Classification,
        place: Place,
        document: Document,
        plain: Document,
    ) -> None:
        """Replace one property's value in the document by the form that is stored."""
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
            # Not with `setattr`, or the model's own validators would judge a hash.
            model.__dict__[declared.attribute] = found.reveal(document[name], place)

    def opened(self, cls: type[Model], document: Document) -> Document:
        """The document, able to remember what is decrypted of it where its model has it encrypted."""
        return document if _has_nothing_classified(cls) else OpenedDocument(document)

    def revealed(self, cls: type[Model], document: Document) -> Document:
        """A stored document with its values in the clear, as the model has them.

        Raises:
            DecryptionFailed: a value was changed, or was encrypted for another place.
            NotProtected: a value is stored in the clear.
            KeySetError: the store has no keys.
        """
        files = self.files.plain(cls, document)
        revealed = document
        if not _has_nothing_classified(cls):
            self.check(cls)
            revealed = self._revealed(cls, document, tolerant=False)
        return {**revealed, PLAIN_FILES: files} if files else revealed

    def moved(self, cls: type[Model], document: Document, source_id: str | None) -> Document:
        """Encrypt the properties that a model does not know again, for the id of the document that they move to.

        Args:
            cls: the model.
            document: the document to be written, with its id.
            source_id: the id of the document that it was made from; None for a new one.
        """
        if source_id in (None, document["_id"]):
            return document
        found, info = dict(document), model_info(cls)
        for name in document.keys() - info.properties.keys():
            if is_encrypted(document[name]):
                try:
                    value = _ENCRYPTED.reveal(document[name], self._place(info, name, str(source_id)))
                except DecryptionFailed:
                    continue  # it could not be decrypted in its own place either
                found[name] = _ENCRYPTED.protect(value, self._place(info, name, document["_id"], document))
        return found

    def lookup(self, cls: type[Model], query: Query) -> Query:
        """A query with its values in the form that the indexes contain.

        Raises:
            KeySetError: the store has no keys.
        """
        info = model_info(cls)
        among = {name: self._lookups(info, name, list(values)) for name, values in query.among.items()}
        return replace(query, among=among, either=[self.lookup(cls, each) for each in query.either])

    def _lookups(self, info: ModelInfo, name: str, values: list[Any]) -> list[Any]:
        declared = info.properties.get(name)
        lookups = declared.classification.lookups if declared and declared.classification else None
        if declared is None or lookups is None:
            return values
        place = self._place(info, name, "")
        # A None that is the default is not stored, so it has no protected form to look up.
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
                if found.needs_keys and isinstance(document, OpenedDocument):
                    values[name] = document.reveal(found, place)
                else:
                    values[name] = found.reveal(document[name], place)
            except DecryptionFailed:
                if not tolerant:
                    raise
                del values[name]  # whatever it was, a new value replaces it
        return values

    def _stays(
        self, cls: type[Model], found: Classification, place: Place, before: Document, plain: Document, value: Any
    ) -> bool:
        """Whether the stored form already stands for this value, in this document and under this classification."""
        if found.hidden or place.name not in before or place.name not in plain:
            return False
        if before.get("_id") != place.document_id or _classes(cls, before).get(place.name) is not found:
            return False
        # Compared as JSON, since Python considers 1 and True equal.
        same = _json.dumps(plain[place.name]) == _json.dumps(value)
        return same and found.is_current(before[place.name], place)

    def _place(self, info: ModelInfo, name: str, document_id: str, before: Document | None = None) -> Place:
        bound = self._bound or any(map(is_bound_to_database, (before or {}).values()))
        return Place(document_id, info.type.name, name, self._crypter, self._indexer, self._database, bound)


def _classes(cls: type[Model], document: Document) -> dict[str, Classification]:
    """How a document's properties are classified; a document that was never stored has none that are."""
    return classes_of(cls, document) if "type" in document else {}


@cache
def _has_nothing_classified(cls: type[Model]) -> bool:
    """Whether no document of a model, in any version, has classified properties."""
    info = model_info(cls)
    return not info.upgrades and not classified(info)


def classified(info: ModelInfo) -> list[tuple[Property, Classification]]:
    """The classified properties of a model, each with its classification."""
    return [(each, each.classification) for each in info.properties.values() if each.classification is not None]


def is_nothing(declared: Property, stored: object) -> bool:
    """Whether there is nothing to protect: the value is null, and the property is optional."""
    return stored is None and declared.optional


def check_protected(place: Place, found: Classification, stored: object) -> None:
    """Refuse a value that is stored in the clear although it has to be protected.

    Raises:
        NotProtected: it says what to do.
    """
    if not found.is_protected(stored):
        raise NotProtected(
            f"{place.type_name}.{place.name} is stored in the clear: either the document is older than the property's"
            " classification, or another program wrote it. `tornado-couch rotate --models ... --protect-plaintext`"
            " protects older documents"
        )


def in_partition(model: Model, new_id: str) -> str:
    """A new document's id; it begins with the partition if the model has partitions."""
    info = model_info(type(model))
    if info.partition is None:
        return new_id
    value = info.stored_value(info.partition.name, getattr(model, info.partition.attribute))
    # A value that cannot name a partition is refused later, when the document is built.
    return new_id if partition_problem(value) else f"{value}:{new_id}"


class Conversion:
    """Converts the models of one store to documents and back.

    Args:
        protection: protects the classified properties; without it there are no keys.
    """

    def __init__(self, protection: Protection | None = None) -> None:
        self.protection = protection or Protection()

    async def to_store(self, model: Model, *, new: bool) -> Document:
        """Build the document to write for a model that has its id and time stamps.

        Args:
            model: the model to be written; afterwards its hashed properties contain their hashes.
            new: whether the document is being created, so that there is no revision that it replaces.

        Raises:
            KeySetError: the model needs keys, and the store has none.
            ValidationFailed: the model does not belong to the partition that its id names, or lacks a file that a new
                one has to have.
        """
        info = model_info(type(model))
        if new:
            check_required(model)
        document = await self.protection.protected(model)
        if info.partition is not None:
            partition_of(info.partition.name, document.get(info.partition.name), model._id)
        document = with_scopes_left(info, document, model._stored, utc_now())
        return self.protection.moved(type(model), document, model._stored.get("_id"))

    async def from_store(self, cls: type[M], document: Document) -> M:
        """Build the model from a document of the database.

        Raises:
            InvalidDocument: the document does not fit the model.
            DecryptionFailed: a property was changed, or was encrypted for another place or with other keys.
            KeySetError: the model needs keys, and the store has none.
        """
        stored = self.protection.opened(cls, document)
        try:
            model = from_document(cls, self.protection.revealed(cls, stored))
        except InvalidDocument as error:
            if error.partial is not None:
                error.partial._stored = stored
            raise
        model._stored = stored
        return model

    def refresh_files(self, model: Model) -> None:
        """Have a model show the files of the document that was just written for it, whoever brought them.

        Raises:
            DecryptionFailed, KeySetError: as `from_store` does.
        """
        declared = model_info(type(model)).attachments
        if declared:
            stored = {**model._stored, "_id": model._id}
            files = attachments_of(stored, self.protection.files.plain(type(model), stored))
            model.__dict__.update({each.attribute: each.value(files) for each in declared.values()})

    def to_query(self, cls: type[Model], query: Query) -> Query:
        """A query with its values as they are stored, and protected ones as the indexes know them."""
        return self.protection.lookup(cls, as_stored(cls, query))
