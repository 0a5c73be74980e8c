"""Keyczar key sets, read and written byte for byte as python-keyczar 0.716 did.

Replace `from keyczar import keyczar` by `from tornado_couch.security import keyczar`; the code works as before:

    signer = keyczar.Signer.Read("/etc/orchard/hmac")
    signer.Verify(message, signature)

Keyczar signs and encrypts with SHA-1 only, so this package is for reading existing data; `allow_legacy=True`, given
to `Read` or to the constructor, lets a set write new data as well. `keyczart` manages key sets on disk.

The streaming reader and writer are left out, since the reader returned plaintext before it was verified.
"""

from __future__ import annotations

from ...errors import SecurityError as KeyczarError
from . import keyczart, keyinfo, readers, writers
from .encrypting import (
    Crypter,
    Encrypter,
    SessionDecrypter,
    SessionEncrypter,
    SignedSessionDecrypter,
    SignedSessionEncrypter,
)
from .key_set import Keyczar
from .signing import Signer, UnversionedSigner, UnversionedVerifier, Verifier

__all__ = [
    "Crypter",
    "Encrypter",
    "Keyczar",
    "KeyczarError",
    "SessionDecrypter",
    "SessionEncrypter",
    "SignedSessionDecrypter",
    "SignedSessionEncrypter",
    "Signer",
    "UnversionedSigner",
    "UnversionedVerifier",
    "Verifier",
    "keyczart",
    "keyinfo",
    "readers",
    "writers",
]
