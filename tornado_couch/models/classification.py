"""How the values of a property are protected where they are stored: the classes of a data classification policy.

    pin: Annotated[str | None, Hashed()] = None
    token: Annotated[str, Hashed("sha3-512", pepper=PEPPER), Indexed()]
    email: Annotated[str, Encrypted(searchable=True)]
    color: Annotated[str, Public()]

A class of one's own derives from `Classification`. The model always has the value itself, except of what is
hashed: once stored, that is a `StoredHash`, which `await model.verify("pin", value)` compares.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import os
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeVar

from ..errors import DecryptionFailed, KeySetError, SecurityError
from ..security import (
    BcryptHasher,
    Crypter,
    Indexer,
    Sha3Hasher,
    blind_index,
    blind_indexes,
    ciphertext_of,
    decrypt_value,
    encrypt_value,
    is_bound_to_database,
    is_encrypted,
    is_hash,
)

__all__ = ["Classification", "Encrypted", "Hashed", "Place", "Public", "StoredHash", "run_slow", "verify_held"]

T = TypeVar("T")


class StoredHash(str):
    """What a model has in place of a hashed value, once that is stored: the hash. No validator is asked about it."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "StoredHash(…)"


@dataclass(frozen=True)
class Place:
    """Where a value is stored, and the store's keys.

    Attributes:
        document_id: the document's `_id`.
        type_name: its type without the version.
        name: of the property, in JSON.
        crypter: the keys that encrypt; None where the store has none.
        indexer: the keys of blind indexes.
        database: the database's name, for what is bound to it.
        bound: whether what is encrypted anew is good for this database alone.
    """

    document_id: str
    type_name: str
    name: str
    crypter: Crypter | None
    indexer: Indexer | None
    database: str = ""
    bound: bool = False

    def needed_crypter(self) -> Crypter:
        """The keys that encrypt.

        Raises:
            KeySetError: the store has none.
        """
        if self.crypter is None:
            raise KeySetError(f"{self.type_name}.{self.name} needs keys: Store(database, crypter=...)")
        return self.crypter

    def needed_indexer(self) -> Indexer:
        """The keys of blind indexes.

        Raises:
            KeySetError: the store has none.
        """
        if self.indexer is None:
            raise KeySetError(f"{self.type_name}.{self.name} needs keys: Store(database, crypter=...)")
        return self.indexer


class Classification:
    """A class of the policy; derive from it to add one.

    The defaults store the value as it is. Methods are called by many tasks, and by threads where `slow`.

    Attributes:
        slow: `protect` takes long on purpose, so it is called in a thread.
        hidden: clients never see the property; it is write-only.
        needs_keys: it works only in a store that has a `crypter`.
        text_only: only text can be protected so.
        algorithm: for the policy report.
        key_set: for the policy report: which keys it uses.
        lookups: gives everything that may stand in the property's index for a value; None where documents
            cannot be found by it, not even by equality.
        blind_index: gives what is stored for finding the document, in a property of its own; None for nothing.
    """

    slow: bool = False
    hidden: bool = False
    needs_keys: bool = False
    text_only: bool = False
    algorithm: str = "none"
    key_set: str = ""
    lookups: Callable[[Any, Place], list[Any]] | None = None
    blind_index: Callable[[Any, Place], str] | None = None

    def protect(self, value: Any, place: Place) -> Any:  # noqa: ARG002 - for those that need it
        """What is stored for a JSON value."""
        return value

    def reveal(self, stored: Any, place: Place) -> Any:  # noqa: ARG002 - for those that need it
        """The JSON value that the model has for what is stored.

        Raises:
            DecryptionFailed: it was not stored here, or was changed.
        """
        return stored

    def is_current(self, stored: Any, place: Place) -> bool:  # noqa: ARG002 - for those that need it
        """Whether what is stored can stay where the value did not change: it was made as it would be now."""
        return True

    def is_protected(self, stored: Any) -> bool:  # noqa: ARG002 - for those that need it
        """Whether what is stored has the form that `protect` gives it; else it is older than the classification.

        A class that cannot tell takes all for protected: its older documents cannot be found by `rotate`.
        """
        return True


class Public(Classification):
    """Judged, and stored as it is."""


class Hashed(Classification):
    """Only a hash is stored, and clients never see it.

    bcrypt is for what can be guessed, such as passwords. Of values over 72 bytes bcrypt is given a hash, so each
    byte counts. SHA3-512 is for random tokens, or with a pepper; with `Indexed()` documents are found by it.

    Args:
        algorithm: "bcrypt" or "sha3-512".
        cost: of bcrypt, 4 to 18; each step doubles the time, 12 is about a quarter of a second.
        pepper: of SHA3-512, a secret of 16 bytes or more that is kept outside of the database.
        older: peppers that stored hashes may have been made with.

    Raises:
        ValueError: there is no such algorithm, or something is given that belongs to the other one.
    """

    hidden = True
    text_only = True

    def __init__(
        self,
        algorithm: str = "bcrypt",
        *,
        cost: int | None = None,
        pepper: bytes | None = None,
        older: tuple[bytes | None, ...] = (),
    ) -> None:
        self.hasher: BcryptHasher | Sha3Hasher
        if algorithm == "bcrypt" and pepper is None and not older:
            self.hasher = BcryptHasher() if cost is None else BcryptHasher(cost)
            self.algorithm = f"bcrypt, cost {self.hasher.cost}"
        elif algorithm == "sha3-512" and cost is None:
            self.hasher = sha3 = Sha3Hasher(pepper, older=older)
            self.algorithm = "SHA3-512" if pepper is None else "HMAC-SHA3-512"
            self.key_set = "" if pepper is None else "pepper"
            self.lookups = lambda value, _: list(sha3.lookups(value))
        else:
            raise ValueError('Hashed("bcrypt", cost=...) or Hashed("sha3-512", pepper=...)')
        self.slow = self.hasher.slow

    def protect(self, value: Any, place: Place) -> Any:  # noqa: ARG002 - a hash is the same anywhere
        """The hash of a text; null stays null."""
        return None if value is None else self.hasher.hash(value)

    def reveal(self, stored: Any, place: Place) -> Any:  # noqa: ARG002 - a hash is the same anywhere
        """The hash, marked as one."""
        return StoredHash(stored) if isinstance(stored, str) else stored

    def is_protected(self, stored: Any) -> bool:
        """Whether it is a hash, of whatever algorithm, or null."""
        return stored is None or is_hash(stored)

    async def verify(self, value: str, held: str | None) -> bool:
        """Whether a value is the one that a model holds, hashed or not yet. Never blocks the event loop.

        Raises:
            SecurityError: what is stored is not a hash.
        """
        if held is None:
            return False
        if not isinstance(held, StoredHash):
            return hmac.compare_digest(held.encode("utf-8"), value.encode("utf-8"))
        if self.slow:
            return await run_slow(self.hasher.verify, value, str(held))
        return self.hasher.verify(value, str(held))


class Encrypted(Classification):
    """Encrypted for its place: what is stored decrypts only in this property of this document.

    Any JSON value can be encrypted.

    Args:
        searchable: a keyed hash of the value is stored beside it, with a view, so that documents can be found by
            equality. Whoever reads the database then sees which documents have equal values, and nothing else.
    """

    needs_keys = True
    algorithm = "authenticated encryption"
    key_set = "crypter"

    def __init__(self, *, searchable: bool = False) -> None:
        if searchable:
            self.algorithm += ", blind index HMAC-SHA256"
            self.key_set = "crypter, indexer"
            self.lookups = _blind_indexes
            self.blind_index = _blind_index

    def protect(self, value: Any, place: Place) -> Any:
        """The ciphertext, another at each call."""
        return encrypt_value(
            value,
            keys=place.needed_crypter(),
            document_id=place.document_id,
            type_name=place.type_name,
            property_name=place.name,
            database=place.database if place.bound else "",
        )

    def reveal(self, stored: Any, place: Place) -> Any:
        """The value."""
        return decrypt_value(
            stored,
            keys=place.needed_crypter(),
            document_id=place.document_id,
            type_name=place.type_name,
            property_name=place.name,
            database=place.database,
        )

    def is_current(self, stored: Any, place: Place) -> bool:
        """Whether the primary key encrypted it, for this database alone if that is asked for."""
        if place.bound and not is_bound_to_database(stored):
            return False
        try:
            return place.needed_crypter().is_current(ciphertext_of(stored))
        except DecryptionFailed:
            return False

    def is_protected(self, stored: Any) -> bool:
        """Whether it is a ciphertext."""
        return is_encrypted(stored)


def _blind_index(value: Any, place: Place) -> str:
    keys = place.needed_indexer()
    return blind_index(value, keys=keys, type_name=place.type_name, property_name=place.name)


def _blind_indexes(value: Any, place: Place) -> list[Any]:
    keys = place.needed_indexer()
    return list(blind_indexes(value, keys=keys, type_name=place.type_name, property_name=place.name))


async def verify_held(classification: Classification | None, name: str, held: Any, value: str) -> bool:
    """Whether a value is the one that was hashed for a property.

    Raises:
        SecurityError: the property is not hashed.
    """
    if not isinstance(classification, Hashed):
        raise SecurityError(f"{name!r} is not hashed, so there is nothing to verify")
    return await classification.verify(value, held)


@cache
def _threads() -> ThreadPoolExecutor:
    # Own threads, fewer than there are cores: many hashes at once must starve neither the event loop nor
    # what else is done in threads.
    return ThreadPoolExecutor(
        max(1, (os.cpu_count() or 1) - 1), thread_name_prefix="tornado_couch-hashing", initializer=_step_back
    )


def _step_back() -> None:
    """Let the event loop's thread go first, on Linux, where a thread has a niceness of its own (sched(7))."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError):  # a sandbox may forbid it
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 10)


async def run_slow(function: Callable[..., T], *arguments: Any) -> T:
    """Call what takes long on purpose, in a thread."""
    return await asyncio.get_running_loop().run_in_executor(_threads(), function, *arguments)
