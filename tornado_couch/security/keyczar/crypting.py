"""Encrypting and decrypting with a key set."""
# ruff: noqa: N802 - python-keyczar's names

from __future__ import annotations

from typing import ClassVar, overload

from ...errors import DecryptionFailed
from .encoding import HEADER_SIZE, Decoder, Encoder, as_bytes, decode, decoded, encode, split
from .keyinfo import DECRYPT_AND_ENCRYPT, ENCRYPT, KeyPurpose
from .keyset import Keyczar

__all__ = ["Crypter", "Encrypter"]


class Encrypter(Keyczar):
    """Encrypts: with an AES or RSA key set, public ones included."""

    purposes: ClassVar[frozenset[KeyPurpose]] = frozenset({ENCRYPT, DECRYPT_AND_ENCRYPT})

    @overload
    def Encrypt(self, data: str | bytes, encoder: Encoder = ...) -> str: ...
    @overload
    def Encrypt(self, data: str | bytes, encoder: None) -> bytes: ...
    def Encrypt(self, data: str | bytes, encoder: Encoder | None = encode) -> str | bytes:
        """Encrypt bytes, or text as UTF-8, with the primary key.

        Args:
            data: the plaintext.
            encoder: what makes text of the output; None for bytes.

        Returns:
            The output, as base64url without padding.

        Raises:
            LegacyAlgorithm: the set was not read with `allow_legacy=True`.
            KeySetError: no version of it is primary.
            SecurityError: there is more than an RSA key can encrypt.
        """
        output = self._writing_key().encrypt(as_bytes(data))
        return output if encoder is None else encoder(output)

    def encrypt(self, data: str | bytes) -> str:
        """`Encrypt`, with base64url as the one encoding."""
        return self.Encrypt(data)


class Crypter(Encrypter):
    """Encrypts and decrypts: with an AES key set, or an RSA one with private keys."""

    purposes: ClassVar[frozenset[KeyPurpose]] = frozenset({DECRYPT_AND_ENCRYPT})

    def Decrypt(self, ciphertext: str | bytes, decoder: Decoder | None = decode) -> bytes:
        """The plaintext of an output, whole or not at all.

        Args:
            ciphertext: what an `Encrypt` of this key set returned, in any implementation of Keyczar.
            decoder: what makes bytes of it; None where it is bytes.

        Raises:
            DecryptionFailed: it is altered, cut off, not canonical base64url, or no key of this set made it. The
                same message each time, after the same work; `unknown_key` says whether its header names a key.
        """
        output = decoded(ciphertext, decoder)
        keys, known = self._candidates(split(output)[0])
        plaintext = None
        for key in keys:
            found = key.decrypt(output)
            if found is not None and known:
                plaintext = found
        if plaintext is None:
            raise DecryptionFailed(
                f"no key of the key set {self.metadata.name!r} decrypts this: it is altered, or of another key set",
                unknown_key=not known and len(output) >= HEADER_SIZE,
            )
        return plaintext

    def decrypt(self, ciphertext: str | bytes) -> bytes:
        """`Decrypt`, with base64url as the one encoding."""
        return self.Decrypt(ciphertext)
