"""What every key of a key set is and can be asked."""

# ruff: noqa: ARG002 - the arguments are for the overrides

from __future__ import annotations

from typing import Any, ClassVar

from ...errors import KeySetError
from .encoding import VERSION_BYTE
from .keyinfo import KeyType

__all__ = ["Key"]


class Key:
    """One key. Each type overrides what it can do; a set's purpose sees to it that nothing else is asked.

    Attributes:
        size: its size in bits.
        hash: the four bytes by which outputs name it.
        fallback_hashes: other hashes by which old implementations named it.
    """

    type: ClassVar[KeyType]

    def __init__(self, size: int, key_hash: bytes, fallback_hashes: tuple[bytes, ...] = ()) -> None:
        self.size = size
        self.hash = key_hash
        self.fallback_hashes = fallback_hashes

    def __repr__(self) -> str:
        """Never the key itself: this is what logs and tracebacks show."""
        return f"<Keyczar {self.type.value} key, {self.size} bits, hash {self.hash.hex()}>"

    @property
    def header(self) -> bytes:
        """What its outputs begin with."""
        return VERSION_BYTE + self.hash

    @property
    def public(self) -> Key:
        """The public half of a private key."""
        raise KeySetError(f"a key of type {self.type.value} has no public half")

    def to_json(self) -> dict[str, Any]:
        """What its key file holds, secrets included."""
        raise NotImplementedError

    def sign(self, message: bytes) -> bytes:
        """The bare signature of a message."""
        raise KeySetError(f"a key of type {self.type.value} cannot sign")

    def verify(self, message: bytes, signature: bytes) -> bool:
        """Whether a bare signature is this key's for the message; any bytes can be asked about."""
        raise KeySetError(f"a key of type {self.type.value} cannot verify")

    def encrypt(self, plaintext: bytes) -> bytes:
        """The whole output, header included."""
        raise KeySetError(f"a key of type {self.type.value} cannot encrypt")

    def decrypt(self, output: bytes) -> bytes | None:
        """The plaintext of a whole output; None, never a part of it, where it is not this key's."""
        raise KeySetError(f"a key of type {self.type.value} cannot decrypt")
