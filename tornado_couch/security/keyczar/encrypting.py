"""Encrypts and decrypts with a key set: with one of its keys, or with a session key."""

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
    """Encrypts with an AES or RSA key set; a public one is enough."""

    purposes: ClassVar[frozenset[KeyPurpose]] = frozenset({ENCRYPT, DECRYPT_AND_ENCRYPT})

    @overload
    def Encrypt(self, data: str | bytes, encoder: Encoder = ...) -> str: ...
    @overload
    def Encrypt(self, data: str | bytes, encoder: None) -> bytes: ...
    def Encrypt(self, data: str | bytes, encoder: Encoder | None = encode) -> str | bytes:
        """Encrypt bytes, or text as UTF-8, with the primary key.

        Args:
            data: the plaintext.
            encoder: turns the output into text; None for bytes.

        Returns:
            The output, as base64url without padding.

        Raises:
            LegacyAlgorithm: the set was not read with `allow_legacy=True`.
            KeySetError: the set has no primary version.
            SecurityError: the plaintext is longer than an RSA key can encrypt.
        """
        output = self._writing_key().encrypt(as_bytes(data))
        return output if encoder is None else encoder(output)

    def encrypt(self, data: str | bytes) -> str:
        """Do what `Encrypt` does, always with base64url as the encoding."""
        return self.Encrypt(data)


class Crypter(Encrypter):
    """Encrypts and decrypts with an AES key set, or with an RSA key set that has private keys."""

    purposes: ClassVar[frozenset[KeyPurpose]] = frozenset({DECRYPT_AND_ENCRYPT})

    def Decrypt(self, ciphertext: str | bytes, decoder: Decoder | None = decode) -> bytes:
        """Decrypt an output, completely or not at all.

        Args:
            ciphertext: what `Encrypt` of this key set returned, in any implementation of Keyczar.
            decoder: turns the text into bytes; None if it is bytes.

        Raises:
            DecryptionFailed: the output was altered or cut off, is not canonical base64url, or was made by another
                key set. The message and the work are the same in each case; `unknown_key` says whether the key
                that the header names is unknown.
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
                f"no key of the key set {self.metadata.name!r} decrypts this: it was altered, or belongs to another",
                unknown_key=not known and len(output) >= HEADER_SIZE,
            )
        return plaintext

    def decrypt(self, ciphertext: str | bytes) -> bytes:
        """Do what `Decrypt` does, always with base64url as the encoding."""
        return self.Decrypt(ciphertext)


_NONCE_SIZE = 16
_NO_SESSION = "this is not the material of a session"


class _Encrypts(Protocol):
    def Encrypt(self, data: str | bytes, /) -> str: ...


def _crypter(key: AesKey) -> Crypter:
    # Whether writing with SHA-1 is allowed was checked when the session material was encrypted.
    return Crypter(StaticKeyReader(key, DECRYPT_AND_ENCRYPT), allow_legacy=True)


class SessionEncrypter:
    """Encrypts with a new AES key, so that an RSA key set can be used for data of any size.

    Args:
        encrypter: encrypts the AES key.

    Attributes:
        session_material: the encrypted AES key, which the `SessionDecrypter` needs.

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
        """Encrypt with the session's key; can be called any number of times."""
        output = self._crypter.Encrypt(plaintext, None)
        return output if encoder is None else encoder(output)


class SessionDecrypter:
    """Decrypts what a `SessionEncrypter` encrypted.

    Args:
        crypter: decrypts the AES key.
        session_material: the encrypted AES key.

    Raises:
        DecryptionFailed: the material does not come from a session of that key set.
    """

    def __init__(self, crypter: Decrypter, session_material: str) -> None:
        self._crypter = _crypter(_unpacked(crypter.Decrypt(session_material)))

    def Decrypt(self, ciphertext: str | bytes, decoder: Decoder | None = decode) -> bytes:
        """Decrypt an output of this session.

        Raises:
            DecryptionFailed: the output was altered or belongs to another session.
        """
        return self._crypter.Decrypt(ciphertext, decoder)


class SignedSessionEncrypter:
    """Encrypts with a new AES key and signs the result.

    Keyczar does not put the signer's name into what it encrypts: somebody else can replace the signature with one of
    their own, although they cannot read what they sign.

    Args:
        encrypter: encrypts the AES key and the nonce.
        signer: signs.

    Attributes:
        session_material: the encrypted AES key and nonce, which the `SignedSessionDecrypter` needs.

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
        """Encrypt with the session's key, sign the result, and attach the signature."""
        return self._signer.AttachedSign(self._crypter.Encrypt(plaintext, None), self._nonce)


class SignedSessionDecrypter:
    """Verifies and decrypts the output of a `SignedSessionEncrypter`.

    Args:
        crypter: decrypts the AES key and the nonce.
        verifier: verifies.
        session_material: the encrypted AES key and nonce.

    Raises:
        DecryptionFailed: the material does not come from a session of that key set.
    """

    def __init__(self, crypter: Decrypter, verifier: Verifier, session_material: str) -> None:
        key, self._nonce = _parsed(crypter.Decrypt(session_material))
        self._crypter = _crypter(key)
        self._verifier = verifier

    def Decrypt(self, signed_ciphertext: str | bytes) -> bytes:
        """Verify and decrypt an output of this session.

        Raises:
            InvalidSignature: the signature is wrong; python-keyczar returned None.
            DecryptionFailed: it was signed, but belongs to another session.
        """
        return self._crypter.Decrypt(self._verifier.attached_verify(signed_ciphertext, self._nonce), None)


def _unpacked(material: str | bytes) -> AesKey:
    """Read the keys from the material of a `SessionEncrypter`: the AES key's bytes, then the HMAC key's."""
    try:
        secret, hmac_secret = unpack_all(material if isinstance(material, bytes) else material.encode("latin-1"))
        return AesKey(secret, HmacKey(hmac_secret))
    except (ValueError, KeySetError):
        pass
    raise DecryptionFailed(_NO_SESSION)


def _parsed(material: str | bytes) -> tuple[AesKey, bytes]:
    """Read the keys and the nonce from the material of a `SignedSessionEncrypter`."""
    try:
        session = parse_object(material)
        return AesKey.parse(object_field(session, "key")), bytes_field(session, "nonce")
    except KeySetError:
        pass
    raise DecryptionFailed(_NO_SESSION)
