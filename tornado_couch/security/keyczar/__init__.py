"""Keyczar key sets, read and written byte for byte as python-keyczar 0.716 did.

Code that did `from keyczar import keyczar` does `from tornado_couch.security import keyczar` and goes on:

    signer = keyczar.Signer.Read("/etc/orchard/hmac")
    signer.Verify(message, signature)

Keyczar signs and encrypts with SHA-1 only, so that this is for reading data that exist; `allow_legacy=True`, given
to `Read` or to the constructor, lets a set write new data too. `keyczart` manages key sets on disk.

Left out: the streaming reader and writer, since the reader gave out plaintext before it was verified.
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
