"""Encrypted properties: any JSON value as a string that only decrypts in its own place.

The string is `encrypted.v1:` and what the keys make of the value's JSON. It is bound to the document's id, its type
without the version (so that upgrading a document leaves it readable) and the property's name: moved anywhere else it
does not decrypt. The JSON is padded with blanks to a multiple of 32 bytes, since the length of a ciphertext shows
the length of what is inside: true and false, or the digits of a number, look alike.

A *blind index* is a keyed hash of the canonical value, for finding documents by equality. It is bound to the type
and the property, not to the document, so it shows which documents of a type have equal values there, and that only.
"""

from __future__ import annotations

import re
from typing import Any

from .. import _json
from ..errors import DecryptionFailed
from .encoding import canonical
from .keys import Crypter, Indexer

__all__ = ["blind_index", "blind_indexes", "ciphertext_of", "decrypt_value", "encrypt_value", "is_encrypted"]

_TAG = "encrypted.v1:"
_BLOCK = 32
_VERSION = re.compile(r"_v\d+\.\d+\Z", re.ASCII)


def encrypt_value(value: object, *, keys: Crypter, document_id: str, type_name: str, property_name: str) -> str:
    """Encrypt a value for one property of one document.

    Args:
        value: any JSON value.
        keys: what to encrypt with.
        document_id: the document's `_id`, which has to be known before the document is written.
        type_name: the document's `type`, with or without its version.
        property_name: the property's name as stored.

    Returns:
        the string to store in the value's place.

    Raises:
        ValueError: it is no JSON value.
        TypeError: it is no JSON value.
        KeySetError: the keys are not for encryption, or none is primary.
    """
    text = _json.dumps(value)
    padded = text.ljust(-(-len(text) // _BLOCK) * _BLOCK)
    return _TAG + keys.encrypt(padded, context=_context(document_id, type_name, property_name))


def decrypt_value(stored: object, *, keys: Crypter, document_id: str, type_name: str, property_name: str) -> Any:
    """The value that `encrypt_value` encrypted for this property of this document.

    Raises:
        DecryptionFailed: it was changed, was encrypted for another place or by other keys, or is not encrypted.
        KeySetError: the keys are not for encryption.
    """
    text = keys.decrypt(ciphertext_of(stored), context=_context(document_id, type_name, property_name))
    try:
        return _json.loads(text)
    except ValueError:
        raise DecryptionFailed("what was decrypted is not JSON") from None


def is_encrypted(stored: object) -> bool:
    """Whether a stored value looks like one of `encrypt_value`."""
    return isinstance(stored, str) and stored.startswith(_TAG)


def ciphertext_of(stored: object) -> str:
    """What the keys made, for asking them whether it `is_current`.

    Raises:
        DecryptionFailed: the stored value is not encrypted.
    """
    if isinstance(stored, str) and stored.startswith(_TAG):
        return stored[len(_TAG) :]
    raise DecryptionFailed("the stored value is not encrypted")


def blind_index(value: object, *, keys: Indexer, type_name: str, property_name: str) -> str:
    """The blind index to store for a value: HMAC-SHA256 of its canonical bytes where the keys are a key ring.

    Values that are equal in JSON (1 and 1.0) have the same one.

    Raises:
        ValueError: it is no JSON value.
        TypeError: it is no JSON value.
        KeySetError: the keys make no blind indexes, or none is primary.
    """
    return blind_indexes(value, keys=keys, type_name=type_name, property_name=property_name)[0]


def blind_indexes(value: object, *, keys: Indexer, type_name: str, property_name: str) -> list[str]:
    """Every blind index that may be stored for a value, the primary key's first: what to look documents up by."""
    context = canonical(["blind index", _family(type_name), property_name])
    return keys.index(canonical(value), context=context)


def _context(document_id: str, type_name: str, property_name: str) -> bytes:
    return canonical(["encrypted.v1", document_id, _family(type_name), property_name])


def _family(type_name: str) -> str:
    return _VERSION.sub("", type_name)
