"""The terms of a key set's `meta` file: types of keys, purposes of sets, and the status of each version."""

from __future__ import annotations

from enum import StrEnum

__all__ = [
    "ACTIVE",
    "AES",
    "DECRYPT_AND_ENCRYPT",
    "DSA_PRIV",
    "DSA_PUB",
    "ENCRYPT",
    "HMAC_SHA1",
    "INACTIVE",
    "PRIMARY",
    "RSA_PRIV",
    "RSA_PUB",
    "SIGN_AND_VERIFY",
    "VERIFY",
    "KeyPurpose",
    "KeyStatus",
    "KeyType",
]


class KeyStatus(StrEnum):
    """What a key version may be used for. Keys of every status verify and decrypt."""

    PRIMARY = "PRIMARY"
    """The one version that signs and encrypts."""
    ACTIVE = "ACTIVE"
    INACTIVE = "INACTIVE"
    """The only status from which a version can be revoked."""


class KeyPurpose(StrEnum):
    """What a key set may be used for."""

    DECRYPT_AND_ENCRYPT = "DECRYPT_AND_ENCRYPT"
    ENCRYPT = "ENCRYPT"
    SIGN_AND_VERIFY = "SIGN_AND_VERIFY"
    VERIFY = "VERIFY"


class KeyType(StrEnum):
    """The type of every key in a set."""

    AES = "AES"
    """AES in CBC mode, with HMAC-SHA1 over the whole output."""
    HMAC_SHA1 = "HMAC_SHA1"
    DSA_PRIV = "DSA_PRIV"
    DSA_PUB = "DSA_PUB"
    RSA_PRIV = "RSA_PRIV"
    """OAEP with SHA-1, or PKCS #1 v1.5 signatures with SHA-1, depending on the set's purpose."""
    RSA_PUB = "RSA_PUB"

    @property
    def purposes(self) -> frozenset[KeyPurpose]:
        """The purposes that a set of such keys can have."""
        return _PURPOSES[self]

    @property
    def sizes(self) -> tuple[int, ...]:
        """The sizes in bits of new keys, the default first; empty for public keys."""
        return _SIZES.get(self, ())

    @property
    def is_public(self) -> bool:
        """Whether its key files contain no secret."""
        return self in (KeyType.DSA_PUB, KeyType.RSA_PUB)


# python-keyczar's names for these values.
PRIMARY, ACTIVE, INACTIVE = KeyStatus.PRIMARY, KeyStatus.ACTIVE, KeyStatus.INACTIVE
DECRYPT_AND_ENCRYPT, ENCRYPT = KeyPurpose.DECRYPT_AND_ENCRYPT, KeyPurpose.ENCRYPT
SIGN_AND_VERIFY, VERIFY = KeyPurpose.SIGN_AND_VERIFY, KeyPurpose.VERIFY
AES, HMAC_SHA1 = KeyType.AES, KeyType.HMAC_SHA1
DSA_PRIV, DSA_PUB = KeyType.DSA_PRIV, KeyType.DSA_PUB
RSA_PRIV, RSA_PUB = KeyType.RSA_PRIV, KeyType.RSA_PUB

_PURPOSES = {
    AES: frozenset({DECRYPT_AND_ENCRYPT}),
    HMAC_SHA1: frozenset({SIGN_AND_VERIFY}),
    DSA_PRIV: frozenset({SIGN_AND_VERIFY}),
    DSA_PUB: frozenset({VERIFY}),
    RSA_PRIV: frozenset({DECRYPT_AND_ENCRYPT, SIGN_AND_VERIFY}),
    RSA_PUB: frozenset({ENCRYPT, VERIFY}),
}

# Keyczar also made RSA keys of 512 and 768 bits, which `cryptography` no longer generates, and of 1024.
_SIZES = {AES: (128, 192, 256), HMAC_SHA1: (256,), DSA_PRIV: (1024,), RSA_PRIV: (2048, 4096, 1024)}
