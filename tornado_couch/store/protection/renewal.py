"""One step of a key rotation: protects the values of a stored document again, with the primary keys.

It works on documents as they are stored, and does not validate them. Ciphertexts are recognised by their form and
bound only to what is in the document, so they can be renewed without a model; models are needed for classifications
of your own, and for values that are stored in the clear. Hashes stay, since nobody knows the values behind them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

from ...couch import Database
from ...couch.transport.bodies import Following
from ...errors import DecryptionFailed, InvalidDocument, NotProtected
from ...models import (
    ATTACHMENTS_PROPERTY,
    VERSION_PROPERTY,
    Classification,
    DocumentType,
    Encrypted,
    Model,
    Place,
    StoredHash,
    blind_index_member,
    bound_id,
    classes_of,
    model_info,
    record_of,
    run_slow,
)
from ...security import as_keys, blind_indexes, is_bound_to_database, is_encrypted
from ..uploads import Spooled, Upload
from .files import FileProtection, file_owner
from .properties import check_protected, is_nothing

__all__ = ["Reprotection"]

Document = dict[str, Any]

_ENCRYPTED = Encrypted()


class Reprotection:
    """Renews the ciphertexts and blind indexes that other keys than the primary ones made.

    Args:
        crypter: the primary key to encrypt with, and all keys that are in use, in any form that `as_keys` takes.
        indexer: the same for blind indexes; if None, the keys of `crypter`.
        models: the models of the documents. Documents of other types, and properties that a model does not
            classify, are renewed if their values have the form of a ciphertext.
        database: the database's name, for values that are encrypted for it alone; they stay so.
        plaintext: also protect values that are stored in the clear in classified properties, and trust them: for
            documents that are older than the classification.
    """

    def __init__(
        self,
        crypter: object,
        indexer: object = None,
        *,
        models: Iterable[type[Model]] = (),
        plaintext: bool = False,
        database: str = "",
    ) -> None:
        self._crypter = as_keys(crypter)
        self._indexer = self._crypter if indexer is None else as_keys(indexer)
        self._models = {model_info(each).type.name: each for each in models}
        self._plaintext = plaintext
        self._database = database

    async def __call__(self, document: Document) -> Document:
        """The document as it should be stored now; the same object if nothing has to change.

        Raises:
            DecryptionFailed: a value cannot be decrypted, or a blind index was made by an unknown key.
            NotProtected: a value is stored in the clear.
            KeySetError: the keys are not for encryption, or none of them is primary.
        """
        cls, classes = self._judged(document)
        renewed = dict(document)
        for name in document.keys() & classes.keys():
            if not _is_nothing(cls, name, document[name]):
                await self._renew(name, classes[name], renewed)
        for name in document.keys() - classes.keys():
            if is_encrypted(document[name]):
                self._renew_by_form(name, renewed, plain=cls is not None and name in model_info(cls).properties)
        return document if renewed == document else renewed

    async def files(self, document: Document, database: Database) -> Document:
        """The document with the encrypted files that other keys than the primary one made; the same object without any.

        What is attached to the document is encrypted anew under a new key of its own. Of what several versions share,
        the file's own key is encrypted anew.

        Args:
            document: the document as it is stored.
            database: where it is.

        Raises:
            DecryptionFailed: a file cannot be decrypted, or was changed.
            NotProtected: a file is stored in the clear.
            KeySetError: the keys are not for encryption, or none of them is primary.
        """
        records, protection = document.get(ATTACHMENTS_PROPERTY, {}), FileProtection(self._crypter, database.name)
        sealed = [name for name in records if "sealed" in record_of(document, name)]
        old = [name for name in sealed if not protection.is_current(document, name)]
        clear = self._files_in_the_clear(document, sealed)
        if not old and not clear:
            return document
        entries, family = dict(document.get("_attachments", {})), _family(document)
        renewed = dict(records)
        for name in clear:
            entries[name], renewed[name] = await self._encrypted(protection, document, name, database)
        for name in old:
            if name in entries:
                entries[name], renewed[name] = await self._reencrypted(protection, document, name, database)
            else:
                renewed[name] = {**renewed[name], "sealed": protection.rewrapped(family, document, name)}
        return {**document, **({"_attachments": entries} if entries else {}), ATTACHMENTS_PROPERTY: renewed}

    def _files_in_the_clear(self, document: Document, sealed: Collection[str]) -> list[str]:
        """The files that are older than the classification of their property.

        Raises:
            NotProtected: there are some, and they are not to be trusted.
        """
        cls = self._models.get(_family(document))
        declared = [each for each in model_info(cls).attachments.values() if each.encrypted] if cls else []
        found = [
            name
            for name in document.get("_attachments", {})
            if name not in sealed and any(each.holds(name) for each in declared)
        ]
        if found and not self._plaintext:
            raise NotProtected(f"the file {found[0]!r} is stored in the clear")
        return found

    async def _encrypted(
        self, protection: FileProtection, document: Document, name: str, database: Database
    ) -> tuple[Following, Document]:
        spool, document_id = Spooled(), str(document["_id"])
        async with database.attachment(document_id, name, document["_rev"]) as opened:
            async for part in opened.chunks:
                await spool.append(part)
        owner = file_owner(document_id, version=VERSION_PROPERTY in document)
        kind = str(document["_attachments"][name]["content_type"])
        return await protection.sealed(_family(document), owner, name, Upload(kind, spool))

    async def _reencrypted(
        self, protection: FileProtection, document: Document, name: str, database: Database
    ) -> tuple[Following, Document]:
        family, document_id = _family(document), str(document["_id"])
        sealed, spool = protection.unsealed(family, document, name), Spooled()
        async with database.attachment(document_id, name, document["_rev"]) as opened:
            async for part in sealed.cipher.stream(opened.chunks, sealed.length):
                await spool.append(part)
        owner = file_owner(document_id, version=VERSION_PROPERTY in document)
        return await protection.sealed(family, owner, name, Upload(sealed.content_type, spool))

    def _judged(self, document: Document) -> tuple[type[Model] | None, dict[str, Classification]]:
        """The model and the classifications for the document's own version; empty if the version is unknown."""
        cls = self._models.get(_family(document))
        try:
            return cls, classes_of(cls, document) if cls else {}
        except InvalidDocument:
            return None, {}

    async def _renew(self, name: str, found: Classification, document: Document) -> None:
        """Renew what is stored for one classified property of a model."""
        stored, place = document[name], self._place(document, name)
        if self._plaintext and not found.is_protected(stored):
            if found.text_only and not isinstance(stored, str):
                raise NotProtected(f"{place.type_name}.{name} is not a text, so it stays unprotected")
            value, current = stored, False
        else:
            check_protected(place, found, stored)
            value, current = found.reveal(stored, place), found.is_current(stored, place)
        if isinstance(value, StoredHash):
            return
        if not current:
            slow = found.slow
            document[name] = await run_slow(found.protect, value, place) if slow else found.protect(value, place)
        if found.blind_index is not None:
            document[blind_index_member(name)] = found.blind_index(value, place)

    def _renew_by_form(self, name: str, document: Document, *, plain: bool) -> None:
        """Renew a value that has the form of a ciphertext; `plain` says that by its model it should not be one."""
        stored, place = document[name], self._place(document, name)
        try:
            value = _ENCRYPTED.reveal(stored, place)
        except DecryptionFailed:
            if plain:
                return
            raise
        if not _ENCRYPTED.is_current(stored, place):
            document[name] = _ENCRYPTED.protect(value, place)
        member = blind_index_member(name)
        if member in document:
            document[member] = self._renewed_index(document[member], value, place)

    def _renewed_index(self, stored: object, value: Any, place: Place) -> str:
        found = blind_indexes(value, keys=place.needed_indexer(), type_name=place.type_name, property_name=place.name)
        if stored not in found:
            raise DecryptionFailed("none of the given keys made the blind index", unknown_key=True)
        return found[0]

    def _place(self, document: Document, name: str) -> Place:
        bound, family = is_bound_to_database(document[name]), _family(document)
        return Place(bound_id(document), family, name, self._crypter, self._indexer, self._database, bound)


def _is_nothing(cls: type[Model] | None, name: str, stored: object) -> bool:
    declared = model_info(cls).properties.get(name) if cls else None
    return declared is not None and is_nothing(declared, stored)


def _family(document: Document) -> str:
    """The type without its version, which ciphertexts are not bound to."""
    text = document.get("type")
    parsed = DocumentType.parse(text)
    return parsed.name if parsed else str(text)
