"""Reads, writes and generates keys, according to the type that the set's `meta` names."""

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
    """Read the key from a key file's text.

    Raises:
        KeySetError: the text is not a key of that type. The message does not quote the text.
    """
    return _PARSE[key_type](parse_object(text))


def key_text(key: Key) -> str:
    """The text of a key's file, unencrypted."""
    return _json.dumps(key.to_json()).decode("ascii")


def generate_key(key_type: KeyType, size: int | None = None) -> Key:
    """Generate a key.

    Args:
        key_type: any type but the public ones, which are exported from private keys.
        size: its size in bits; None for the default of its type.

    Raises:
        KeySetError: keys of that type, or of that size, cannot be generated.
    """
    if key_type not in _GENERATE:
        raise KeySetError(f"a key of type {key_type.value} cannot be generated: export it from its private key")
    wanted = key_type.sizes[0] if size is None else size
    if wanted not in key_type.sizes:
        raise KeySetError(f"a key of type {key_type.value} cannot have {wanted} bits: choose one of {key_type.sizes}")
    return _GENERATE[key_type](wanted)
