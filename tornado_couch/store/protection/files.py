"""Protects files: each is stored with its SHA-256 and length in the document, and encrypted where its model says so.

Of an encrypted file the document also has what is needed to read it: its key, its type and length and the SHA-256 of
its contents, encrypted together by the store's keys for this file's place.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from ...couch.transport.bodies import Following
from ...errors import DecryptionFailed, KeySetError, NotProtected, ValidationFailed
from ...models import (
    ATTACHMENTS_PROPERTY,
    FILES_PROPERTY,
    VERSION_PROPERTY,
    AttachmentPlace,
    Model,
    ModelInfo,
    attachment_place,
    beside_file,
    entries_of,
    model_info,
    record_of,
)
from ...models.pointers import json_pointer
from ...security import Crypter, FileCipher, ciphertext_of, decrypt_value, encrypt_value, new_file_key
from ..uploads import Spooled, Upload, gzipped, is_compressible

__all__ = ["FileProtection", "Sealed", "file_owner"]

Document = dict[str, Any]

_NUMBER = re.compile(r":[0-9]{10}(~[0-9a-f]+)?\Z")
_SEALED_TYPE = "application/octet-stream"  # what an encrypted file is to other programs


def file_owner(document_id: str, *, version: bool) -> str:
    """The id that the files of a document are bound to; all versions of a document with a history share it."""
    return _NUMBER.sub("", document_id) if version else document_id


def sealed_name(document: Mapping[str, Any], name: str) -> str:
    """The name that an encrypted file is bound to: its own, unless a merge has put it beside another one.

    Raises:
        DecryptionFailed: it was put elsewhere.
    """
    record = record_of(document, name)
    bound = str(record.get("name", name))
    if bound != name and beside_file(bound, str(record.get("digest"))) != name:
        raise DecryptionFailed("an encrypted file was moved")
    return bound


class Sealed(NamedTuple):
    """What is needed to read an encrypted file.

    Attributes:
        cipher: decrypts its chunks.
        content_type: its media type.
        length: of its contents in bytes.
        sha256: of its contents, in base64.
    """

    cipher: FileCipher
    content_type: str
    length: int
    sha256: str


class FileProtection:
    """Prepares files to be stored, and tells how those that are stored can be read.

    Args:
        crypter: the keys that encrypt; None for models without encrypted files.
        database: the database's name.
    """

    def __init__(self, crypter: Crypter | None, database: str) -> None:
        self._crypter = crypter
        self._database = database

    async def filed(self, model: Model, document: Document) -> Document:
        """A document to write for a model, with the files that are stored with it and the record of all of them.

        Raises:
            KeySetError: a file has to be encrypted, and the store has no keys.
            ValidationFailed: the model was copied from another document, and has encrypted files.
        """
        info = model_info(type(model))
        if not info.attachments:
            return document
        stored = model._stored
        known = {name: record_of(stored, name) for name in entries_of(document) if name not in model._uploads}
        record = {name: each for name, each in known.items() if each}
        entries = dict(document.get("_attachments", {}))
        owner = file_owner(str(model._id), version=info.history)
        before = file_owner(str(stored.get("_id", model._id)), version=info.history)
        if owner != before and (bound := [name for name, each in record.items() if "sealed" in each]):
            detail = "An encrypted file belongs to its own document; attach it to the new one."
            pointer = json_pointer(bound[0].split("/"))
            raise ValidationFailed([{"pointer": pointer, "keyword": "attachment", "detail": detail}])
        for name, upload in model._uploads.items():
            place = attachment_place(type(model), name)
            entries[name], record[name] = await self._prepared(info, place, model._id or "", upload)
        elsewhere = {name: each for name, each in document.get(FILES_PROPERTY, {}).items() if name not in entries}
        made = {"_attachments": entries, FILES_PROPERTY: elsewhere, ATTACHMENTS_PROPERTY: record}
        kept = {name: value for name, value in document.items() if name not in made}
        return {**kept, **{name: value for name, value in made.items() if value}}

    async def _prepared(
        self, info: ModelInfo, place: AttachmentPlace, document_id: str, upload: Upload
    ) -> tuple[Following, Document]:
        """The entry in `_attachments` for a new file, and its record."""
        if place.declared.encrypted:
            owner = file_owner(document_id, version=info.history)
            return await self.sealed(info.type.name, owner, place.name, upload)
        said, contents = {"content_type": upload.content_type, "length": upload.length}, upload.spool
        if is_compressible(upload.content_type):
            # CouchDB would compress it, and nobody could say before which bytes it stores.
            contents = await upload.prepared("gzip", lambda: gzipped(upload.spool))
            said |= {"encoding": "gzip", "encoded_length": contents.length}
        kept = {"digest": contents.md5, "length": upload.length, "sha256": _base64(upload.sha256)}
        return Following({**said, "digest": contents.md5}, contents, upload.sha256), kept

    async def sealed(self, type_name: str, owner: str, name: str, upload: Upload) -> tuple[Following, Document]:
        """The entry in `_attachments` for a file that is stored encrypted, and its record."""
        place = (self._database, owner, name)
        made: _SealedFile = await upload.prepared(place, lambda: self._encrypted(type_name, place, upload))
        said = {"content_type": _SEALED_TYPE, "length": made.spool.length, "digest": made.spool.md5}
        kept = {"digest": made.spool.md5, "length": made.spool.length, "sha256": _base64(made.spool.sha256)}
        return Following(said, made.spool, made.spool.sha256), {**kept, "sealed": made.text}

    def _encrypted(self, type_name: str, place: tuple[str, str, str], upload: Upload) -> _SealedFile:
        """Encrypt a file for its place; blocks."""
        key = new_file_key()
        value = {
            "key": _base64(key),
            "content_type": upload.content_type,
            "length": upload.length,
            "sha256": _base64(upload.sha256),
        }
        text = self._wrapped(value, type_name, place)
        spool = Spooled()
        for part in FileCipher(key, place).encrypted(upload.spool.parts()):
            spool.write(part)
        return _SealedFile(spool, text)

    def _wrapped(self, value: Document, type_name: str, place: tuple[str, str, str]) -> str:
        """What the document has of an encrypted file: its key and what it is, encrypted by the store's keys."""
        database, owner, name = place
        return encrypt_value(
            value,
            keys=self._needed(name),
            document_id=owner,
            type_name=type_name,
            property_name=name,
            database=database,
        )

    def _needed(self, name: str) -> Crypter:
        if self._crypter is None:
            raise KeySetError(f"{name!r} is encrypted, so it needs keys: Store(database, crypter=...)")
        return self._crypter

    def opened(self, info: ModelInfo, document: Mapping[str, Any], name: str) -> Sealed | None:
        """What is needed to read a file of a document; None if it is not encrypted.

        Raises:
            NotProtected: the file is stored in the clear, and its model has it encrypted.
            DecryptionFailed: it was encrypted for another place, or by other keys.
            KeySetError: the store has no keys.
        """
        text = record_of(document, name).get("sealed")
        declared = next((each for each in info.attachments.values() if each.holds(name)), None)
        if text is None:
            if declared is not None and declared.encrypted:
                raise NotProtected(
                    f"the file {name!r} is stored in the clear: either it is older than the property's classification,"
                    " or another program stored it; attach it again to have it encrypted"
                )
            return None
        return self.unsealed(info.type.name, document, name)

    def unsealed(self, type_name: str, document: Mapping[str, Any], name: str) -> Sealed:
        """What is needed to read an encrypted file.

        Args:
            type_name: the document's type, with or without its version.
            document: the document.
            name: the file's name.

        Raises:
            DecryptionFailed, KeySetError: as `opened` does.
        """
        place = self._place(document, name)
        value = self._value(type_name, document, name)
        try:
            cipher = FileCipher(base64.b64decode(value["key"]), place)
            return Sealed(cipher, str(value["content_type"]), int(value["length"]), str(value["sha256"]))
        except (KeyError, TypeError, ValueError):
            raise DecryptionFailed("what is stored of an encrypted file does not describe one") from None

    def _place(self, document: Mapping[str, Any], name: str) -> tuple[str, str, str]:
        owner = file_owner(str(document.get("_id", "")), version=VERSION_PROPERTY in document)
        return self._database, owner, sealed_name(document, name)

    def _value(self, type_name: str, document: Mapping[str, Any], name: str) -> Any:
        _, owner, bound = self._place(document, name)
        return decrypt_value(
            record_of(document, name)["sealed"],
            keys=self._needed(name),
            document_id=owner,
            type_name=type_name,
            property_name=bound,
            database=self._database,
        )

    def rewrapped(self, type_name: str, document: Mapping[str, Any], name: str) -> str:
        """What the document is to have of an encrypted file, by the primary key."""
        return self._wrapped(self._value(type_name, document, name), type_name, self._place(document, name))

    def is_current(self, document: Mapping[str, Any], name: str) -> bool:
        """Whether the primary key encrypted what the document has of an encrypted file."""
        return self._needed(name).is_current(ciphertext_of(record_of(document, name)["sealed"]))

    def plain(self, cls: type[Model], document: Mapping[str, Any]) -> dict[str, Document]:
        """What the encrypted files of a document are, by the names that CouchDB has for them.

        A file in the clear in the place of an encrypted one is left out; who opens it learns of it.

        Raises:
            DecryptionFailed: one was encrypted for another place, or by other keys.
            KeySetError: the store has no keys.
        """
        info, found = model_info(cls), {}
        for name in document.get(ATTACHMENTS_PROPERTY, {}) if info.attachments else ():
            if "sealed" in record_of(document, name) and (sealed := self.opened(info, document, name)):
                kind, length = sealed.content_type, sealed.length
                found[name] = {"content_type": kind, "length": length, "sha256": sealed.sha256}
        return found


class _SealedFile(NamedTuple):
    spool: Spooled
    text: str

    def close(self) -> None:
        self.spool.close()


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
