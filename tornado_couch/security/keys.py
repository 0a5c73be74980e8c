"""The interface of all keys, and a chain that joins keys of several kinds.

Every operation takes a *context*: bytes that say what the message is for (which document, which property). An output
verifies or decrypts only in the context that it was made in. Contexts are not secret and are not stored.

A key set that is used for something that it is not for (a signer that should encrypt) raises `KeySetError`. Outputs
are texts in which every character matters. Nothing here waits, so it can be called from the event loop.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar, runtime_checkable

from ..errors import DecryptionFailed, InvalidSignature, KeySetError, LegacyAlgorithm, SignatureFault

__all__ = ["Crypter", "Indexer", "KeyChain", "Keys", "Signer", "framed"]

_Outcome = TypeVar("_Outcome")


@runtime_checkable
class Signer(Protocol):
    """Keys that sign."""

    def sign(self, message: bytes, *, context: bytes) -> str:
        """Sign a message with the primary key."""
        ...

    def verify(self, message: bytes, signature: str, *, context: bytes) -> None:
        """Return if one of the keys made this signature for this message and context, else raise InvalidSignature."""
        ...

    def is_current(self, output: str) -> bool:
        """Whether the primary key made an output, so that a rotation of keys can skip it."""
        ...


@runtime_checkable
class Crypter(Protocol):
    """Keys that encrypt."""

    def encrypt(self, plaintext: bytes, *, context: bytes) -> str:
        """Encrypt with the primary key; the ciphertext differs at each call."""
        ...

    def decrypt(self, ciphertext: str, *, context: bytes) -> bytes:
        """Decrypt; raises DecryptionFailed unless the ciphertext is complete and authentic."""
        ...

    def is_current(self, output: str) -> bool:
        """Whether the primary key made an output, so that a rotation of keys can skip it."""
        ...


@runtime_checkable
class Indexer(Protocol):
    """Keys that make blind indexes."""

    def index(self, message: bytes, *, context: bytes) -> list[str]:
        """The keyed hashes of a message: the primary key's, which is stored, then those that older keys would make."""
        ...


@runtime_checkable
class Keys(Signer, Crypter, Indexer, Protocol):
    """All operations of keys; a key set for one purpose refuses the others with KeySetError."""


def framed(operation: str, context: bytes, message: bytes) -> bytes:
    """The bytes to give to keys that have no contexts and do not distinguish operations.

    They are unambiguous: the operation ends with a zero byte, and the context comes after its length. They begin with
    a letter, and documents signed with the classic scheme with a brace, so neither can be mistaken for the other.
    """
    return b"tornado_couch/" + operation.encode("ascii") + b"\0" + len(context).to_bytes(4, "big") + context + message


class KeyChain:
    """Several key sets as one: the first writes, any of them reads.

    It is for changing from one kind of keys to another: `KeyChain(new_ring, old_keyczar_set)`.
    """

    def __init__(self, primary: Keys, *older: Keys) -> None:
        """Chain key sets.

        Args:
            primary: signs, encrypts and makes blind indexes.
            older: may have signed or encrypted what is stored.
        """
        self.members: tuple[Keys, ...] = (primary, *older)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(map(repr, self.members))})"

    def sign(self, message: bytes, *, context: bytes) -> str:
        """Sign with the first key set."""
        return self.members[0].sign(message, context=context)

    def verify(self, message: bytes, signature: str, *, context: bytes) -> None:
        """Verify with the key set that made the signature.

        Raises:
            InvalidSignature: none of them made it, or it was made for another message or context.
        """
        self._first(lambda keys: keys.verify(message, signature, context=context))

    def encrypt(self, plaintext: bytes, *, context: bytes) -> str:
        """Encrypt with the first key set."""
        return self.members[0].encrypt(plaintext, context=context)

    def decrypt(self, ciphertext: str, *, context: bytes) -> bytes:
        """Decrypt with the key set that made the ciphertext.

        Raises:
            DecryptionFailed: none of them made it, or it was changed or made for another context.
        """
        return self._first(lambda keys: keys.decrypt(ciphertext, context=context))

    def index(self, message: bytes, *, context: bytes) -> list[str]:
        """The first key set's blind indexes, then those of the others that make any.

        Keyczar sets that may only read make none, since their blind indexes are signatures: give them
        `allow_legacy=True` if blind indexes of theirs are stored.
        """
        found = self.members[0].index(message, context=context)
        for keys in self.members[1:]:
            try:
                found += keys.index(message, context=context)
            except (KeySetError, LegacyAlgorithm):
                continue
        return found

    def is_current(self, output: str) -> bool:
        """Whether the first key set's primary key made it."""
        return self.members[0].is_current(output)

    def _first(self, read: Callable[[Keys], _Outcome]) -> _Outcome:
        """Read with the first key set that can; if none can, raise the most informative error."""
        failures: list[KeySetError | InvalidSignature | DecryptionFailed] = []
        for keys in self.members:
            try:
                return read(keys)
            except (KeySetError, InvalidSignature, DecryptionFailed) as error:
                failures.append(error)
        raise max(failures, key=_telling)


def _telling(failure: KeySetError | InvalidSignature | DecryptionFailed) -> int:
    if isinstance(failure, KeySetError):
        return 0
    if isinstance(failure, InvalidSignature):
        return 1 if failure.reason is SignatureFault.UNKNOWN_KEY else 2
    return 1 if failure.unknown_key else 2
