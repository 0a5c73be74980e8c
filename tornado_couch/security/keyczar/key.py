"""`Key`: the base class of all keys of a key set."""

# ruff: noqa: ARG002 - the arguments are for subclasses

from __future__ import annotations

from typing import Any, ClassVar

from ...errors import KeySetError
from .encoding import VERSION_BYTE
from .keyinfo import KeyType

__all__ = ["Key"]


class Key:
    """One key. Each type overrides what it can do; a set's purpose makes sure that nothing else is called.

    Attributes:
        size: its size in bits.
        hash: the four bytes that identify it in outputs.
        fallback_hashes: other hashes that old implementations used for it.
    """

    type: ClassVar[KeyType]

    def __init__(self, size: int, key_hash: bytes, fallback_hashes: tuple[bytes, ...] = ()) -> None:
        self.size = size
        self.hash = key_hash
        self.fallback_hashes = fallback_hashes

    def __repr__(self) -> str:
        """A description without the key itself, since logs and tracebacks show it."""
        return f"<Keyczar {self.type.value} key, {self.size} bits, hash {self.hash.hex()}>"

    @property
    def header(self) -> bytes:
        """The first bytes of its outputs."""
        return VERSION_BYTE + self.hash

    @property
    def public(self) -> Key:
        """The public half of a private key."""
        raise KeySetError(f"a key of type {self.type.value} has no public half")

    def to_json(self) -> dict[str, Any]:
        """The contents of its key file, secrets included."""
        raise NotImplementedError

    def sign(self, message: bytes) -> bytes:
        """Make the bare signature of a message."""
        raise KeySetError(f"a key of type {self.type.value} cannot sign")

    def verify(self, message: bytes, signature: bytes) -> bool:
        """Whether this key made a bare signature for the message; any bytes are accepted."""
        raise KeySetError(f"a key of type {self.type.value} cannot verify")

    def encrypt(self, plaintext: bytes) -> bytes:
        """Encrypt; the result is the complete output, header included."""
        raise KeySetError(f"a key of type {self.type.value} cannot encrypt")

    def decrypt(self, output: bytes) -> bytes | None:
        """Decrypt a complete output; None, never a part of it, if this key did not make it."""
        raise KeySetError(f"a key of type {self.type.value} cannot decrypt")
