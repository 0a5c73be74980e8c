"""Symmetric keys: HMAC-SHA1, and AES in CBC mode with HMAC-SHA1 over the output."""

from __future__ import annotations

import hmac
import os
from collections.abc import Mapping
from typing import Any, ClassVar

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from ...errors import KeySetError
from .encoding import HEADER_SIZE, bytes_field, encode, int_field, object_field, short_hash, text_field
from .key import Key
from .keyinfo import AES, HMAC_SHA1, KeyType

__all__ = ["AesKey", "HmacKey"]

_BLOCK = 16
_MAC = 20
_MIN_HMAC = 16


class HmacKey(Key):
    """An HMAC-SHA1 key (RFC 2104)."""

    type: ClassVar[KeyType] = HMAC_SHA1

    def __init__(self, secret: bytes) -> None:
        # Session material and other implementations have other sizes than the 256 bits that Keyczar generates.
        if len(secret) < _MIN_HMAC:
            raise KeySetError(f"its HMAC key is shorter than {8 * _MIN_HMAC} bits")
        # Unlike the hash of every other type of key, this one does not include a length.
        super().__init__(8 * len(secret), short_hash(secret))
        self.secret = secret

    @classmethod
    def generate(cls, size: int = HMAC_SHA1.sizes[0]) -> HmacKey:
        """Generate a key of a size in bits."""
        return cls(os.urandom(size // 8))

    @classmethod
    def parse(cls, value: Mapping[str, Any]) -> HmacKey:
        """Read the key from the contents of a key file."""
        return cls(_sized(value, "hmacKeyString"))

    def to_json(self) -> dict[str, Any]:
        """The contents of its key file."""
        return {"hmacKeyString": encode(self.secret), "size": self.size}

    def sign(self, message: bytes) -> bytes:
        """Sign a message; the signature has 20 bytes."""
        return hmac.digest(self.secret, message, "sha1")

    def verify(self, message: bytes, signature: bytes) -> bool:
        """Whether the signature is right; the time does not depend on the answer."""
        return hmac.compare_digest(self.sign(message), signature)


class AesKey(Key):
    """An AES key and the HMAC key that belongs to it."""

    type: ClassVar[KeyType] = AES

    def __init__(self, secret: bytes, hmac_key: HmacKey) -> None:
        if 8 * len(secret) not in AES.sizes:
            raise KeySetError(f"the size of its AES key is not one of {AES.sizes} bits")
        super().__init__(
            8 * len(secret), self._hash(len(secret), secret, hmac_key), tuple(self._old_hashes(secret, hmac_key))
        )
        self.secret = secret
        self.hmac_key = hmac_key
        self._algorithm = algorithms.AES(secret)

    @staticmethod
    def _hash(size: int, secret: bytes, hmac_key: HmacKey) -> bytes:
        return short_hash(size.to_bytes(4, "big"), secret, hmac_key.secret)

    @classmethod
    def _old_hashes(cls, secret: bytes, hmac_key: HmacKey) -> list[bytes]:
        found = []
        # Old Java used the size of a block instead of the key's.
        if len(secret) != _BLOCK:
            found.append(cls._hash(_BLOCK, secret, hmac_key))
        # Old C++ treated the key as a number, and so left out its leading zeros.
        if secret.startswith(b"\x00"):
            stripped = secret.lstrip(b"\x00")
            found.append(cls._hash(len(stripped), stripped, hmac_key))
        return found

    @classmethod
    def generate(cls, size: int = AES.sizes[0]) -> AesKey:
        """Generate a key of a size in bits."""
        return cls(os.urandom(size // 8), HmacKey.generate())

    @classmethod
    def parse(cls, value: Mapping[str, Any]) -> AesKey:
        """Read the key from the contents of a key file."""
        if text_field(value, "mode") != "CBC":
            raise KeySetError("its mode is not CBC, the only one that Keyczar ever used")
        return cls(_sized(value, "aesKeyString"), HmacKey.parse(object_field(value, "hmacKey")))

    def to_json(self) -> dict[str, Any]:
        """The contents of its key file."""
        own = {"aesKeyString": encode(self.secret), "mode": "CBC", "size": self.size}
        return {**own, "hmacKey": self.hmac_key.to_json()}

    def encrypt(self, plaintext: bytes) -> bytes:
        """Encrypt; returns a header, a random initialization vector, the ciphertext, and the HMAC-SHA1 of these."""
        padding = _BLOCK - len(plaintext) % _BLOCK
        vector = os.urandom(_BLOCK)
        cipher = Cipher(self._algorithm, modes.CBC(vector)).encryptor()
        body = self.header + vector + cipher.update(plaintext + bytes([padding]) * padding) + cipher.finalize()
        return body + self.hmac_key.sign(body)

    def decrypt(self, output: bytes) -> bytes | None:
        """Decrypt, but only after the HMAC was verified, so that the padding gives nothing away."""
        body, mac = output[:-_MAC], output[-_MAC:]
        if not self.hmac_key.verify(body, mac):
            return None
        vector, ciphertext = body[HEADER_SIZE : HEADER_SIZE + _BLOCK], body[HEADER_SIZE + _BLOCK :]
        if not ciphertext or len(ciphertext) % _BLOCK:
            return None
        cipher = Cipher(self._algorithm, modes.CBC(vector)).decryptor()
        return _unpadded(cipher.update(ciphertext) + cipher.finalize())


def _unpadded(padded: bytes) -> bytes | None:
    """The bytes without their PKCS #7 padding (RFC 5652 §6.3)."""
    size = padded[-1]
    right = 1 <= size <= _BLOCK and padded.endswith(bytes([size]) * size)
    return padded[:-size] if right else None


def _sized(value: Mapping[str, Any], name: str) -> bytes:
    secret = bytes_field(value, name)
    if 8 * len(secret) != int_field(value, "size"):
        raise KeySetError(f"its member {name} does not have the size that the file says")
    return secret
