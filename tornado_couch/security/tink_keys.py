"""Adapts keys of Tink, for key sets in a KMS and for envelope encryption: the extra `tornado-couch[tink]`.

Only the primitives `Aead`, `Mac` and signatures of Tink are used, so the key may be on disk, in a KMS or encrypted by
one. A primitive that calls a KMS over the network blocks: call it in a thread, or use envelope encryption and
signatures with local keys.
"""

from __future__ import annotations

import importlib
from typing import Any

from ..errors import DecryptionFailed, InvalidSignature, KeySetError
from .encoding import b64_decode, b64_encode, header_of
from .keys import framed

__all__ = ["TinkKeys"]

_PREFIXED = b"\x01"  # https://developers.google.com/tink/wire-format: the output prefix type TINK
_MISSING = "Tink is not installed: pip install 'tornado-couch[tink]'"


class TinkKeys:
    """Makes `Keys` of primitives of Tink.

    Use key templates with the prefix `TINK`, which is the default. `RAW` outputs do not name their key, and neither do
    those of envelope encryption (`KmsEnvelopeAead`), so each run of a rotation considers all of them old.
    """

    def __init__(self, *, aead: Any = None, mac: Any = None, signer: Any = None, verifier: Any = None) -> None:
        """Wrap primitives of Tink.

        Args:
            aead: `tink.aead.Aead`, for encryption.
            mac: `tink.mac.Mac`, for blind indexes, and for signatures if neither `signer` nor `verifier` is given.
            signer: `tink.signature.PublicKeySign`.
            verifier: `tink.signature.PublicKeyVerify`.

        Raises:
            KeySetError: Tink is not installed.
        """
        self._errors: tuple[type[Exception], ...] = (ValueError, _tink().TinkError)
        self._aead = aead
        self._mac = mac
        self._signer = signer
        self._verifier = verifier

    def __repr__(self) -> str:
        used = {"aead": self._aead, "mac": self._mac, "signer": self._signer, "verifier": self._verifier}
        return f"{type(self).__name__}({', '.join(name for name, each in used.items() if each is not None)})"

    @classmethod
    def of(cls, *handles: Any) -> TinkKeys:
        """Take the primitives from key set handles, each a `tink.KeysetHandle`.

        Args:
            handles: key sets of Aead, Mac or private signature keys; public signature keys are enough to verify.

        Raises:
            KeySetError: Tink is not installed, or a handle has none of these primitives.
        """
        found: dict[str, Any] = {}
        for handle in handles:
            found |= _primitives(handle)
        return cls(**found)

    def sign(self, message: bytes, *, context: bytes) -> str:
        """Sign with the signer or, if there is none, compute a MAC."""
        data = framed("sign", context, message)
        if self._signer is not None or self._verifier is not None:
            return b64_encode(_given(self._signer, "sign").sign(data))
        return b64_encode(_given(self._mac, "sign").compute_mac(data))

    def verify(self, message: bytes, signature: str, *, context: bytes) -> None:
        """Verify with the verifier or, if there is none, compare the MAC.

        Raises:
            InvalidSignature: it was not made by this key set for this message and context.
        """
        data = framed("sign", context, message)
        public = self._signer is not None or self._verifier is not None
        verify = _given(self._verifier, "verify").verify if public else _given(self._mac, "verify").verify_mac
        try:
            verify(b64_decode(signature), data)
        except self._errors:
            raise InvalidSignature("the signature does not verify") from None

    def encrypt(self, plaintext: bytes, *, context: bytes) -> str:
        """Encrypt, with the context as associated data."""
        return b64_encode(_given(self._aead, "encrypt").encrypt(plaintext, framed("encrypt", context, b"")))

    def decrypt(self, ciphertext: str, *, context: bytes) -> bytes:
        """Decrypt, with the context as associated data.

        Raises:
            DecryptionFailed: the ciphertext was made by another key set or for another context, or was changed.
        """
        decrypt = _given(self._aead, "decrypt").decrypt
        try:
            return bytes(decrypt(b64_decode(ciphertext), framed("encrypt", context, b"")))
        except self._errors:
            raise DecryptionFailed("the ciphertext cannot be decrypted") from None

    def index(self, message: bytes, *, context: bytes) -> list[str]:
        """The MAC of the primary key; Tink does not give those of older keys."""
        data = framed("index", context, message)
        return [b64_encode(_given(self._mac, "make blind indexes").compute_mac(data))]

    def is_current(self, output: str) -> bool:
        """Whether a primary key made it, judged by the key id in its header; False if it has none."""
        header = header_of(output)
        if header is None or not header.startswith(_PREFIXED):
            return False
        made = []
        if self._signer is not None or self._mac is not None:
            made.append(self.sign(b"", context=b""))
        if self._aead is not None:
            made.append(self.encrypt(b"", context=b""))
        return header in [header_of(each) for each in made]


def _tink() -> Any:
    """Import the package when it is needed."""
    try:
        return importlib.import_module("tink")
    except ImportError:
        raise KeySetError(_MISSING) from None


def _primitives(handle: Any) -> dict[str, Any]:
    """The primitives that a handle has; only trying shows which."""
    tink = _tink()
    aead, mac, signature = (importlib.import_module(f"tink.{name}") for name in ("aead", "mac", "signature"))
    for module in (aead, mac, signature):
        module.register()
    kinds = {"aead": aead.Aead, "mac": mac.Mac}
    kinds |= {"signer": signature.PublicKeySign, "verifier": signature.PublicKeyVerify}
    found = {}
    for name, kind in kinds.items():
        try:
            found[name] = handle.primitive(kind)
        except tink.TinkError:
            continue
    if "signer" in found:
        found |= _primitives(handle.public_keyset_handle())
    if not found:
        raise KeySetError("the key set has neither an Aead nor a Mac nor a signature primitive")
    return found


def _given(primitive: Any, use: str) -> Any:
    if primitive is None:
        raise KeySetError(f"the keys of Tink cannot be used for this: none of them can {use}")
    return primitive
