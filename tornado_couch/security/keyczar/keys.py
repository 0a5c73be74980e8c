"""A key from its file's text, back to it, or a new one; by the type that the set's `meta` names."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ... import _json
from ...errors import KeySetError
from .dsa import DsaPrivateKey, DsaPublicKey
from .encoding import parse_object
from .key import Key
from .keyinfo import AES, DSA_PRIV, DSA_PUB, HMAC_SHA1, RSA_PRIV, RSA_PUB, KeyType
from .rsa import RsaPrivateKey, RsaPublicKey
from .symmetric import AesKey, HmacKey

__all__ = ["generate_key", "key_text", "read_key"]

_PARSE: dict[KeyType, Callable[[Mapping[str, Any]], Key]] = {
    AES: AesKey.parse,
    DSA_PRIV: DsaPrivateKey.parse,
    DSA_PUB: DsaPublicKey.parse,
    HMAC_SHA1: HmacKey.parse,
    RSA_PRIV: RsaPrivateKey.parse,
    RSA_PUB: RsaPublicKey.parse,
}

_GENERATE: dict[KeyType, Callable[[int], Key]] = {
    AES: AesKey.generate,
    DSA_PRIV: DsaPrivateKey.generate,
    HMAC_SHA1: HmacKey.generate,
    RSA_PRIV: RsaPrivateKey.generate,
}


def read_key(key_type: KeyType, text: str | bytes) -> Key:
    """The key that a key file's text holds.

    Raises:
        KeySetError: it holds no key of that type. The message quotes nothing of it.
    """
    return _PARSE[key_type](parse_object(text))


def key_text(key: Key) -> str:
    """The text of a key's file, in clear."""
    return _json.dumps(key.to_json()).decode("ascii")


def generate_key(key_type: KeyType, size: int | None = None) -> Key:
    """A new key.

    Args:
        key_type: any but the public ones, which are exported from private ones.
        size: in bits; the type's default where None.

    Raises:
        KeySetError: there are no new keys of that type, or not of that size.
    """
    if key_type not in _GENERATE:
        raise KeySetError(f"a key of type {key_type.value} is not made but exported from its private one")
    wanted = key_type.sizes[0] if size is None else size
    if wanted not in key_type.sizes:
        raise KeySetError(f"no key of type {key_type.value} has {wanted} bits, but one of {key_type.sizes}")
    return _GENERATE[key_type](wanted)
