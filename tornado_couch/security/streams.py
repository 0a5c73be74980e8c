"""Encrypts files chunk by chunk, so that a range can be decrypted without the rest: the STREAM construction.

Each file has a random key of its own. A chunk of 64 KiB is encrypted with AES-256-GCM under a nonce that consists of
its number and of whether it is the last one, and is bound to the place of the file. So a file that lacks its end, or
has chunks of another place, another file or in another order, does not decrypt. (Hoang, Reyhanitabar, Rogaway, Vizár:
"Online Authenticated-Encryption and its Nonce-Reuse Misuse-Resistance", 2015; Tink's streaming AEADs do the same.)
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Iterable, Iterator

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from ..errors import DecryptionFailed
from .encoding import canonical

__all__ = ["CHUNK_BYTES", "FileCipher", "new_file_key"]

CHUNK_BYTES = 64 * 1024
"""How many bytes of a file are encrypted together."""

_TAG_BYTES = 16  # that AES-GCM adds to each chunk
_MOST_CHUNKS = 2**32


def new_file_key() -> bytes:
    """A random key for one file."""
    return secrets.token_bytes(32)


class FileCipher:
    """Encrypts and decrypts one file.

    Args:
        key: the file's own key, which must never encrypt anything else.
        place: what the file is bound to: the database, the document's id, the file's name.
    """

    def __init__(self, key: bytes, place: Iterable[str]) -> None:
        self._aead = AESGCM(key)
        self._context = canonical(["encrypted file v1", *place])

    @staticmethod
    def sealed_length(length: int) -> int:
        """How many bytes a file of this length has once it is encrypted."""
        return length + _TAG_BYTES * _chunks(length)

    @staticmethod
    def chunks_of(start: int, stop: int, length: int) -> tuple[int, int]:
        """The number of the first chunk that a range needs, and of the one after the last."""
        first = min(start // CHUNK_BYTES, _chunks(length) - 1)
        return first, max(-(-stop // CHUNK_BYTES), first + 1)

    @staticmethod
    def sealed_span(first: int, until: int, length: int) -> tuple[int, int]:
        """Where some chunks begin and end in the encrypted file."""
        sealed = CHUNK_BYTES + _TAG_BYTES
        return first * sealed, min(until * sealed, FileCipher.sealed_length(length))

    def encrypted(self, parts: Iterable[bytes]) -> Iterator[bytes]:
        """The encrypted chunks of a file that is given in parts of any length."""
        held, number = bytearray(), 0
        for part in parts:
            held += part
            while len(held) > CHUNK_BYTES:  # what remains has an end to come
                yield self._aead.encrypt(_nonce(number, last=False), bytes(held[:CHUNK_BYTES]), self._context)
                del held[:CHUNK_BYTES]
                number += 1
        yield self._aead.encrypt(_nonce(number, last=True), bytes(held), self._context)

    def decrypted(self, number: int, chunk: bytes, length: int) -> bytes:
        """A chunk of a file, decrypted.

        Args:
            number: which one, from 0 on.
            chunk: the encrypted chunk.
            length: how many bytes the whole file has, which says whether this chunk is the last one.

        Raises:
            DecryptionFailed: it is not this chunk of this file.
        """
        try:
            last = number == _chunks(length) - 1
            return self._aead.decrypt(_nonce(number, last=last), chunk, self._context)
        except (InvalidTag, OverflowError, ValueError):
            raise DecryptionFailed("a chunk of an encrypted file is not the one that was stored there") from None

    async def stream(
        self, parts: AsyncIterator[bytes], length: int, number: int = 0, until: int | None = None
    ) -> AsyncIterator[bytes]:
        """The chunks of a file, decrypted, as they arrive.

        Args:
            parts: the encrypted bytes in parts of any length, from the beginning of a chunk on.
            length: how many bytes the whole file has.
            number: which chunk is the first.
            until: the number of the chunk after the last one; by default all have to come.

        Raises:
            DecryptionFailed: one of them is not this chunk of this file, or is missing.
        """
        held, size = bytearray(), CHUNK_BYTES + _TAG_BYTES
        async for part in parts:
            held += part
            while len(held) >= size:
                yield self.decrypted(number, bytes(held[:size]), length)
                del held[:size]
                number += 1
        if held:
            yield self.decrypted(number, bytes(held), length)
            number += 1
        if number != (_chunks(length) if until is None else until):
            raise DecryptionFailed("an encrypted file lacks its end")


def _chunks(length: int) -> int:
    return max(-(-length // CHUNK_BYTES), 1)  # a file without a byte has a chunk that proves it


def _nonce(number: int, *, last: bool) -> bytes:
    if number >= _MOST_CHUNKS:
        raise ValueError("the file is too long to be encrypted")
    return bytes(7) + number.to_bytes(4, "big") + bytes([last])
