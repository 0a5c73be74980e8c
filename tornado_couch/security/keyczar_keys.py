"""Adapts Keyczar's objects, or any with the same methods, to the interface `Keys`.

Keyczar has no contexts: the context and its length are put before what is signed or encrypted, and compared after
decryption. All exceptions of foreign libraries become errors of this package here and nowhere else.
"""

from __future__ import annotations

import hmac
from typing import Any, Protocol, runtime_checkable

from ..errors import DecryptionFailed, InvalidSignature, KeySetError, LegacyAlgorithm, SecurityError, SignatureFault
from .encoding import b64_decode, header_of
from .keyczar import Signer, Verifier
from .keys import KeyChain, Keys, framed

__all__ = ["KeyczarCrypter", "KeyczarKeys", "as_keys", "plain_signers", "verify_plain"]


@runtime_checkable
class KeyczarCrypter(Protocol):
    """The methods of Keyczar's Crypter."""

    def Encrypt(self, data: bytes, /) -> Any:  # noqa: N802  (Keyczar's name)
        """Encrypt, into base64url text."""
        ...

    def Decrypt(self, ciphertext: str, /) -> Any:  # noqa: N802  (Keyczar's name)
        """Decrypt a ciphertext."""
        ...


class KeyczarKeys:
    """Makes `Keys` of Keyczar's Signer, Crypter or both."""

    def __init__(self, signer: object = None, crypter: object = None) -> None:
        """Wrap objects with Keyczar's methods.

        Args:
            signer: has Sign and Verify, or at least Verify; blind indexes need one that makes the same signature for
                the same bytes (HMAC).
            crypter: has Encrypt and Decrypt.
        """
        self.signer = signer
        self.crypter = crypter
        self._repeats: bool | None = None

    def __repr__(self) -> str:
        inner = [type(each).__name__ for each in (self.signer, self.crypter) if each is not None]
        return f"{type(self).__name__}({', '.join(inner)})"

    def sign(self, message: bytes, *, context: bytes) -> str:
        """Sign with the key set's primary key."""
        return self._sign(framed("sign", context, message))

    def verify(self, message: bytes, signature: str, *, context: bytes) -> None:
        """Verify a signature, which must have the one form that Keyczar writes.

        Raises:
            InvalidSignature: it was not made by this key set for this message and context.
        """
        verify_plain(self.signer, framed("sign", context, message), signature)

    def encrypt(self, plaintext: bytes, *, context: bytes) -> str:
        """Encrypt with the key set's primary key, the context included."""
        method = _method(self.crypter, "Encrypt")
        return _text(method(framed("encrypt", context, plaintext)))

    def decrypt(self, ciphertext: str, *, context: bytes) -> bytes:
        """Decrypt, and compare the context inside.

        Raises:
            DecryptionFailed: the ciphertext was made by another key set or for another context, or was changed.
        """
        method = _method(self.crypter, "Decrypt")
        try:
            b64_decode(ciphertext)
            plain = method(ciphertext)
        except DecryptionFailed:
            raise
        except Exception as error:  # noqa: BLE001  (a foreign library may raise anything)
            raise DecryptionFailed("the ciphertext cannot be decrypted", unknown_key=_is_unknown(error)) from None
        data = plain.encode("utf-8") if isinstance(plain, str) else bytes(plain)
        frame = framed("encrypt", context, b"")
        if not hmac.compare_digest(data[: len(frame)], frame):
            raise DecryptionFailed("the ciphertext cannot be decrypted")
        return data[len(frame) :]

    def index(self, message: bytes, *, context: bytes) -> list[str]:
        """Use signatures as blind indexes: the primary key's, then those of older keys if the set can give them.

        Raises:
            KeySetError: the key set makes another signature for the same bytes each time (DSA).
        """
        data = framed("index", context, message)
        if self._repeats is None:
            self._repeats = self._sign(data) == self._sign(data)
        if not self._repeats:
            raise KeySetError("blind indexes need a key set that makes the same signature each time, such as HMAC")
        return self.signer.signatures(data) if isinstance(self.signer, Signer) else [self._sign(data)]

    def is_current(self, output: str) -> bool:
        """Whether the primary key of the signer or of the crypter made it, judged by the key hash in its header.

        It is never so for a key set that may only read.
        """
        probes = [(self.signer, "Sign"), (self.crypter, "Encrypt")]
        try:
            made = [_text(getattr(each, name)(b"")) for each, name in probes if hasattr(each, name)]
        except LegacyAlgorithm:
            return False
        return header_of(output) in [header_of(each) for each in made]

    def _sign(self, data: bytes) -> str:
        return _text(_method(self.signer, "Sign")(data))


def verify_plain(signer: object, data: bytes, signature: str) -> None:
    """Verify a signature that Keyczar itself made, without a context.

    Raises:
        InvalidSignature: it was not made by this key set for this data.
    """
    method = _method(signer, "Verify")
    # The signer of this package can also distinguish an unknown key from an altered signature; Keyczar's own cannot.
    verify = signer.verify if isinstance(signer, Verifier) else None
    try:
        b64_decode(signature)
        verified = verify(data, signature) is None if verify else method(data, signature)
    except (InvalidSignature, KeySetError):
        raise
    except Exception as error:  # noqa: BLE001  (a foreign library may raise anything)
        reason = SignatureFault.UNKNOWN_KEY if _is_unknown(error) else SignatureFault.ALTERED
        raise InvalidSignature("the signature does not verify", reason) from None
    if not verified:
        raise InvalidSignature("the signature does not verify")


def as_keys(given: object) -> Keys:
    """Turn the keys that an application has into `Keys`.

    Args:
        given: a key ring, a chain, keys of Tink, or an object with Keyczar's Sign and Verify, Encrypt and Decrypt,
            or all four.

    Raises:
        KeySetError: it has another form.
    """
    if isinstance(given, Keys):
        return given
    signer = given if hasattr(given, "Verify") else None
    crypter = given if isinstance(given, KeyczarCrypter) else None
    if signer is None and crypter is None:
        raise KeySetError(f"{type(given).__name__} is not a key set: it can neither sign nor encrypt")
    return KeyczarKeys(signer, crypter)


def plain_signers(keys: object) -> list[object]:
    """Keyczar's own signers in a key set or chain; the classic scheme signs with them, since it has no context."""
    if isinstance(keys, KeyChain):
        return [signer for member in keys.members for signer in plain_signers(member)]
    if isinstance(keys, KeyczarKeys):
        return [keys.signer] if keys.signer is not None else []
    return [keys] if hasattr(keys, "Verify") else []


def _method(given: object, name: str) -> Any:
    method = getattr(given, name, None)
    if method is None:
        raise KeySetError(f"the key set cannot be used for this: it has no method {name}")
    return method


def _text(output: object) -> str:
    return output.decode("ascii") if isinstance(output, bytes) else str(output)


def _is_unknown(error: Exception) -> bool:
    """Whether it is python-keyczar's error for a key hash that it does not know, or an error of ours that says so."""
    if isinstance(error, SecurityError):
        return bool(getattr(error, "unknown_key", False))
    return type(error).__name__ == "KeyNotFoundError"
