"""A key set in memory: its keys by version and by hash, and what all uses of it have in common."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import ClassVar, TypeVar

from ...errors import KeySetError, LegacyAlgorithm
from .encoding import VERSION_BYTE
from .key import Key
from .keyinfo import KeyPurpose
from .keys import read_key
from .metadata import KeyMetadata, KeyVersion
from .readers import Decrypter, EncryptedReader, FileReader, Reader

__all__ = ["Keyczar"]

Self = TypeVar("Self", bound="Keyczar")


class Keyczar:
    """A key set. Its subclasses add what can be done with it.

    Args:
        reader: reads the key set.
        allow_legacy: let it sign or encrypt new data, although Keyczar does so with SHA-1 only. Verifying and
            decrypting never need it.

    Attributes:
        metadata: what is known about the set without its keys.
        allow_legacy: as given.

    Raises:
        KeySetError: the set or one of its keys is missing, unreadable, accessible to others, malformed, encrypted
            although the reader is not an `EncryptedReader`, or for another purpose.
    """

    purposes: ClassVar[frozenset[KeyPurpose]] = frozenset(KeyPurpose)

    def __init__(self, reader: Reader, *, allow_legacy: bool = False) -> None:
        self.allow_legacy = allow_legacy
        self.metadata = _read_metadata(reader)
        if self.metadata.purpose not in self.purposes:
            raise KeySetError(
                f"the key set {self.metadata.name!r} of {reader!r} is for {self.metadata.purpose.value},"
                f" which a {type(self).__name__} cannot use"
            )
        if self.metadata.encrypted and not isinstance(reader, EncryptedReader):
            raise KeySetError(
                f"the key set {self.metadata.name!r} of {reader!r} is encrypted: give the set that encrypts it"
            )
        self._keys = {version.number: self._read(reader, version) for version in self.metadata.versions}
        self._by_hash: dict[bytes, list[Key]] = {}
        for key in self._keys.values():
            # Several keys may share a hash, and one key may have the same hash twice.
            for name in {key.hash, *key.fallback_hashes}:
                self._by_hash.setdefault(name, []).append(key)

    @classmethod
    def Read(  # noqa: N802 - python-keyczar's name
        cls: type[Self],
        location: str | os.PathLike[str],
        *,
        allow_legacy: bool = False,
        crypter: Decrypter | None = None,
    ) -> Self:
        """Read the key set in a directory.

        Args:
            location: the directory.
            allow_legacy: let it sign or encrypt new data.
            crypter: for an encrypted key set, the `Crypter` of the set that encrypts it.

        Raises:
            KeySetError: as in the class.
        """
        reader: Reader = FileReader(location)
        if crypter is not None:
            reader = EncryptedReader(reader, crypter)
        return cls(reader, allow_legacy=allow_legacy)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.metadata.name!r}: {self.metadata.type.value}, {len(self._keys)} keys>"

    def __str__(self) -> str:
        return str(self.metadata)

    @property
    def versions(self) -> tuple[KeyVersion, ...]:
        """All versions of the set."""
        return self.metadata.versions

    def key(self, version_number: int) -> Key:
        """The key of this version.

        Raises:
            KeySetError: the version does not exist.
        """
        return self._keys[self.metadata.version(version_number).number]

    def has_hash(self, key_hash: bytes) -> bool:
        """Whether a key of this set may have made outputs with that hash."""
        return key_hash in self._by_hash

    def _read(self, reader: Reader, version: KeyVersion) -> Key:
        text = reader.GetKey(version.number)
        try:
            return read_key(self.metadata.type, text)
        except KeySetError as error:
            reason = str(error)
        raise KeySetError(f"version {version.number} of the key set {self.metadata.name!r} of {reader!r}: {reason}")

    def _writing_key(self) -> Key:
        """The primary key, which writes new data."""
        if not self.allow_legacy:
            raise LegacyAlgorithm(
                f"the Keyczar key set {self.metadata.name!r} writes with SHA-1: use it only to read existing data."
                " Write new data with a key ring, or pass allow_legacy=True"
            )
        if self.metadata.primary is None:
            raise KeySetError(f"the key set {self.metadata.name!r} has no primary version to write with")
        return self._keys[self.metadata.primary.number]

    def _candidates(self, header: bytes) -> tuple[Sequence[Key], bool]:
        """The keys that an output's header may refer to, and whether there are any.

        If no key has that id, another key takes its place, so that the answer comes after the same work.
        """
        if header.startswith(VERSION_BYTE):
            found = self._by_hash.get(header.removeprefix(VERSION_BYTE))
            if found:
                return found, True
        return list(self._keys.values())[:1], False


def _read_metadata(reader: Reader) -> KeyMetadata:
    text = reader.GetMetadata()
    try:
        return KeyMetadata.parse(text)
    except KeySetError as error:
        reason = str(error)
    raise KeySetError(f"the meta of {reader!r} is not valid: {reason}")
