"""`BasicAccounts`: authentication by name and password (RFC 7617), and the accounts behind it.

Both return None for a request without credentials of their scheme, and raise a 401 for credentials that
are malformed or wrong. Nothing that a client sends can make them raise anything else.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import logging
import secrets
import time
import unicodedata
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Annotated, Generic, TypeVar

from annotated_types import MaxLen, MinLen
from cachetools import TTLCache
from pydantic import Field
from tornado.httputil import HTTPServerRequest

from ...errors import DocumentNotFound, InvalidDocument, InvalidSignature, SecurityError
from ...models import Classification, CreatedOn, Model, Public, ReadOnly, UpdatedOn, assigned, run_slow, validated
from ...security import BcryptHasher
from ...store import Store
from ..problems import Problem
from .principals import Authenticator, Principal, credentials_of, quoted, unauthenticated
from .stores import Caller, StoreOf, opened

__all__ = [
    "LONGEST_NAME",
    "Account",
    "Authenticator",
    "BasicAccounts",
    "change_password",
    "create_account",
    "has_control_characters",
    "hash_of_nobody",
    "hash_password",
    "matches",
    "normalized",
]

logger = logging.getLogger("tornado_couch.web")

T = TypeVar("T")

_PROVED = 3600.0  # seconds for which a password need not be checked again against the same hash


class BasicAccounts:
    """HTTP Basic (RFC 7617, in UTF-8) against `Account` documents.

    Basic sends the password with every request: serve it over TLS only. Limit requests by address
    before they get here, or passwords can be guessed as fast as bcrypt goes.

    The answer does not reveal whether a user exists, is disabled or sent a wrong password; nor does its
    time, as long as all hashes have the same cost.

    Args:
        store: the store that keeps the accounts; or, where each tenant has accounts of its own, `Tenants` or another
          function that returns the store. `Principal.tenant` then says whose account it is.
        realm: the realm in the challenge.
        rounds: bcrypt's cost of the stored hashes; checking an unknown user costs the same.
        concurrency: how many passwords are checked at the same time at most, each in a thread that keeps one core
          busy. All slow hashing shares one thread fewer than there are cores.
        queue: how many requests may wait for a check; further ones are answered with 503.
        cache_seconds: for how many seconds a correct password is not checked again, nor the account read
          again. For as long, a changed password, a lost role or a disabled account still works, in
          each process; 0 checks every request. After that the account is read again, and within an hour the
          password is only checked again if the stored hash is another one. The cache holds no passwords: its keys
          are HMACs under a random key of this instance.
        cache_size: how many credentials are remembered.
        clock: returns seconds, for the cache.

    Raises:
        ValueError: the realm is not printable ASCII, or `concurrency` is not positive.
    """

    def __init__(
        self,
        store: Store | StoreOf,
        *,
        realm: str = "api",
        rounds: int = 12,
        concurrency: int = 2,
        queue: int = 100,
        cache_seconds: float = 10.0,
        cache_size: int = 1000,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if concurrency < 1:
            raise ValueError("concurrency must be positive")
        self.challenge = f'Basic realm={quoted(realm)}, charset="UTF-8"'
        self._store = store
        self._nobody = hash_of_nobody(rounds)
        self._turns = asyncio.Semaphore(concurrency)
        self._waiting = 0
        self._queue = queue + concurrency
        self._cache: _Cache[Principal] = _Cache(cache_seconds, cache_size, clock)
        self._proved: _Cache[str] = _Cache(_PROVED if cache_seconds else 0, cache_size, clock)  # the stored hashes

    async def authenticate(self, request: HTTPServerRequest) -> Principal | None:
        """Return whose name and password these are; None without Basic credentials.

        Raises:
            Problem: 401, the credentials are malformed or wrong; 503, too many are being checked already.
            CouchError: the accounts cannot be read.
        """
        text = credentials_of(request, "basic")
        if text is None:
            return None
        name, password = self._parse(text)
        async with self._opened(request) as store:
            place = (store.database.name if store and callable(self._store) else "", name, password)
            return self._cache.get(*place) or await self._in_turn(store, *place)

    def forget(self) -> None:
        """Empty the cache of this process, so that a change to an account takes effect at once."""
        self._cache.clear()
        self._proved.clear()

    def _parse(self, text: str) -> tuple[str, str]:
        if len(text) > _LONGEST_CREDENTIALS:  # normalising a long text takes a time that grows with its square
            raise self._refusal("The credentials are too long.")
        try:
            pair = base64.b64decode(text.encode("ascii"), validate=True).decode("utf-8")
        except ValueError:
            raise self._refusal("The credentials are malformed.") from None
        name, colon, password = pair.partition(":")
        if not colon or has_control_characters(pair):
            raise self._refusal("The credentials are malformed.")
        return normalized(name), normalized(password)

    @asynccontextmanager
    async def _opened(self, request: HTTPServerRequest) -> AsyncIterator[Store | None]:
        """Open the store of the accounts; None where there is no such tenant, which nobody must find out here."""
        async with AsyncExitStack() as stack:
            store = None
            try:
                store = await stack.enter_async_context(opened(self._store, Caller(None, request, True)))
            except Problem as problem:
                if problem.status_code != 404:
                    raise
            yield store

    async def _in_turn(self, store: Store | None, tenant: str, name: str, password: str) -> Principal:
        if self._waiting >= self._queue:
            detail = "Too many passwords are being checked. Try again later."
            raise Problem.of("busy", detail, headers={"Retry-After": "1"})
        self._waiting += 1
        try:
            async with self._turns:
                # Another request with the same credentials may have been checked while this one waited.
                found = self._cache.get(tenant, name, password)
                return found or await self._check(store, tenant, name, password)
        finally:
            self._waiting -= 1

    async def _check(self, store: Store | None, tenant: str, name: str, password: str) -> Principal:
        account = await self._find(store, name)
        usable = account is not None and not account.disabled
        proved = account is not None and usable and self._proved.get(tenant, name, password) == account.password_hash
        right = proved or await self._matches(password, account)
        if not right or account is None or not usable:
            raise self._refusal("The user name or the password is wrong.")
        if not proved:
            self._proved.put(tenant, name, password, account.password_hash)
        principal = Principal(account.name, frozenset(account.roles), tenant=tenant)
        self._cache.put(tenant, name, password, principal)
        return principal

    async def _matches(self, password: str, account: Account | None) -> bool:
        if account is not None:
            try:
                return await run_slow(matches, password, account.password_hash)
            except SecurityError as error:
                logger.error("the account %r cannot log in: %s", account._id, error)
        return await run_slow(matches, password, self._nobody)

    async def _find(self, store: Store | None, name: str) -> Account | None:
        if store is None or not 0 < len(name) <= LONGEST_NAME:
            return None
        try:
            return await store.get(Account, name)
        except DocumentNotFound:
            return None
        except (InvalidDocument, InvalidSignature) as error:
            logger.error("an account cannot be read: %s", error)
            return None

    def _refusal(self, detail: str) -> Problem:
        return unauthenticated(detail, [self.challenge], "invalid-credentials")


class _Cache(Generic[T]):
    """What is known of credentials, for some time; it holds neither passwords nor anything that reveals them."""

    def __init__(self, seconds: float, size: int, clock: Callable[[], float]) -> None:
        self._secret = secrets.token_bytes(32)
        self._found: TTLCache[bytes, T] = TTLCache(size, seconds, clock)

    def get(self, tenant: str, name: str, password: str) -> T | None:
        return self._found.get(self._key(tenant, name, password))

    def put(self, tenant: str, name: str, password: str, known: T) -> None:
        if self._found.maxsize:
            self._found[self._key(tenant, name, password)] = known

    def clear(self) -> None:
        self._found.clear()

    def _key(self, tenant: str, name: str, password: str) -> bytes:
        # Neither a database's name nor a user's has a colon, so no two triples give one text.
        return hmac.new(self._secret, f"{tenant}:{name}:{password}".encode(), hashlib.sha256).digest()


LONGEST_NAME = 256  # characters

_LONGEST_CREDENTIALS = 8192  # characters of base64, for a name and a password

_ANY_COST = BcryptHasher()  # also verifies hashes of other costs


class _Password(Classification):
    """A bcrypt hash, which `create_account` computes with the cost that it is given."""

    hidden = True
    algorithm = "bcrypt"


class Account(Model, type="account_v1.0", key="name", unique=True):
    """Somebody who may log in with a name and a password.

    The hash can be neither read nor written through a mounted resource. The roles, and whether the account is disabled,
    can be read there but not written, or users could give themselves roles: the service changes them by `Store.update`.
    Being `unique`, an account is found by its document's id and needs no view.

    Attributes:
        name: in Unicode's form NFC, without colons and control characters.
        password_hash: see `hash_password`.
        roles: the roles that policies check.
        disabled: whether logging in is forbidden.
    """

    name: Annotated[str, MinLen(1), MaxLen(LONGEST_NAME), Public()]
    password_hash: Annotated[str, ReadOnly(), _Password()]
    roles: Annotated[list[str], ReadOnly(), Public(), Field(default_factory=list)]
    disabled: Annotated[bool, ReadOnly(), Public()] = False
    created_on: CreatedOn = assigned()
    updated_on: UpdatedOn = assigned()


async def create_account(
    store: Store, name: str, password: str, roles: Iterable[str] = (), *, rounds: int = 12
) -> Account:
    """Store a new account.

    Args:
        store: the store that keeps the accounts.
        name: the user's name.
        password: of any length; whether it is good enough is up to the caller.
        roles: the user's roles.
        rounds: bcrypt's cost, as a power of two. Pass the same to `BasicAccounts`.

    Raises:
        ValueError: the name contains a colon, or either is empty, too long or contains control characters
            (RFC 7617 §2: such a name or password could not be sent).
        DocumentExists: an account with this name exists.
    """
    name = _checked_name(name)
    values = {"name": name, "password_hash": await _hashed(password, rounds), "roles": list(roles)}
    return await store.create(validated(Account, values))


async def change_password(store: Store, name: str, password: str, *, rounds: int = 12) -> Account:
    """Change the password of an account.

    Raises:
        ValueError: the password is empty or contains control characters.
        DocumentNotFound: no account has this name.
    """
    hashed = await _hashed(password, rounds)

    def change(account: Account) -> None:
        account.password_hash = hashed

    return await store.update(Account, normalized(name), change)


def hash_password(password: str, rounds: int = 12) -> str:
    """Return the hash to store, as `BcryptHasher` computes it; takes about a quarter of a second at 12 rounds.

    Call it in a thread: see `run_slow`.

    Raises:
        ValueError: the rounds are not 4 to 18.
    """
    return BcryptHasher(rounds).hash(normalized(password))


def matches(password: str, hashed: str) -> bool:
    """Whether a hash belongs to this password; always takes as long as `hash_password`.

    Raises:
        SecurityError: the hash is not a bcrypt hash.
    """
    return _ANY_COST.verify(normalized(password), hashed)


def hash_of_nobody(rounds: int) -> str:
    """Return a hash that no password matches, with the usual cost: for users who do not exist."""
    return BcryptHasher(rounds).of_nobody()


def normalized(text: str) -> str:
    """Return the form in which names and passwords are compared (NFC, RFC 7617 §2.1)."""
    return unicodedata.normalize("NFC", text)


def has_control_characters(text: str) -> bool:
    """Whether a text has characters that Basic credentials cannot carry (RFC 7617 §2)."""
    return any(unicodedata.category(each) == "Cc" for each in text)


def _checked_name(name: str) -> str:
    if ":" in name:
        raise ValueError("a user name must not contain a colon (RFC 7617 §2)")
    if not 0 < len(normalized(name)) <= LONGEST_NAME or has_control_characters(name):
        raise ValueError(f"a user name must have 1 to {LONGEST_NAME} characters, without control characters")
    return normalized(name)


async def _hashed(password: str, rounds: int) -> str:
    if not password or has_control_characters(password):
        raise ValueError("a password must not be empty or contain control characters")
    return await run_slow(hash_password, password, rounds)
