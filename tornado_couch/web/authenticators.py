"""Authenticators: HTTP Basic against stored accounts, and JSON Web Tokens as bearer tokens.

Both answer None where the request has no credentials of their scheme, and raise a 401 for any that
are malformed or wrong. What a client sends can raise nothing else.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import logging
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

from tornado.httputil import HTTPServerRequest

from ..errors import DocumentNotFound, InvalidDocument, InvalidSignature, SecurityError
from ..models import run_slow
from ..store import Store
from .accounts import LONGEST_NAME, Account, has_control_characters, hash_of_nobody, matches, normalized
from .principals import Authenticator, Principal, unauthenticated
from .problems import Problem
from .token_keys import JWKS, Key, TokenKeys, pyjwt

__all__ = ["Authenticator", "BasicAccounts", "BearerJWT"]

logger = logging.getLogger("tornado_couch.web")


def _credentials(request: HTTPServerRequest, scheme: str) -> str | None:
    """What follows the scheme in Authorization (RFC 9110 §11.6.2); None where it names another scheme."""
    named, _, rest = request.headers.get("Authorization", "").strip().partition(" ")
    return rest.strip() if named.lower() == scheme else None


def _quoted(text: str) -> str:
    """A quoted-string (RFC 9110 §5.6.4)."""
    if not text.isascii() or not text.isprintable():
        raise ValueError(f"{text!r}: a realm must be of printable ASCII characters")
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


class BearerJWT:
    """Signed JSON Web Tokens (RFC 7519) as bearer tokens (RFC 6750), checked as RFC 8725 asks.

        BearerJWT(public_pem, algorithms=["ES256"], audience="https://api.example.com", issuer="https://id.example.com")

    A token chooses neither its algorithm nor its key: each key works with those of `algorithms` that
    fit it. `exp` must be there, `nbf` and `iat` hold if they are, and a token for an audience is
    refused where none is expected.

    Args:
        key: the one key: a PEM text, a secret as bytes, or a JWK as a dict.
        keys: several by `kid`, so that old and new ones overlap; or a whole JWK set, `{"keys": […]}`
            (RFC 7517), of which keys of other kinds are skipped. A token must then name its key,
            unless there is just one.
        algorithms: those accepted, such as ["RS256"]. HMAC and public-key algorithms exclude each other.
        audience: one that the token must be for, or several of which it must be for one; None where
            tokens have none, which makes a token for one service good for another.
        issuer: who must have issued it, or several; None for anybody who has the key.
        leeway: seconds that clocks may differ.
        required: claims that must be there besides `exp` and the name.
        name_claim: the claim that becomes the principal's name.
        roles_claim: the claim of the roles, a list or a text separated by spaces such as `scope`; a
            sequence of names is a path, such as ("realm_access", "roles").
        realm: stands in the challenge.

    Raises:
        ImportError: PyJWT is not installed.
        ValueError: no algorithm, an unknown one or "none", a mixture, or a key that does not fit or is weak.
    """

    # For the API document (OpenAPI 3.1 §4.8.27).
    security_scheme: ClassVar[Mapping[str, str]] = {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}

    def __init__(
        self,
        key: Key | None = None,
        *,
        algorithms: Sequence[str],
        audience: str | Sequence[str] | None,
        issuer: str | Sequence[str] | None,
        keys: Mapping[str, Key] | JWKS | None = None,
        leeway: float = 0.0,
        required: Sequence[str] = (),
        name_claim: str = "sub",
        roles_claim: str | Sequence[str] = "roles",
        realm: str = "api",
    ) -> None:
        if (key is None) == (keys is None):
            raise ValueError("BearerJWT: give either `key` or `keys`")
        self._jwt = pyjwt()
        self._algorithms = algorithms
        self._keys = TokenKeys(algorithms, key, keys)
        self._audience = audience
        self._issuers = None if issuer is None else frozenset([issuer] if isinstance(issuer, str) else issuer)
        self._leeway = leeway
        self._required = ["exp", name_claim, *required]
        self._name_claim = name_claim
        self._roles_path = (roles_claim,) if isinstance(roles_claim, str) else tuple(roles_claim)
        self.challenge = f"Bearer realm={_quoted(realm)}"

    def replace_keys(self, keys: Mapping[str, Key] | JWKS) -> None:
        """Use these keys from now on: how keys rotate in a running service.

        Raises:
            ValueError: a key does not fit; the keys before stay.
        """
        self._keys = TokenKeys(self._algorithms, None, keys)

    async def authenticate(self, request: HTTPServerRequest) -> Principal | None:
        """Who the token names; None without a bearer token.

        Raises:
            Problem: 401 with `error="invalid_token"` (RFC 6750 §3.1).
        """
        token = _credentials(request, "bearer")
        if token is None:
            return None
        claims = self._claims(token)
        name = claims.get(self._name_claim)
        if not isinstance(name, str) or not name:
            raise self._refusal("The token names nobody")
        return Principal(name, self._roles(claims), claims)

    def _claims(self, token: str) -> dict[str, Any]:
        jwt = self._jwt
        try:
            key, algorithms = self._keys.find(jwt.get_unverified_header(token))
            claims: dict[str, Any] = jwt.decode(
                token,
                key,
                algorithms=algorithms,
                audience=self._audience,
                leeway=self._leeway,
                options={"require": self._required},
            )
        except jwt.ExpiredSignatureError:
            raise self._refusal("The token has expired") from None
        # PyJWT lets some of what a made-up token contains through as Python's own errors.
        except (jwt.PyJWTError, ValueError, TypeError, KeyError, AttributeError, ArithmeticError, RecursionError):
            raise self._refusal("The token is not valid here") from None
        # By ourselves: older PyJWT takes no more than one issuer.
        issuer = claims.get("iss")
        if self._issuers is not None and not (isinstance(issuer, str) and issuer in self._issuers):
            raise self._refusal("The token is not valid here")
        return claims

    def _roles(self, claims: dict[str, Any]) -> frozenset[str]:
        found: Any = claims
        for name in self._roles_path:
            found = found.get(name) if isinstance(found, dict) else None
        roles = found.split() if isinstance(found, str) else found if isinstance(found, list) else []
        return frozenset(role for role in roles if isinstance(role, str))

    def _refusal(self, reason: str) -> Problem:
        challenge = f'{self.challenge}, error="invalid_token", error_description="{reason}"'
        return unauthenticated(f"{reason}.", [challenge], "invalid-credentials")


class BasicAccounts:
    """HTTP Basic (RFC 7617, in UTF-8) against `Account` documents.

    Basic sends the password with every request: serve it over TLS only. Limit requests by address
    before they get here, or passwords can be guessed as fast as bcrypt goes.

    Whether a user exists, is disabled or gave a wrong password cannot be told from the answer nor,
    where all hashes have the same cost, from its time.

    Args:
        store: where the accounts are.
        realm: stands in the challenge.
        rounds: bcrypt's cost of the stored hashes: what an unknown user costs, too.
        concurrency: passwords checked at the same time at most, each in a thread that keeps one core busy; all that
            hashes slowly shares one thread less than there are cores.
        queue: requests that may wait for that; any more are 503.
        cache_seconds: a password found right is not checked again for so long, nor is the account
            read. So long does a changed password, a lost role, or a disabled account still work, in
            each process; 0 checks every request. The cache holds no password: its keys are HMACs
            under a random key of this instance.
        cache_size: credentials remembered.
        clock: seconds, for the cache.

    Raises:
        ValueError: the realm is not printable ASCII, or `concurrency` is not positive.
    """

    def __init__(
        self,
        store: Store,
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
        self.challenge = f'Basic realm={_quoted(realm)}, charset="UTF-8"'
        self._store = store
        self._nobody = hash_of_nobody(rounds)
        self._turns = asyncio.Semaphore(concurrency)
        self._waiting = 0
        self._queue = queue + concurrency
        self._cache = _Cache(cache_seconds, cache_size, clock)

    async def authenticate(self, request: HTTPServerRequest) -> Principal | None:
        """Whose name and password these are; None without Basic credentials.

        Raises:
            Problem: 401, malformed or wrong; 503, too many are being checked already.
            CouchError: the accounts cannot be read.
        """
        text = _credentials(request, "basic")
        if text is None:
            return None
        name, password = self._parse(text)
        known = self._cache.get(name, password)
        return known or await self._in_turn(name, password)

    def forget(self) -> None:
        """Empty the cache of this process, so that a change to an account holds at once."""
        self._cache.clear()

    def _parse(self, text: str) -> tuple[str, str]:
        try:
            pair = base64.b64decode(text.encode("ascii"), validate=True).decode("utf-8")
        except ValueError:
            raise self._refusal("The credentials are malformed.") from None
        name, colon, password = pair.partition(":")
        if not colon or has_control_characters(pair):
            raise self._refusal("The credentials are malformed.")
        return normalized(name), normalized(password)

    async def _in_turn(self, name: str, password: str) -> Principal:
        if self._waiting >= self._queue:
            detail = "Too many passwords are being checked. Try again later."
            raise Problem(503, "busy", detail, headers={"Retry-After": "1"})
        self._waiting += 1
        try:
            async with self._turns:
                # Who waited behind a request with the same credentials finds them checked.
                return self._cache.get(name, password) or await self._check(name, password)
        finally:
            self._waiting -= 1

    async def _check(self, name: str, password: str) -> Principal:
        account = await self._find(name)
        right = await self._matches(password, account)
        if not right or account is None or account.disabled:
            raise self._refusal("The user name or the password is wrong.")
        principal = Principal(account.name, frozenset(account.roles))
        self._cache.put(name, password, principal)
        return principal

    async def _matches(self, password: str, account: Account | None) -> bool:
        if account is not None:
            try:
                return await run_slow(matches, password, account.password_hash)
            except SecurityError as error:
                logger.error("the account %r cannot log in: %s", account._id, error)
        return await run_slow(matches, password, self._nobody)

    async def _find(self, name: str) -> Account | None:
        if not 0 < len(name) <= LONGEST_NAME:
            return None
        try:
            return await self._store.get(Account, name)
        except DocumentNotFound:
            return None
        except (InvalidDocument, InvalidSignature) as error:
            logger.error("an account cannot be read: %s", error)
            return None

    def _refusal(self, detail: str) -> Problem:
        return unauthenticated(detail, [self.challenge], "invalid-credentials")


class _Cache:
    """Principals by credentials, for a short time; holds neither passwords nor what they could be found from."""

    def __init__(self, seconds: float, size: int, clock: Callable[[], float]) -> None:
        self._seconds = seconds
        self._size = size
        self._clock = clock
        self._secret = secrets.token_bytes(32)
        self._found: dict[bytes, tuple[float, Principal]] = {}

    def get(self, name: str, password: str) -> Principal | None:
        key = self._key(name, password)
        until, principal = self._found.get(key, (0.0, None))
        if principal is not None and self._clock() >= until:
            del self._found[key]
            return None
        return principal

    def put(self, name: str, password: str, principal: Principal) -> None:
        if self._seconds <= 0:
            return
        while len(self._found) >= self._size:
            del self._found[next(iter(self._found))]
        self._found[self._key(name, password)] = (self._clock() + self._seconds, principal)

    def clear(self) -> None:
        self._found.clear()

    def _key(self, name: str, password: str) -> bytes:
        # A name has no colon, so no two pairs give one text.
        return hmac.new(self._secret, f"{name}:{password}".encode(), hashlib.sha256).digest()
