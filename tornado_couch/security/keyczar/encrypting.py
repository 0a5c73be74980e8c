"""Encrypting and decrypting with a key set, by a key of it or by a session key."""

# ruff: noqa: N802 - python-keyczar's names

from __future__ import annotations

import os
from typing import ClassVar, Protocol, overload

from ... import _json
from ...errors import DecryptionFailed, KeySetError
from .encoding import (
    HEADER_SIZE,
    Decoder,
    Encoder,
    as_bytes,
    bytes_field,
    decode,
    decoded,
    encode,
    object_field,
    pack_all,
    parse_object,
    split,
    unpack_all,
)
from .key_set import Keyczar
from .keyinfo import DECRYPT_AND_ENCRYPT, ENCRYPT, KeyPurpose
from .readers import Decrypter, StaticKeyReader
from .signing import Signer, Verifier
from .symmetric import AesKey, HmacKey

__all__ = [
    "Crypter",
    "Encrypter",
    "SessionDecrypter",
    "SessionEncrypter",
    "SignedSessionDecrypter",
    "SignedSessionEncrypter",
]


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


_NONCE_SIZE = 16
_NO_SESSION = "the session material is not that of a session"


class _Encrypts(Protocol):
    def Encrypt(self, data: str | bytes, /) -> str: ...


def _crypter(key: AesKey) -> Crypter:
    # Whether SHA-1 may be written with has been asked where the session material was encrypted.
    return Crypter(StaticKeyReader(key, DECRYPT_AND_ENCRYPT), allow_legacy=True)


class SessionEncrypter:
    """Encrypts with a new AES key, so that an RSA key set takes data of any size.

    Args:
        encrypter: encrypts the AES key.

    Attributes:
        session_material: the encrypted AES key, which the `SessionDecrypter` must be given.

    Raises:
        LegacyAlgorithm: the encrypter was not read with `allow_legacy=True`.
    """

    def __init__(self, encrypter: _Encrypts) -> None:
        key = AesKey.generate()
        self.session_material = encrypter.Encrypt(pack_all(key.secret, key.hmac_key.secret))
        self._crypter = _crypter(key)

    @overload
    def Encrypt(self, plaintext: str | bytes, encoder: Encoder = ...) -> str: ...
    @overload
    def Encrypt(self, plaintext: str | bytes, encoder: None) -> bytes: ...
    def Encrypt(self, plaintext: str | bytes, encoder: Encoder | None = encode) -> str | bytes:
        """Encrypt with the session's key; as often as wanted."""
        output = self._crypter.Encrypt(plaintext, None)
        return output if encoder is None else encoder(output)


class SessionDecrypter:
    """Decrypts what a `SessionEncrypter` encrypted.

    Args:
        crypter: decrypts the AES key.
        session_material: the encrypted AES key.

    Raises:
        DecryptionFailed: the material is not a session's of that key set.
    """

    def __init__(self, crypter: Decrypter, session_material: str) -> None:
        self._crypter = _crypter(_unpacked(crypter.Decrypt(session_material)))

    def Decrypt(self, ciphertext: str | bytes, decoder: Decoder | None = decode) -> bytes:
        """The plaintext.

        Raises:
            DecryptionFailed: it is altered or of another session.
        """
        return self._crypter.Decrypt(ciphertext, decoder)


class SignedSessionEncrypter:
    """Encrypts with a new AES key and signs the result.

    Keyczar puts no name of the signer into what is encrypted: somebody else can take the signature off and put
    his own on, though he cannot read what he signs.

    Args:
        encrypter: encrypts the AES key and the nonce.
        signer: signs.

    Attributes:
        session_material: the encrypted AES key and nonce, which the `SignedSessionDecrypter` must be given.

    Raises:
        LegacyAlgorithm: encrypter or signer was not read with `allow_legacy=True`.
    """

    def __init__(self, encrypter: _Encrypts, signer: Signer) -> None:
        key, self._nonce = AesKey.generate(), os.urandom(_NONCE_SIZE)
        session = _json.dumps({"key": key.to_json(), "nonce": encode(self._nonce)})
        self.session_material = encrypter.Encrypt(session)
        self._crypter = _crypter(key)
        self._signer = signer

    def Encrypt(self, plaintext: str | bytes) -> str:
        """Encrypt with the session's key, sign, and attach the signature."""
        return self._signer.AttachedSign(self._crypter.Encrypt(plaintext, None), self._nonce)


class SignedSessionDecrypter:
    """Verifies and decrypts what a `SignedSessionEncrypter` made.

    Args:
        crypter: decrypts the AES key and the nonce.
        verifier: verifies.
        session_material: the encrypted AES key and nonce.

    Raises:
        DecryptionFailed: the material is not a session's of that key set.
    """

    def __init__(self, crypter: Decrypter, verifier: Verifier, session_material: str) -> None:
        key, self._nonce = _parsed(crypter.Decrypt(session_material))
        self._crypter = _crypter(key)
        self._verifier = verifier

    def Decrypt(self, signed_ciphertext: str | bytes) -> bytes:
        """The plaintext.

        Raises:
            InvalidSignature: the signature is not right; python-keyczar returned None.
            DecryptionFailed: it was signed, but is of another session.
        """
        return self._crypter.Decrypt(self._verifier.attached_verify(signed_ciphertext, self._nonce), None)


def _unpacked(material: str | bytes) -> AesKey:
    """The keys within the material of a `SessionEncrypter`: the AES key's bytes, then the HMAC key's."""
    try:
        secret, hmac_secret = unpack_all(material if isinstance(material, bytes) else material.encode("latin-1"))
        return AesKey(secret, HmacKey(hmac_secret))
    except (ValueError, KeySetError):
        pass
    raise DecryptionFailed(_NO_SESSION)


def _parsed(material: str | bytes) -> tuple[AesKey, bytes]:
    """The keys and the nonce within the material of a `SignedSessionEncrypter`."""
    try:
        session = parse_object(material)
        return AesKey.parse(object_field(session, "key")), bytes_field(session, "nonce")
    except KeySetError:
        pass
    raise DecryptionFailed(_NO_SESSION)
