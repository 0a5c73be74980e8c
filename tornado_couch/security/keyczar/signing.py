"""Signs and verifies with a key set.

A versioned signature covers the message followed by a zero byte, the version of the format. The methods in
python-keyczar's spelling return what it did: True or False, the message or None. Those in Python's spelling raise an
error, so that a forgotten `if` lets nothing through.
"""

# ruff: noqa: N802 - python-keyczar's names

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import ClassVar, overload

from ...errors import InvalidSignature, SignatureFault
from .encoding import HEADER_SIZE, VERSION_BYTE, Decoder, Encoder, as_bytes, decode, decoded, encode, pack, split
from .key import Key
from .key_set import Keyczar
from .keyinfo import SIGN_AND_VERIFY, VERIFY, KeyPurpose

__all__ = ["Signer", "UnversionedSigner", "UnversionedVerifier", "Verifier"]

_TIME_SIZE = 8
_LENGTH_SIZE = 4


def _any_verifies(keys: Sequence[Key], message: bytes, signature: bytes) -> bool:
    """Whether one of the keys made a signature; all of them are tried, whichever it is."""
    return any([key.verify(message, signature) for key in keys])  # noqa: C419 - a generator would stop early


class Verifier(Keyczar):
    """Verifies with an HMAC, DSA or RSA key set; a public one is enough."""

    purposes: ClassVar[frozenset[KeyPurpose]] = frozenset({VERIFY, SIGN_AND_VERIFY})

    def Verify(self, data: str | bytes, sig: str | bytes, decoder: Decoder | None = decode) -> bool:
        """Whether a key of this set made the signature for the data.

        Args:
            data: the message; text is encoded as UTF-8.
            sig: what `Sign` of this key set returned, in any implementation of Keyczar.
            decoder: turns the signature into bytes; None if it is bytes.

        Returns:
            The answer. It is also False for a signature that is cut off, not canonical base64url, or made by an
            unknown key; python-keyczar raised an error for those.
        """
        header, bare = split(decoded(sig, decoder))
        return self._verifies(header, as_bytes(data), bare)

    def AttachedVerify(
        self, signed_data: str | bytes, nonce: str | bytes | None, decoder: Decoder | None = decode
    ) -> bytes | None:
        """The message in what `AttachedSign` returned, or None if it does not verify with this nonce."""
        header, rest = split(decoded(signed_data, decoder))
        # A length beyond the end leaves an empty signature, which never verifies.
        size = int.from_bytes(rest[:_LENGTH_SIZE], "big")
        data, bare = rest[_LENGTH_SIZE:][:size], rest[_LENGTH_SIZE:][size:]
        return data if self._verifies(header, data + _hidden(nonce), bare) else None

    def TimeoutVerify(
        self, data: str | bytes, sig: str | bytes, decoder: Decoder | None = decode, *, now: int | None = None
    ) -> bool:
        """Whether `TimeoutSign` made the signature for the data, and its time has not passed.

        Args:
            data: the message; text is encoded as UTF-8.
            sig: the signature.
            decoder: turns the signature into bytes; None if it is bytes.
            now: milliseconds since 1970 in UTC; None for the clock's time.
        """
        header, rest = split(decoded(sig, decoder))
        expires, bare = rest[:_TIME_SIZE], rest[_TIME_SIZE:]
        right = self._verifies(header, expires + as_bytes(data), bare)
        moment = time.time_ns() // 1_000_000 if now is None else now
        # A long in Java: a time with the highest bit set is in the distant past.
        return right and moment <= int.from_bytes(expires, "big", signed=True)

    def verify(self, data: str | bytes, signature: str | bytes) -> None:
        """Verify as `Verify` does, but raise an error if the signature is wrong.

        Raises:
            InvalidSignature: the signature is wrong; `reason` distinguishes an unknown key from an altered signature.
        """
        if not self.Verify(data, signature):
            raise self._refusal(signature)

    def attached_verify(self, signed_data: str | bytes, nonce: str | bytes | None) -> bytes:
        """Verify as `AttachedVerify` does, but raise an error if the signature is wrong.

        Raises:
            InvalidSignature: the signature is wrong.
        """
        data = self.AttachedVerify(signed_data, nonce)
        if data is None:
            raise self._refusal(signed_data)
        return data

    def timeout_verify(self, data: str | bytes, signature: str | bytes, *, now: int | None = None) -> None:
        """Verify as `TimeoutVerify` does, but raise an error if the signature is wrong.

        Raises:
            InvalidSignature: the signature is wrong, or its time has passed.
        """
        if not self.TimeoutVerify(data, signature, now=now):
            raise self._refusal(signature)

    def _verifies(self, header: bytes, message: bytes, bare: bytes) -> bool:
        keys, known = self._candidates(header)
        return _any_verifies(keys, message + VERSION_BYTE, bare) and known

    def _refusal(self, signature: str | bytes) -> InvalidSignature:
        raw = decoded(signature, decode)
        unknown = len(raw) >= HEADER_SIZE and not self._candidates(split(raw)[0])[1]
        return InvalidSignature(
            f"no key of the key set {self.metadata.name!r} made this signature: it or the data was altered, its time"
            " has passed, or another key set made it",
            SignatureFault.UNKNOWN_KEY if unknown else SignatureFault.ALTERED,
        )


class Signer(Verifier):
    """Signs and verifies with an HMAC key set, or with a DSA or RSA key set that has private keys."""

    purposes: ClassVar[frozenset[KeyPurpose]] = frozenset({SIGN_AND_VERIFY})

    @overload
    def Sign(self, data: str | bytes, encoder: Encoder = ...) -> str: ...
    @overload
    def Sign(self, data: str | bytes, encoder: None) -> bytes: ...
    def Sign(self, data: str | bytes, encoder: Encoder | None = encode) -> str | bytes:
        """Sign bytes, or text as UTF-8, with the primary key.

        Args:
            data: the message.
            encoder: turns the signature into text; None for bytes.

        Returns:
            Header and signature, as base64url without padding.

        Raises:
            LegacyAlgorithm: the set was not read with `allow_legacy=True`.
            KeySetError: the set has no primary version.
        """
        key = self._writing_key()
        output = key.header + key.sign(as_bytes(data) + VERSION_BYTE)
        return output if encoder is None else encoder(output)

    def signatures(self, data: str | bytes) -> list[str]:
        """The signature that `Sign` returns, then those that it returned while each of the other keys was primary.

        They are for looking up stored signatures; DSA signatures differ each time.

        Raises:
            LegacyAlgorithm, KeySetError: as in `Sign`.
        """
        primary, message = self._writing_key(), as_bytes(data) + VERSION_BYTE
        keys = [primary, *(each for each in self._keys.values() if each is not primary)]
        return [encode(each.header + each.sign(message)) for each in keys]

    @overload
    def AttachedSign(self, data: str | bytes, nonce: str | bytes | None, encoder: Encoder = ...) -> str: ...
    @overload
    def AttachedSign(self, data: str | bytes, nonce: str | bytes | None, encoder: None) -> bytes: ...
    def AttachedSign(
        self, data: str | bytes, nonce: str | bytes | None, encoder: Encoder | None = encode
    ) -> str | bytes:
        """Sign a message and a nonce; the output contains the message in the clear.

        Args:
            data: the message.
            nonce: more bytes to sign, which are needed again to verify and are not in the output. With None the
                signature is that of `Sign`, so either can be turned into the other.
            encoder: turns the output into text; None for bytes.

        Returns:
            The header, the message after its length, and the signature, as base64url without padding.

        Raises:
            LegacyAlgorithm: the set was not read with `allow_legacy=True`.
            KeySetError: the set has no primary version.
        """
        key, message = self._writing_key(), as_bytes(data)
        output = key.header + pack(message) + key.sign(message + _hidden(nonce) + VERSION_BYTE)
        return output if encoder is None else encoder(output)

    @overload
    def TimeoutSign(self, data: str | bytes, expiration: int, encoder: Encoder = ...) -> str: ...
    @overload
    def TimeoutSign(self, data: str | bytes, expiration: int, encoder: None) -> bytes: ...
    def TimeoutSign(self, data: str | bytes, expiration: int, encoder: Encoder | None = encode) -> str | bytes:
        """Sign a message until a given time, as Java's TimeoutSigner does (python-keyczar has no such signer).

        Args:
            data: the message.
            expiration: the last millisecond at which it verifies, counted since 1970 in UTC.
            encoder: turns the signature into text; None for bytes.

        Returns:
            The header, the time in eight bytes, and the signature, as base64url without padding.

        Raises:
            LegacyAlgorithm: the set was not read with `allow_legacy=True`.
            KeySetError: the set has no primary version.
        """
        key, expires = self._writing_key(), expiration.to_bytes(_TIME_SIZE, "big", signed=True)
        output = key.header + expires + key.sign(expires + as_bytes(data) + VERSION_BYTE)
        return output if encoder is None else encoder(output)

    def sign(self, data: str | bytes) -> str:
        """Do what `Sign` does, always with base64url as the encoding."""
        return self.Sign(data)

    def attached_sign(self, data: str | bytes, nonce: str | bytes | None) -> str:
        """Do what `AttachedSign` does, always with base64url as the encoding."""
        return self.AttachedSign(data, nonce)

    def timeout_sign(self, data: str | bytes, expiration: int) -> str:
        """Do what `TimeoutSign` does, always with base64url as the encoding."""
        return self.TimeoutSign(data, expiration)


class UnversionedVerifier(Keyczar):
    """Verifies plain signatures, which have no header and do not cover the version byte."""

    purposes: ClassVar[frozenset[KeyPurpose]] = Verifier.purposes

    def Verify(self, data: str | bytes, sig: str | bytes, decoder: Decoder | None = decode) -> bool:
        """Whether any key of this set made the signature for the data."""
        return _any_verifies(tuple(self._keys.values()), as_bytes(data), decoded(sig, decoder))

    def verify(self, data: str | bytes, signature: str | bytes) -> None:
        """Verify as `Verify` does, but raise an error if the signature is wrong.

        Raises:
            InvalidSignature: the signature is wrong.
        """
        if not self.Verify(data, signature):
            raise InvalidSignature(f"no key of the key set {self.metadata.name!r} made this signature for this data")


class UnversionedSigner(UnversionedVerifier):
    """Makes and verifies plain signatures, which have no header and do not cover the version byte."""

    purposes: ClassVar[frozenset[KeyPurpose]] = Signer.purposes

    @overload
    def Sign(self, data: str | bytes, encoder: Encoder = ...) -> str: ...
    @overload
    def Sign(self, data: str | bytes, encoder: None) -> bytes: ...
    def Sign(self, data: str | bytes, encoder: Encoder | None = encode) -> str | bytes:
        """Sign bytes, or text as UTF-8, with the primary key.

        Args:
            data: the message.
            encoder: turns the signature into text; None for bytes.

        Returns:
            The signature alone, as base64url without padding.

        Raises:
            LegacyAlgorithm: the set was not read with `allow_legacy=True`.
            KeySetError: the set has no primary version.
        """
        output = self._writing_key().sign(as_bytes(data))
        return output if encoder is None else encoder(output)

    def sign(self, data: str | bytes) -> str:
        """Do what `Sign` does, always with base64url as the encoding."""
        return self.Sign(data)


def _hidden(nonce: str | bytes | None) -> bytes:
    return b"" if nonce is None else pack(as_bytes(nonce))
