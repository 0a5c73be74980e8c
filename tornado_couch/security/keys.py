"""The one interface of keys, and what joins keys of several kinds behind it.

Every operation takes a *context*: bytes that say what the message is for (which document, which property). Nothing
verifies or decrypts in another context than the one that it was made in. Contexts are no secret and are not stored.

What a key set is not for (a signer asked to encrypt) is a `KeySetError`. Outputs are text of which every
character matters. Nothing here waits, so it can be called from the event loop.
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
        """The signature of a message by the primary key."""
        ...

    def verify(self, message: bytes, signature: str, *, context: bytes) -> None:
        """Return if one of the keys made this signature for this message and context, else raise InvalidSignature."""
        ...

    def is_current(self, output: str) -> bool:
        """Whether the primary key made an output, so that rotating keys can pass it by."""
        ...


@runtime_checkable
class Crypter(Protocol):
    """Keys that encrypt."""

    def encrypt(self, plaintext: bytes, *, context: bytes) -> str:
        """The ciphertext, another at each call, by the primary key."""
        ...

    def decrypt(self, ciphertext: str, *, context: bytes) -> bytes:
        """The plaintext, whole and authentic, else DecryptionFailed."""
        ...

    def is_current(self, output: str) -> bool:
        """Whether the primary key made an output, so that rotating keys can pass it by."""
        ...


@runtime_checkable
class Indexer(Protocol):
    """Keys that make blind indexes."""

    def index(self, message: bytes, *, context: bytes) -> list[str]:
        """The keyed hashes of a message: the primary key's, to be stored, then what older keys would have stored."""
        ...


@runtime_checkable
class Keys(Signer, Crypter, Indexer, Protocol):
    """Everything that keys are asked to do; a key set for one purpose refuses the others with KeySetError."""


def framed(operation: str, context: bytes, message: bytes) -> bytes:
    """The bytes given to keys that know no context and do not tell operations apart.

    Unambiguous: the operation ends with a zero byte, the context has its length before it. It begins with a letter,
    where documents signed by the classic scheme begin with a brace, so neither can pass for the other.
    """
    return b"tornado_couch/" + operation.encode("ascii") + b"\0" + len(context).to_bytes(4, "big") + context + message


class KeyChain:
    """Several key sets as one: the first writes, any of them reads.

    For moving from one kind of keys to another: `KeyChain(new_ring, old_keyczar_set)`.
    """

    def __init__(self, primary: Keys, *older: Keys) -> None:
        """Chain key sets.

        Args:
            primary: what signs, encrypts and makes blind indexes.
            older: what may still have signed or encrypted what is stored.
        """
        self.members: tuple[Keys, ...] = (primary, *older)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(map(repr, self.members))})"

    def sign(self, message: bytes, *, context: bytes) -> str:
        """Sign with the first key set."""
        return self.members[0].sign(message, context=context)

    def verify(self, message: bytes, signature: str, *, context: bytes) -> None:
        """Verify with whichever key set made the signature.

        Raises:
            InvalidSignature: none did; or the one that did finds another message or context.
        """
        self._first(lambda keys: keys.verify(message, signature, context=context))

    def encrypt(self, plaintext: bytes, *, context: bytes) -> str:
        """Encrypt with the first key set."""
        return self.members[0].encrypt(plaintext, context=context)

    def decrypt(self, ciphertext: str, *, context: bytes) -> bytes:
        """Decrypt with whichever key set made the ciphertext.

        Raises:
            DecryptionFailed: none did; or the one that did finds other bytes or another context.
        """
        return self._first(lambda keys: keys.decrypt(ciphertext, context=context))

    def index(self, message: bytes, *, context: bytes) -> list[str]:
        """The first key set's blind indexes, then those of the others that make any.

        Keyczar sets that may only read make none, as theirs are signatures: give them `allow_legacy=True` where
        blind indexes of theirs are stored.
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
        """What the first key set that can read it makes of it; else the failure that says most."""
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
