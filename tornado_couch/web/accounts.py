"""Accounts kept in the database: a name, roles, and a bcrypt hash of the password."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import re
import unicodedata
from collections.abc import Iterable
from typing import Annotated

import bcrypt
from annotated_types import MaxLen, MinLen
from pydantic import Field

from ..models import CreatedOn, Model, ReadOnly, UpdatedOn, WriteOnly, validated
from ..store import Store

__all__ = [
    "LONGEST_NAME",
    "Account",
    "change_password",
    "create_account",
    "has_control_characters",
    "hash_of_nobody",
    "hash_password",
    "is_hash",
    "matches",
    "normalized",
]

LONGEST_NAME = 256  # characters

# Says how the password went into bcrypt; a hash with another beginning is none of ours.
_SCHEME = "bcrypt-hmac-sha256:"

_HASH = re.compile(re.escape(_SCHEME) + r"\$2b\$(0[4-9]|1[0-9]|2[0-9]|3[01])\$[./A-Za-z0-9]{53}")

_SALT_LENGTH = 29  # "$2b$", two digits of cost, "$", 22 characters of salt


class Account(Model, type="account_v1.0", key="name", unique=True):
    """Somebody who may log in with a name and a password.

    The hash can neither be read nor written through a mounted resource. Being `unique`, an account
    is found by its document's id and needs no view.

    Attributes:
        name: in Unicode's form NFC; without a colon and control characters.
        password_hash: see `hash_password`.
        roles: for policies to ask.
        disabled: cannot log in.
    """

    name: Annotated[str, MinLen(1), MaxLen(LONGEST_NAME)]
    password_hash: Annotated[str, ReadOnly(), WriteOnly()]
    roles: list[str] = Field(default_factory=list)
    disabled: bool = False
    created_on: CreatedOn
    updated_on: UpdatedOn


async def create_account(
    store: Store, name: str, password: str, roles: Iterable[str] = (), *, rounds: int = 12
) -> Account:
    """Store a new account.

    Args:
        store: where accounts are.
        name: who.
        password: of any length; what makes a good one is for the caller to say.
        roles: what they are.
        rounds: bcrypt's cost, as a power of two. Give `BasicAccounts` the same.

    Raises:
        ValueError: the name holds a colon, or either is empty, too long or has control characters
            (RFC 7617 §2: such a name or password could not be sent).
        DocumentExists: there is an account of that name.
    """
    name = _checked_name(name)
    values = {"name": name, "password_hash": await _hashed(password, rounds), "roles": list(roles)}
    return await store.create(validated(Account, values))


async def change_password(store: Store, name: str, password: str, *, rounds: int = 12) -> Account:
    """Give an account another password.

    Raises:
        ValueError: the password is empty or has control characters.
        DocumentNotFound: there is no such account.
    """
    hashed = await _hashed(password, rounds)

    def change(account: Account) -> None:
        account.password_hash = hashed

    return await store.update(Account, normalized(name), change)


def hash_password(password: str, rounds: int = 12) -> str:
    """The hash to store; takes about a quarter of a second at 12 rounds, so call it in a thread.

    bcrypt reads 72 bytes at most and some implementations stop at a NUL. So it is given the
    password's HMAC-SHA-256 in base64, 44 characters, whatever the password's length. Its key is
    bcrypt's salt: a plain SHA-256, leaked from elsewhere, cannot be tried in its place.
    """
    salt = bcrypt.gensalt(rounds)
    return _SCHEME + bcrypt.hashpw(_digest(password, salt), salt).decode("ascii")


def matches(password: str, hashed: str) -> bool:
    """Whether a hash is that of this password; takes as long as `hash_password` in any case.

    Raises:
        ValueError: it is no hash; see `is_hash`.
    """
    known = hashed.removeprefix(_SCHEME).encode("ascii")
    salt = known[:_SALT_LENGTH]
    return hmac.compare_digest(bcrypt.hashpw(_digest(password, salt), salt), known)


def is_hash(text: str) -> bool:
    """Whether this is a hash that `matches` can read."""
    return _HASH.fullmatch(text) is not None


def hash_of_nobody(rounds: int) -> str:
    """What no password matches, at the cost of finding that out: for users who do not exist."""
    return _SCHEME + bcrypt.gensalt(rounds).decode("ascii") + "-" * 31  # no letter of bcrypt's base64


def normalized(text: str) -> str:
    """The one form in which names and passwords are compared (NFC, RFC 7617 §2.1)."""
    return unicodedata.normalize("NFC", text)


def has_control_characters(text: str) -> bool:
    """Whether a text could not stand in Basic credentials (RFC 7617 §2)."""
    return any(unicodedata.category(each) == "Cc" for each in text)


def _digest(password: str, salt: bytes) -> bytes:
    digest = hmac.new(salt, normalized(password).encode("utf-8"), hashlib.sha256).digest()
    return base64.b64encode(digest)


def _checked_name(name: str) -> str:
    if ":" in name:
        raise ValueError("a user name must hold no colon (RFC 7617 §2)")
    if not 0 < len(normalized(name)) <= LONGEST_NAME or has_control_characters(name):
        raise ValueError(f"a user name must have 1 to {LONGEST_NAME} characters, and no control characters")
    return normalized(name)


async def _hashed(password: str, rounds: int) -> str:
    if not password or has_control_characters(password):
        raise ValueError("a password must not be empty nor have control characters")
    return await asyncio.to_thread(hash_password, password, rounds)
