"""RSA keys: OAEP with SHA-1 and MGF1 (RFC 8017 §7.1), or PKCS #1 v1.5 signatures with SHA-1 (§8.2)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from cryptography.exceptions import InvalidSignature as _InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from ...errors import KeySetError, SecurityError
from .encoding import HEADER_SIZE, big_field, object_field, prefix_hash, to_big
from .key import Key
from .keyinfo import RSA_PRIV, RSA_PUB, KeyType

__all__ = ["RsaPrivateKey", "RsaPublicKey"]

_SHA1 = hashes.SHA1()  # noqa: S303 - Keyczar's format has no other; writing with it needs allow_legacy
_OAEP = padding.OAEP(padding.MGF1(_SHA1), _SHA1, None)
_PKCS1 = padding.PKCS1v15()
# RFC 8017 §7.1.1: OAEP adds two hashes and two bytes to a message.
_OAEP_OVERHEAD = 2 * _SHA1.digest_size + 2

# The members of a private key's file, in the order of `_private_numbers`.
_PRIVATE = ("primeP", "primeQ", "privateExponent", "primeExponentP", "primeExponentQ", "crtCoefficient")


class RsaPublicKey(Key):
    """The half that verifies or encrypts. Its size is that of its modulus, since some files state a wrong one."""

    type: ClassVar[KeyType] = RSA_PUB

    def __init__(self, key: rsa.RSAPublicKey) -> None:
        self._numbers = key.public_numbers()
        self._key = key
        super().__init__(key.key_size, prefix_hash(self._numbers.n, self._numbers.e))

    @classmethod
    def parse(cls, value: Mapping[str, Any]) -> RsaPublicKey:
        """Read the key from the contents of a key file."""
        # Java could be configured for PKCS #1 v1.5 encryption; such a key could not decrypt anything here.
        if value.get("padding") not in (None, "", "OAEP"):
            raise KeySetError("its padding is not OAEP")
        numbers = rsa.RSAPublicNumbers(big_field(value, "publicExponent"), big_field(value, "modulus"))
        try:
            key = numbers.public_key()
        except ValueError:
            key = None
        if key is None:
            raise KeySetError("its numbers do not form an RSA public key")
        return cls(key)

    def to_json(self) -> dict[str, Any]:
        """The contents of its key file."""
        return {
            "modulus": to_big(self._numbers.n),
            "publicExponent": to_big(self._numbers.e),
            "size": self.size,
        }

    def verify(self, message: bytes, signature: bytes) -> bool:
        """Whether a signature is right; as in every Keyczar, it may lack its leading zeros."""
        try:
            self._key.verify(signature.rjust(self.size // 8, b"\x00"), message, _PKCS1, _SHA1)
        except _InvalidSignature:
            return False
        return True

    def encrypt(self, plaintext: bytes) -> bytes:
        """Encrypt; the output is a header and a ciphertext as long as the modulus."""
        most = self.size // 8 - _OAEP_OVERHEAD
        if len(plaintext) > most:
            raise SecurityError(f"an RSA key of {self.size} bits encrypts at most {most} bytes: use a SessionEncrypter")
        return self.header + self._key.encrypt(plaintext, _OAEP)


class RsaPrivateKey(Key):
    """The half that signs or decrypts, together with the public one."""

    type: ClassVar[KeyType] = RSA_PRIV

    def __init__(self, key: rsa.RSAPrivateKey) -> None:
        self._key = key
        self._public = RsaPublicKey(key.public_key())
        super().__init__(key.key_size, self._public.hash)

    @classmethod
    def generate(cls, size: int = RSA_PRIV.sizes[0]) -> RsaPrivateKey:
        """Generate a key of a size in bits."""
        return cls(rsa.generate_private_key(65537, size))

    @classmethod
    def parse(cls, value: Mapping[str, Any]) -> RsaPrivateKey:
        """Read the key from the contents of a key file."""
        public = RsaPublicKey.parse(object_field(value, "publicKey"))
        p, q, d, dmp1, dmq1, iqmp = (big_field(value, name) for name in _PRIVATE)
        try:
            key = rsa.RSAPrivateNumbers(p, q, d, dmp1, dmq1, iqmp, public._numbers).private_key()
        except ValueError:
            key = None
        if key is None:
            raise KeySetError("its numbers do not form an RSA private key")
        return cls(key)

    @property
    def public(self) -> RsaPublicKey:
        """The public half."""
        return self._public

    def to_json(self) -> dict[str, Any]:
        """The contents of its key file."""
        numbers = self._key.private_numbers()
        private = (numbers.p, numbers.q, numbers.d, numbers.dmp1, numbers.dmq1, numbers.iqmp)
        secrets = {name: to_big(number) for name, number in zip(_PRIVATE, private, strict=True)}
        return {"publicKey": self._public.to_json(), **secrets, "size": self.size}

    def sign(self, message: bytes) -> bytes:
        """Sign a message; the signature is as long as the modulus."""
        return self._key.sign(message, _PKCS1, _SHA1)

    def verify(self, message: bytes, signature: bytes) -> bool:
        """Whether a signature is right."""
        return self._public.verify(message, signature)

    def encrypt(self, plaintext: bytes) -> bytes:
        """Encrypt; the output is a header and a ciphertext."""
        return self._public.encrypt(plaintext)

    def decrypt(self, output: bytes) -> bytes | None:
        """Decrypt. python-keyczar dropped the leading zeros of ciphertexts, so they are added again."""
        try:
            return self._key.decrypt(output[HEADER_SIZE:].rjust(self.size // 8, b"\x00"), _OAEP)
        except ValueError:
            return None
