"""Accounts kept in the database: a name, roles, and a bcrypt hash of the password."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from typing import Annotated

from annotated_types import MaxLen, MinLen
from pydantic import Field

from ..models import Classification, CreatedOn, Model, Public, ReadOnly, UpdatedOn, run_slow, validated
from ..security import BcryptHasher
from ..store import Store

__all__ = [
    "LONGEST_NAME",
    "Account",
    "change_password",
    "create_account",
    "has_control_characters",
    "hash_of_nobody",
    "hash_password",
    "matches",
    "normalized",
]

LONGEST_NAME = 256  # characters

_ANY_COST = BcryptHasher()  # verifies hashes of other costs as well


class _Password(Classification):
    """A bcrypt hash; made before it gets here, with the cost that `create_account` is given."""

    hidden = True
    algorithm = "bcrypt"


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

    name: Annotated[str, MinLen(1), MaxLen(LONGEST_NAME), Public()]
    password_hash: Annotated[str, ReadOnly(), _Password()]
    roles: Annotated[list[str], Public(), Field(default_factory=list)]
    disabled: Annotated[bool, Public()] = False
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
    """The hash to store, as `BcryptHasher` makes it; takes about a quarter of a second at 12 rounds.

    Call it in a thread: see `run_slow`.

    Raises:
        ValueError: the rounds are not 4 to 18.
    """
    return BcryptHasher(rounds).hash(normalized(password))


def matches(password: str, hashed: str) -> bool:
    """Whether a hash is that of this password; takes as long as `hash_password` in any case.

    Raises:
        SecurityError: it is no hash of bcrypt.
    """
    return _ANY_COST.verify(normalized(password), hashed)


def hash_of_nobody(rounds: int) -> str:
    """What no password matches, at the cost of finding that out: for users who do not exist."""
    return BcryptHasher(rounds).of_nobody()


def normalized(text: str) -> str:
    """The one form in which names and passwords are compared (NFC, RFC 7617 §2.1)."""
    return unicodedata.normalize("NFC", text)


def has_control_characters(text: str) -> bool:
    """Whether a text could not stand in Basic credentials (RFC 7617 §2)."""
    return any(unicodedata.category(each) == "Cc" for each in text)


def _checked_name(name: str) -> str:
    if ":" in name:
        raise ValueError("a user name must hold no colon (RFC 7617 §2)")
    if not 0 < len(normalized(name)) <= LONGEST_NAME or has_control_characters(name):
        raise ValueError(f"a user name must have 1 to {LONGEST_NAME} characters, and no control characters")
    return normalized(name)


async def _hashed(password: str, rounds: int) -> str:
    if not password or has_control_characters(password):
        raise ValueError("a password must not be empty nor have control characters")
    return await run_slow(hash_password, password, rounds)
