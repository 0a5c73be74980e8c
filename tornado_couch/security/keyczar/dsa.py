"""DSA keys with SHA-1 (FIPS 186-2); a signature is the DER encoding of r and s (RFC 3279 §2.2.2)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from cryptography.exceptions import InvalidSignature as _InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import dsa

from ...errors import KeySetError
from .encoding import big_field, object_field, prefix_hash, to_big
from .key import Key
from .keyinfo import DSA_PRIV, DSA_PUB, KeyType

__all__ = ["DsaPrivateKey", "DsaPublicKey"]

_SHA1 = hashes.SHA1()  # noqa: S303 - Keyczar's format has no other; writing with it needs allow_legacy


class DsaPublicKey(Key):
    """The half that verifies."""

    type: ClassVar[KeyType] = DSA_PUB

    def __init__(self, key: dsa.DSAPublicKey) -> None:
        self._numbers = key.public_numbers()
        self._key = key
        named = self._numbers.parameter_numbers
        super().__init__(key.key_size, prefix_hash(named.p, named.q, named.g, self._numbers.y))

    @classmethod
    def parse(cls, value: Mapping[str, Any]) -> DsaPublicKey:
        """Read the key from the contents of a key file."""
        parameters = dsa.DSAParameterNumbers(*(big_field(value, name) for name in "pqg"))
        try:
            key = dsa.DSAPublicNumbers(big_field(value, "y"), parameters).public_key()
        except ValueError:
            key = None
        if key is None:
            raise KeySetError("its numbers do not form a DSA public key")
        return cls(key)

    def to_json(self) -> dict[str, Any]:
        """The contents of its key file."""
        named = self._numbers.parameter_numbers
        numbers = {"p": named.p, "q": named.q, "g": named.g, "y": self._numbers.y}
        return {**{name: to_big(number) for name, number in numbers.items()}, "size": self.size}

    def verify(self, message: bytes, signature: bytes) -> bool:
        """Whether a signature is right; bytes after it are ignored."""
        try:
            self._key.verify(_trimmed(signature), message, _SHA1)
        except _InvalidSignature:
            return False
        return True


class DsaPrivateKey(Key):
    """The half that signs, together with the public one."""

    type: ClassVar[KeyType] = DSA_PRIV

    def __init__(self, key: dsa.DSAPrivateKey) -> None:
        self._key = key
        self._public = DsaPublicKey(key.public_key())
        super().__init__(key.key_size, self._public.hash)

    @classmethod
    def generate(cls, size: int = DSA_PRIV.sizes[0]) -> DsaPrivateKey:
        """Generate a key of a size in bits."""
        return cls(dsa.generate_private_key(size))

    @classmethod
    def parse(cls, value: Mapping[str, Any]) -> DsaPrivateKey:
        """Read the key from the contents of a key file."""
        public = DsaPublicKey.parse(object_field(value, "publicKey"))
        x = big_field(value, "x")
        try:
            key = dsa.DSAPrivateNumbers(x, public._numbers).private_key()
        except ValueError:
            key = None
        if key is None:
            raise KeySetError("its numbers do not form a DSA private key")
        return cls(key)

    @property
    def public(self) -> DsaPublicKey:
        """The public half."""
        return self._public

    def to_json(self) -> dict[str, Any]:
        """The contents of its key file."""
        x = self._key.private_numbers().x
        return {"publicKey": self._public.to_json(), "x": to_big(x), "size": self.size}

    def sign(self, message: bytes) -> bytes:
        """Sign a message; the signature is a new one each time."""
        return self._key.sign(message, _SHA1)

    def verify(self, message: bytes, signature: bytes) -> bool:
        """Whether a signature is right."""
        return self._public.verify(message, signature)


def _trimmed(signature: bytes) -> bytes:
    """A signature up to the end that its DER encoding states: old Java padded signatures to 48 bytes with zeros.

    Signatures of these keys are shorter than 128 bytes, so the length is always in the second byte.
    """
    if len(signature) < 2 or signature[0] != 0x30 or signature[1] >= 0x80:
        return signature
    return signature[: 2 + signature[1]]
