"""One key of a key ring: what its 32 secret bytes are turned into, and what is made with that.

Each operation has a subkey of its own (HKDF-SHA256, RFC 5869, with the operation's name), so that no output of one
can pass for another's. Every output begins with 0x02 and the key's id, which are authenticated with the rest.

Encryption is AES-256-GCM with a random nonce of 96 bits. Such a key is good for 2^32 messages (NIST SP 800-38D
§8.3); here each context (a property of a document) has an AES key of its own, derived from the operation's, so the
bound is on how often one property of one document is written.
"""

from __future__ import annotations

import hmac
import os
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property

from cryptography.exceptions import InvalidSignature as BadSignature
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from ..errors import DecryptionFailed, InvalidSignature, KeySetError

__all__ = ["HEADER_SIZE", "VERSION", "Algorithm", "KeyState", "RingKey", "normalised"]

VERSION = b"\x02"
HEADER_SIZE = 5
_NONCE = 12
_TAG = 16


class KeyState(StrEnum):
    """What a key is used for; the names and meanings are Keyczar's."""

    PRIMARY = "primary"
    """Writes and reads; at most one key of a ring."""
    ACTIVE = "active"
    """Reads."""
    INACTIVE = "inactive"
    """Reads, and may be destroyed: do so when nothing is left that it made."""
    DESTROYED = "destroyed"
    """Does nothing: only its id is left, so that what it made is recognised."""


class Algorithm(StrEnum):
    """How a key signs."""

    HMAC_SHA256 = "HMAC-SHA256"
    ED25519 = "Ed25519"


def derived(secret: bytes, label: str, length: int = 32) -> bytes:
    """A subkey of a secret, for one use."""
    info = b"tornado_couch key ring 2: " + label.encode("ascii")
    return HKDF(algorithm=SHA256(), length=length, salt=None, info=info).derive(secret)


def normalised(material: bytes) -> bytes:
    """The 32 bytes that stand for key material from elsewhere.

    Raises:
        KeySetError: there are fewer than 16 bytes, which is less than any key has.
    """
    if len(material) < 16:
        raise KeySetError("key material has at least 16 bytes")
    return derived(material, "import")


@dataclass(frozen=True, repr=False)
class RingKey:
    """A key.

    Attributes:
        id: four bytes that follow from the secret, so that they are the same wherever it is imported.
        state: what it is used for.
        algorithm: how it signs.
        created: when, `YYYY-MM-DDTHH:MM:SS+00:00`.
        secret: 32 bytes; None where it is destroyed, or only the public half is known.
        public: 32 bytes, for Ed25519.
    """

    id: bytes
    state: KeyState
    algorithm: Algorithm
    created: str
    secret: bytes | None = None
    public: bytes | None = None

    @classmethod
    def of(cls, secret: bytes, state: KeyState, algorithm: Algorithm, created: str) -> RingKey:
        """The key with this secret."""
        public = None
        if algorithm is Algorithm.ED25519:
            public = _ed25519(secret).public_key().public_bytes_raw()
        return cls(derived(secret, "id", 4), state, algorithm, created, secret, public)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.id.hex()}, {self.state.value}, {self.algorithm.value})"

    @property
    def header(self) -> bytes:
        """What each of its outputs begins with."""
        return VERSION + self.id

    def sign(self, message: bytes, context: bytes) -> bytes:
        """The signature, header included."""
        data = self._framed(message, context)
        if self.algorithm is Algorithm.ED25519:
            return self.header + self._private_key.sign(data)
        return self.header + hmac.digest(self._sign_key, data, "sha256")

    def verify(self, message: bytes, signature: bytes, context: bytes) -> None:
        """Raise InvalidSignature unless `sign` made this signature."""
        if self.algorithm is Algorithm.ED25519:
            self._verify_ed25519(message, signature, context)
        elif not hmac.compare_digest(self.sign(message, context), signature):
            raise InvalidSignature("the signature does not verify")

    def encrypt(self, plaintext: bytes, context: bytes) -> bytes:
        """The ciphertext: header, nonce, encrypted bytes and tag."""
        nonce = os.urandom(_NONCE)
        return self.header + nonce + self._aes(context).encrypt(nonce, plaintext, self.header + context)

    def decrypt(self, ciphertext: bytes, context: bytes) -> bytes:
        """The plaintext of what `encrypt` made; else DecryptionFailed, the same for every wrong byte."""
        nonce, sealed = ciphertext[HEADER_SIZE : HEADER_SIZE + _NONCE], ciphertext[HEADER_SIZE + _NONCE :]
        try:
            if len(sealed) >= _TAG:
                return self._aes(context).decrypt(nonce, sealed, self.header + context)
        except InvalidTag:
            pass
        raise DecryptionFailed("the ciphertext does not decrypt")

    def index(self, message: bytes, context: bytes) -> bytes:
        """The blind index, header included."""
        return self.header + hmac.digest(self._index_key, self._framed(message, context), "sha256")

    def _framed(self, message: bytes, context: bytes) -> bytes:
        return self.header + len(context).to_bytes(4, "big") + context + message

    def _aes(self, context: bytes) -> AESGCM:
        return AESGCM(hmac.digest(self._encrypt_key, context, "sha256"))

    def _verify_ed25519(self, message: bytes, signature: bytes, context: bytes) -> None:
        try:
            self._public_key.verify(signature[HEADER_SIZE:], self._framed(message, context))
        except BadSignature:
            raise InvalidSignature("the signature does not verify") from None

    @property
    def _known_secret(self) -> bytes:
        if self.secret is None:
            raise KeySetError(f"the secret of key {self.id.hex()} is not in this key ring")
        return self.secret

    @cached_property
    def _private_key(self) -> Ed25519PrivateKey:
        return _ed25519(self._known_secret)

    @cached_property
    def _public_key(self) -> Ed25519PublicKey:
        return Ed25519PublicKey.from_public_bytes(self.public or b"")

    @cached_property
    def _sign_key(self) -> bytes:
        return derived(self._known_secret, "sign")

    @cached_property
    def _encrypt_key(self) -> bytes:
        return derived(self._known_secret, "encrypt")

    @cached_property
    def _index_key(self) -> bytes:
        return derived(self._known_secret, "index")


def _ed25519(secret: bytes) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(derived(secret, "sign Ed25519"))
