"""Encrypts properties: any JSON value becomes a text that can only be decrypted in its own place.

The text is `encrypted.v1:` followed by the keys' ciphertext of the value's JSON. It is bound to the document's id, to
the type without the version (so that a document stays readable when it is upgraded) and to the property's name: in
any other place it cannot be decrypted. A text that begins with `encrypted.v2:` is bound to the database as well, as
`Tenants` needs it; one of v1 is also good in a copy of the database under another name. The JSON is padded with blanks
to a multiple of 32 bytes, since the length of a ciphertext shows the length of its contents; so true and false, or the
digits of a number, look alike.

A *blind index* is a keyed hash of the canonical value, for finding documents by equality. It is bound to the type
and the property, not to the document, so it shows which documents of a type have equal values there, but nothing else.
"""

from __future__ import annotations

import re
from typing import Any

from .. import _json
from ..errors import DecryptionFailed
from .encoding import canonical
from .keys import Crypter, Indexer

__all__ = [
    "blind_index",
    "blind_indexes",
    "ciphertext_of",
    "decrypt_value",
    "encrypt_value",
    "is_bound_to_database",
    "is_encrypted",
]

_TAG, _TAG_HERE = "encrypted.v1:", "encrypted.v2:"
_BLOCK = 32
_VERSION = re.compile(r"_v\d+\.\d+\Z", re.ASCII)


def encrypt_value(
    value: object, *, keys: Crypter, document_id: str, type_name: str, property_name: str, database: str = ""
) -> str:
    """Encrypt a value for one property of one document.

    Args:
        value: any JSON value.
        keys: the keys to encrypt with.
        document_id: the document's `_id`, which must be known before the document is written.
        type_name: the document's `type`, with or without its version.
        property_name: the property's name as stored.
        database: the only database that the text is good for; empty for any.

    Returns:
        the text to store instead of the value.

    Raises:
        ValueError: this is not a JSON value.
        TypeError: this is not a JSON value.
        KeySetError: the keys are not for encryption, or none of them is primary.
    """
    text = _json.dumps(value)
    padded = text.ljust(-(-len(text) // _BLOCK) * _BLOCK)
    context = _context(document_id, type_name, property_name, database)
    return (_TAG_HERE if database else _TAG) + keys.encrypt(padded, context=context)


def decrypt_value(
    stored: object, *, keys: Crypter, document_id: str, type_name: str, property_name: str, database: str = ""
) -> Any:
    """Decrypt the value that `encrypt_value` encrypted for this property of this document.

    Raises:
        DecryptionFailed: the text was changed, was encrypted for another place or by other keys, or is not encrypted.
        KeySetError: the keys are not for encryption.
    """
    context = _context(document_id, type_name, property_name, database if is_bound_to_database(stored) else "")
    text = keys.decrypt(ciphertext_of(stored), context=context)
    try:
        return _json.loads(text)
    except ValueError:
        raise DecryptionFailed("the decrypted text is not JSON") from None


def is_encrypted(stored: object) -> bool:
    """Whether a stored value has the form of a text from `encrypt_value`."""
    return isinstance(stored, str) and stored.startswith((_TAG, _TAG_HERE))


def is_bound_to_database(stored: object) -> bool:
    """Whether a stored value has the form of a text that is good for one database alone."""
    return isinstance(stored, str) and stored.startswith(_TAG_HERE)


def ciphertext_of(stored: object) -> str:
    """The keys' own part of an encrypted value, for calling `is_current`.

    Raises:
        DecryptionFailed: the stored value is not encrypted.
    """
    if isinstance(stored, str) and is_encrypted(stored):
        return stored[len(_TAG) :]  # both have the same length
    raise DecryptionFailed("the stored value is not encrypted")


def blind_index(value: object, *, keys: Indexer, type_name: str, property_name: str) -> str:
    """Make the blind index to store for a value: with a key ring, HMAC-SHA256 of its canonical bytes.

    Values that are equal in JSON (1 and 1.0) have the same blind index.

    Raises:
        ValueError: this is not a JSON value.
        TypeError: this is not a JSON value.
        KeySetError: the keys cannot make blind indexes, or none of them is primary.
    """
    return blind_indexes(value, keys=keys, type_name=type_name, property_name=property_name)[0]


def blind_indexes(value: object, *, keys: Indexer, type_name: str, property_name: str) -> list[str]:
    """All blind indexes that may be stored for a value, the primary key's first; use them to look documents up."""
    context = canonical(["blind index", _family(type_name), property_name])
    return keys.index(canonical(value), context=context)


def _context(document_id: str, type_name: str, property_name: str, database: str) -> bytes:
    place = [document_id, _family(type_name), property_name]
    return canonical(["encrypted.v2", database, *place] if database else ["encrypted.v1", *place])


def _family(type_name: str) -> str:
    return _VERSION.sub("", type_name)
