"""How the client authenticates: not at all, with Basic, a cookie session, a JSON Web Token or a trusted proxy.

CouchDB's page: https://docs.couchdb.org/en/stable/api/server/authn.html
"""

from __future__ import annotations

import asyncio
import base64
import hmac
import inspect
import re
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from http.cookies import CookieError, SimpleCookie
from typing import Literal, Protocol

from ..errors import InvalidReply
from .transport.base import Reply

__all__ = ["Auth", "BasicAuth", "BearerAuth", "CookieAuth", "Login", "NoAuth", "ProxyAuth"]

Login = Callable[[str, str], Awaitable[Reply]]
"""A function that opens a session for a user and password at CouchDB, and returns the answer."""

# CouchDB's [chttpd_auth] timeout, for cookies that do not say how long they are valid.
_SESSION_SECONDS = 600.0
_UNFIT_FOR_HEADER = re.compile(r"[\x00-\x1f\x7f]")


class Auth(Protocol):
    """Proves to CouchDB who sends a request."""

    async def headers(self, login: Login) -> Mapping[str, str]:
        """The header fields for the next request; `login` opens a cookie session if one is needed."""
        ...

    def learn(self, reply: Reply) -> None:
        """Take up what an answer says about the session."""
        ...

    def renewable(self, used: Mapping[str, str]) -> bool:
        """Whether a request that got 401 with these header fields should be tried again with new ones."""
        ...


class NoAuth:
    """Sends no credentials."""

    def __init__(self) -> None:
        self._headers: dict[str, str] = {}

    async def headers(self, login: Login) -> Mapping[str, str]:  # noqa: ARG002 - required by the protocol
        """The same header fields every time."""
        return self._headers

    def learn(self, reply: Reply) -> None:
        """Do nothing, since there is no session."""

    def renewable(self, used: Mapping[str, str]) -> bool:  # noqa: ARG002 - required by the protocol
        """Always false: the next try would be the same."""
        return False

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


class BasicAuth(NoAuth):
    """Sends user and password with every request (RFC 7617).

    Raises:
        ValueError: the user contains a colon, or one of the two a control character.
    """

    def __init__(self, user: str, password: str) -> None:
        super().__init__()
        if ":" in user:
            raise ValueError("a user name for Basic authentication must not contain a colon (RFC 7617 §2)")
        pair = _header_text(f"{user}:{password}", "user and password").encode()
        self._user = user
        self._headers = {"Authorization": f"Basic {base64.b64encode(pair).decode('ascii')}"}

    def __repr__(self) -> str:
        return f"BasicAuth(user={self._user!r})"


class BearerAuth(NoAuth):
    """Sends a JSON Web Token with every request (CouchDB's `jwt_authentication_handler`).

    Args:
        token: the token, or a function (plain or async) that returns one for each request.

    Raises:
        ValueError: the token is empty or contains characters that a header field cannot have.
    """

    def __init__(self, token: str | Callable[[], str | Awaitable[str]]) -> None:
        super().__init__()
        self._token = token
        if isinstance(token, str):
            self._headers = _bearer(token)

    async def headers(self, login: Login) -> Mapping[str, str]:  # noqa: ARG002 - required by the protocol
        """The token's header field; if the token is a function, it is called each time."""
        if isinstance(self._token, str):
            return self._headers
        token = self._token()
        return _bearer(await token if inspect.isawaitable(token) else token)


class ProxyAuth(NoAuth):
    """Sends a user that a trusted proxy vouches for (CouchDB's `proxy_authentication_handler`).

    Args:
        user: the user's name.
        roles: the user's roles.
        secret: CouchDB's `[chttpd_auth] secret`; without it no token is sent (`proxy_use_secret = false`).
        digest: the hash function for the token; CouchDB before 3.3 knows only sha1.

    Raises:
        ValueError: a role contains a comma, or something contains a character that a header field cannot have.
    """

    def __init__(
        self,
        user: str,
        roles: Iterable[str] = (),
        secret: str | None = None,
        *,
        digest: Literal["sha1", "sha256"] = "sha256",
    ) -> None:
        super().__init__()
        names = tuple(roles)
        if any("," in name for name in names):
            raise ValueError("a role must not contain a comma: CouchDB separates roles with commas")
        self._user = user
        self._headers = {
            "X-Auth-CouchDB-UserName": _header_text(user, "the user"),
            "X-Auth-CouchDB-Roles": _header_text(",".join(names), "a role"),
        }
        if secret is not None:
            token = hmac.new(secret.encode(), user.encode(), digest).hexdigest()
            self._headers["X-Auth-CouchDB-Token"] = token

    def __repr__(self) -> str:
        return f"ProxyAuth(user={self._user!r})"


class CookieAuth:
    """Opens a cookie session: the password is sent once, and again only when the session has to be renewed.

    A session is renewed when half its time is over, when CouchDB itself sends a fresh cookie, and once when a
    request gets 401. Concurrent requests share one log-in.

    Args:
        user: the user's name.
        password: the user's password.
        clock: a monotonic clock in seconds.
    """

    def __init__(self, user: str, password: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._user = user
        self._password = password
        self._clock = clock
        self._lock = asyncio.Lock()
        self._headers: dict[str, str] = {}
        self._renew_at = 0.0

    async def headers(self, login: Login) -> Mapping[str, str]:
        """The session's cookie, after a log-in if there is no session or only an old one."""
        if not self._fresh():
            # A lock, not a shared task: a caller that is cancelled gives it up, and the next in line logs in.
            async with self._lock:
                if not self._fresh():
                    await self._log_in(login)
        return self._headers

    def learn(self, reply: Reply) -> None:
        """Take up the cookie that CouchDB sends by itself when a session grows old."""
        for line in reply.cookies:
            self._take(line)

    def renewable(self, used: Mapping[str, str]) -> bool:
        """Always true; the session that was refused is dropped unless another has already replaced it."""
        if used.get("Cookie") == self._headers.get("Cookie"):
            self._headers = {}
        return True

    def __repr__(self) -> str:
        return f"CookieAuth(user={self._user!r})"

    def _fresh(self) -> bool:
        return bool(self._headers) and self._clock() < self._renew_at

    async def _log_in(self, login: Login) -> None:
        self._headers = {}
        self.learn(await login(self._user, self._password))
        if not self._headers:
            raise InvalidReply("POST /_session: the answer has no AuthSession cookie")

    def _take(self, line: str) -> None:
        try:
            morsel = SimpleCookie(line).get("AuthSession")
        except CookieError:
            return
        if morsel is None or not morsel.value:
            return
        seconds = float(morsel["max-age"]) if morsel["max-age"].isdecimal() else _SESSION_SECONDS
        self._headers = {"Cookie": f"AuthSession={_header_text(morsel.value, 'the session cookie')}"}
        self._renew_at = self._clock() + seconds / 2


def _bearer(token: str) -> dict[str, str]:
    if not token:
        raise ValueError("the token must not be empty")
    return {"Authorization": f"Bearer {_header_text(token, 'the token')}"}


def _header_text(text: str, what: str) -> str:
    """The text, if none of its characters could end or split a header field (RFC 9110 §5.5)."""
    if _UNFIT_FOR_HEADER.search(text):
        raise ValueError(f"{what} must not contain line breaks or other control characters")
    return text
