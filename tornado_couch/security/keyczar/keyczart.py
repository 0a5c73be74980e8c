"""Manages key sets on disk, as Keyczar's tool `keyczart` did. A set can be read while it is being changed."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace

from ...errors import KeySetError
from .encrypting import Crypter
from .key import Key
from .key_set import Keyczar
from .keyinfo import (
    ACTIVE,
    AES,
    DECRYPT_AND_ENCRYPT,
    DSA_PRIV,
    DSA_PUB,
    ENCRYPT,
    HMAC_SHA1,
    RSA_PRIV,
    RSA_PUB,
    SIGN_AND_VERIFY,
    VERIFY,
    KeyPurpose,
    KeyStatus,
    KeyType,
)
from .keys import generate_key, key_text
from .metadata import KeyMetadata, KeyVersion
from .readers import FileReader
from .writers import FileWriter

__all__ = [
    "AddKey",
    "Create",
    "Demote",
    "Promote",
    "PubKey",
    "Revoke",
    "add_key",
    "create",
    "demote",
    "export_public",
    "promote",
    "read_metadata",
    "revoke",
]

Location = str | os.PathLike[str]

_TYPES: dict[tuple[KeyPurpose, str | None], KeyType] = {
    (SIGN_AND_VERIFY, None): HMAC_SHA1,
    (SIGN_AND_VERIFY, "dsa"): DSA_PRIV,
    (SIGN_AND_VERIFY, "rsa"): RSA_PRIV,
    (DECRYPT_AND_ENCRYPT, None): AES,
    (DECRYPT_AND_ENCRYPT, "rsa"): RSA_PRIV,
}

# The type and purpose of a set's public half, by those of the private set.
_PUBLIC: dict[tuple[KeyType, KeyPurpose], tuple[KeyType, KeyPurpose]] = {
    (DSA_PRIV, SIGN_AND_VERIFY): (DSA_PUB, VERIFY),
    (RSA_PRIV, SIGN_AND_VERIFY): (RSA_PUB, VERIFY),
    (RSA_PRIV, DECRYPT_AND_ENCRYPT): (RSA_PUB, ENCRYPT),
}


def create(location: Location, name: str, purpose: KeyPurpose, asymmetric: str | None = None) -> KeyMetadata:
    """Create a key set without keys.

    Args:
        location: the directory; it is created for its owner only if it is missing.
        name: any text.
        purpose: `SIGN_AND_VERIFY` or `DECRYPT_AND_ENCRYPT`.
        asymmetric: "rsa" or "dsa" for keys with a public half; None for HMAC or AES.

    Raises:
        KeySetError: there is a key set already, it cannot be written, or there are no keys for that purpose.
    """
    key_type = _TYPES.get((purpose, asymmetric.lower() if asymmetric else None))
    if key_type is None:
        raise KeySetError(f"{asymmetric or 'symmetric'} keys cannot be used for {purpose.value}")
    metadata = KeyMetadata(name, purpose, key_type)
    _write_new(FileWriter(location), metadata, {})
    return metadata


def add_key(
    location: Location, status: KeyStatus = ACTIVE, crypter: Crypter | None = None, size: int | None = None
) -> KeyVersion:
    """Add a new key as the last version.

    Args:
        location: the key set's directory.
        status: its status; if it is primary, the version that was primary becomes active.
        crypter: encrypts the key file, if the set is encrypted with another one; from the first key on.
        size: its size in bits; None for the default of its type.

    Returns:
        The new version.

    Raises:
        KeySetError: the set cannot be read or written; keys of its type do not have this size or cannot be created;
            or the set is encrypted and no crypter was given, or the other way round.
        LegacyAlgorithm: the crypter was not read with `allow_legacy=True`.
    """
    writer = FileWriter(location)
    with writer.locked():
        before = read_metadata(location)
        metadata = before.added(KeyStatus(status), encrypted=crypter is not None)
        key = _unlike(Keyczar.Read(location, crypter=crypter), lambda: generate_key(metadata.type, size))
        text = key_text(key)
        writer.write_key(metadata.versions[-1].number, text if crypter is None else crypter.Encrypt(text))
        writer.write_metadata(metadata)
    return metadata.versions[-1]


def promote(location: Location, version: int) -> KeyMetadata:
    """Make an inactive version active, or an active one primary.

    Raises:
        KeySetError: the version is missing or primary, or the set cannot be read or written.
    """
    return _change(location, lambda metadata: metadata.promoted(version))


def demote(location: Location, version: int) -> KeyMetadata:
    """Make a primary version active, which leaves the set without one, or an active one inactive.

    Raises:
        KeySetError: the version is missing or inactive, or the set cannot be read or written.
    """
    return _change(location, lambda metadata: metadata.demoted(version))


def revoke(location: Location, version: int) -> KeyMetadata:
    """Destroy an inactive version. What only its key can verify or decrypt is lost.

    Raises:
        KeySetError: the version is missing or not inactive, or the set cannot be read or written.
    """
    return _change(location, lambda metadata: metadata.revoked(version), removed=version)


def export_public(location: Location, destination: Location, crypter: Crypter | None = None) -> KeyMetadata:
    """Write the public halves of a key set as a key set of their own.

    Args:
        location: the directory of the set with the private keys.
        destination: the directory of the new set.
        crypter: decrypts the files of the private keys, if they are encrypted.

    Raises:
        KeySetError: the keys have no public half, the destination already contains a key set, or one of the two
            cannot be read or written.
    """
    private = Keyczar.Read(location, crypter=crypter)
    public = _PUBLIC.get((private.metadata.type, private.metadata.purpose))
    if public is None:
        raise KeySetError(f"keys of type {private.metadata.type.value} have no public half")
    metadata = replace(private.metadata, type=public[0], purpose=public[1], encrypted=False)
    keys = {version.number: private.key(version.number).public for version in metadata.versions}
    _write_new(FileWriter(destination), metadata, keys)
    return metadata


def read_metadata(location: Location) -> KeyMetadata:
    """Read what is known about a key set without its keys.

    Raises:
        KeySetError: the set is missing, malformed, or can be changed by others.
    """
    return KeyMetadata.parse(FileReader(location).GetMetadata())


def _write_new(writer: FileWriter, metadata: KeyMetadata, keys: dict[int, Key]) -> None:
    writer.make_directory()
    with writer.locked():
        writer.refuse_existing()
        for number, key in keys.items():
            writer.write_key(number, key_text(key))
        writer.write_metadata(metadata)


def _change(
    location: Location, changed: Callable[[KeyMetadata], KeyMetadata], *, removed: int | None = None
) -> KeyMetadata:
    """Replace `meta`; no key is read, so an encrypted set needs no crypter."""
    writer = FileWriter(location)
    with writer.locked():
        metadata = changed(read_metadata(location))
        writer.write_metadata(metadata)
        if removed is not None:
            writer.remove(removed)
    return metadata


def _unlike(keyset: Keyczar, generate: Callable[[], Key]) -> Key:
    """Generate a key whose hash differs from those of the set's keys, so that an output identifies one key."""
    while True:
        key = generate()
        if not keyset.has_hash(key.hash):
            return key


# keyczart's names for these functions.
Create, AddKey, PubKey, Promote, Demote, Revoke = create, add_key, export_public, promote, demote, revoke
