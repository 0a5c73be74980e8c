"""Authenticates requests: Basic and cookie authentication with the admins and the `_users` database."""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import hmac
import json
import secrets
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor
from typing import Any

from cachetools import LRUCache

from tornado_couch.embedded.messages import Request, User
from tornado_couch.embedded.problems import bad_request, unauthorized

__all__ = ["ITERATIONS", "PARTY", "Authenticator", "hash_password", "verify_password"]


ITERATIONS = 600_000

"""CouchDB 3.5's own number for `pbkdf2_prf` sha256; it takes about 0.2 s on a small machine."""

_LENGTHS = {"sha": 20, "sha1": 20, "sha224": 28, "sha256": 32, "sha384": 48, "sha512": 64}


def _derive(password: str, salt: str, iterations: int, prf: str) -> str:
    name = "sha1" if prf == "sha" else prf
    # CouchDB derives 20 bytes for the old default and the complete digest for the others.
    return hashlib.pbkdf2_hmac(name, password.encode(), salt.encode(), iterations, _LENGTHS[prf]).hex()


def hash_password(password: str, iterations: int = ITERATIONS) -> dict[str, Any]:
    """The members that replace the `password` in a user document."""
    salt = secrets.token_hex(16)
    return {
        "iterations": iterations,
        "password_scheme": "pbkdf2",
        "pbkdf2_prf": "sha256",
        "salt": salt,
        "derived_key": _derive(password, salt, iterations, "sha256"),
    }


def verify_password(user: dict[str, Any], password: str) -> bool:
    """Whether this is the password of a user document; takes as long as its iterations do."""
    salt, scheme = user.get("salt"), user.get("password_scheme", "simple")
    if not isinstance(salt, str):
        return False
    if scheme == "simple":
        wanted = hashlib.sha1((password + salt).encode(), usedforsecurity=False).hexdigest()
        return hmac.compare_digest(wanted, str(user.get("password_sha", "")))
    prf, iterations = user.get("pbkdf2_prf", "sha"), user.get("iterations")
    if scheme != "pbkdf2" or prf not in _LENGTHS or not isinstance(iterations, int) or iterations < 1:
        return False
    return hmac.compare_digest(_derive(password, salt, iterations, prf), str(user.get("derived_key", "")))


PARTY = User(None, ("_admin",), None)

"""The user of every request on a server that has no admin."""

COOKIE_SECONDS = 600

_REMEMBERED = 1000

_WRONG = "Name or password is incorrect."


class Authenticator:
    """Finds out which user sends a request.

    Args:
        admins: names and passwords of the server admins; if empty, everyone is an admin.
        secret: the secret that signs cookies.
        read_user: returns the JSON text of a user document by its name, or None.
        executor: the threads in which passwords are hashed.
    """

    def __init__(
        self, admins: dict[str, str], secret: bytes, read_user: Callable[[str], str | None], executor: Executor
    ) -> None:
        self._key = secrets.token_bytes(32)
        self._secret = secret
        self._admins = {name: self._digest(password) for name, password in admins.items()}
        self._read_user = read_user
        self._executor = executor
        # A password is hashed only once: a correct one is remembered together with the user document that it belongs
        # to.
        self._right: LRUCache[tuple[str, bytes], str] = LRUCache(_REMEMBERED)

    @property
    def party(self) -> bool:
        """Whether no admin exists, so that everyone is one."""
        return not self._admins

    @property
    def admin_names(self) -> list[str]:
        """The names of the server admins."""
        return sorted(self._admins)

    def set_admin(self, name: str, password: str) -> None:
        """Create a server admin, or change an admin's password."""
        self._admins[name] = self._digest(password)

    def remove_admin(self, name: str) -> None:
        """Remove a server admin."""
        del self._admins[name]

    def _digest(self, password: str) -> bytes:
        return hmac.digest(self._key, password.encode("utf-8", "replace"), "sha256")

    def identify(self, request: Request) -> User | Awaitable[User]:
        """The user who sends a request; awaitable if a password has to be hashed.

        Raises:
            Problem: 401, the credentials are wrong; 400, they cannot be read.
        """
        header = request.headers.get("Authorization")
        # The scheme's name ignores case (RFC 9110, 11.1); Basic comes before a cookie, as in CouchDB's list of
        # handlers.
        if header is not None and header[:6].lower() == "basic ":
            name, password = _basic(header[6:])
            return self.check(name, password)
        cookie = request.headers.get("Cookie")
        if cookie is not None and "AuthSession=" in cookie:
            found = self._from_cookie(cookie)
            if found is not None:
                return found
        return self.nobody()

    def nobody(self) -> User:
        """The user of a request without credentials."""
        return PARTY if self.party else User()

    def check(self, name: str, password: str) -> User | Awaitable[User]:
        """The user with this name and password.

        Raises:
            Problem: 401, the name or the password is wrong.
        """
        digest = self._digest(password)
        # A server admin hides a user with the same name, and a wrong password does not fall back to that user.
        known = self._admins.get(name)
        if known is not None:
            if hmac.compare_digest(known, digest):
                return User(name, ("_admin",), "default")
            raise unauthorized(_WRONG)
        text = self._read_user(name)
        if text is None:
            raise unauthorized(_WRONG)
        user = json.loads(text)
        if self._right.get((name, digest)) == text:
            return _user_of(user, "default")
        return self._check_slowly(name, digest, text, user, password)

    async def _check_slowly(self, name: str, digest: bytes, text: str, user: dict[str, Any], password: str) -> User:
        loop = asyncio.get_running_loop()
        if not await loop.run_in_executor(self._executor, verify_password, user, password):
            raise unauthorized(_WRONG)
        self._right[name, digest] = text
        return _user_of(user, "default")

    # ------------------------------------------------------------ cookies

    def cookie(self, name: str) -> str:
        """The value of a new AuthSession cookie for a user."""
        return self._sign(f"{name}:{int(time.time()):X}", self._salt(name) or "")

    def _sign(self, session: str, salt: str) -> str:
        mark = hmac.digest(self._secret + salt.encode(), session.encode(), "sha256")
        return base64.urlsafe_b64encode(session.encode() + b":" + mark).rstrip(b"=").decode()

    def _salt(self, name: str) -> str | None:
        """A text that changes with a user's password, which ends the user's sessions; None if there is no such user."""
        if name in self._admins:
            return hashlib.sha256(name.encode()).hexdigest()
        text = self._read_user(name)
        return str(json.loads(text).get("salt", "")) if text else None

    def _from_cookie(self, header: str) -> User | None:
        """The user of a session; None if it is over or was not made by this server."""
        value = header.partition("AuthSession=")[2].partition(";")[0].strip().strip('"')
        if not value:
            return None
        try:
            raw = base64.urlsafe_b64decode(value + "=" * (-len(value) % 4))
            # NAME:HEX-TIME:MARK; the mark consists of bytes that may include a colon.
            user, made, _ = raw.split(b":", 2)
            name, session = user.decode(), b":".join((user, made)).decode()
            age = time.time() - int(made, 16)
        except (ValueError, binascii.Error):
            raise bad_request("Malformed AuthSession cookie. Please clear your cookies.") from None
        salt = self._salt(name)
        # It is not an error: an old cookie makes a request anonymous, or nobody could log in again without deleting it.
        if salt is None or not hmac.compare_digest(self._sign(session, salt), value):
            return None
        # A session stays valid if the clock was set back a little.
        if not -1 <= age <= COOKIE_SECONDS:
            return None
        if name in self._admins:
            return User(name, ("_admin",), "cookie")
        text = self._read_user(name)
        return _user_of(json.loads(text), "cookie") if text else None


def _basic(token: str) -> tuple[str, str]:
    try:
        # Only the first colon separates them: passwords may contain colons, names may not (RFC 7617, 2).
        name, colon, password = base64.b64decode(token.strip(), validate=True).decode("utf-8").partition(":")
    except ValueError:
        raise unauthorized(_WRONG) from None
    if not colon:
        raise unauthorized(_WRONG)
    return name, password


def _user_of(document: dict[str, Any], handler: str) -> User:
    roles = document.get("roles")
    return User(str(document.get("name")), tuple(map(str, roles)) if isinstance(roles, list) else (), handler)
