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
from dataclasses import replace
from http import HTTPStatus
from typing import Any, Literal, Protocol

from .. import _json
from ..errors import InvalidReply
from .transport.base import Reply, Request

__all__ = [
    "Auth",
    "BasicAuth",
    "BearerAuth",
    "CookieAuth",
    "Login",
    "NoAuth",
    "ProxyAuth",
    "as_anonymous",
    "completed",
    "is_anonymous",
    "refused_part",
]

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
    request shows that CouchDB does not know it any more. Concurrent requests share one log-in.

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
        # RFC 6265 §5.2: whatever attributes are unknown are ignored, which `http.cookies` does not do.
        pair, *rest = (each.strip() for each in line.split(";"))
        name, _, value = pair.partition("=")
        if name != "AuthSession" or not value.strip('"'):
            return
        attributes = {each.partition("=")[0].strip().lower(): each.partition("=")[2].strip() for each in rest}
        age = attributes.get("max-age", "")
        seconds = float(age) if age.isdecimal() else _SESSION_SECONDS
        self._headers = {"Cookie": f"AuthSession={_header_text(value, 'the session cookie')}"}
        self._renew_at = self._clock() + seconds / 2


def as_anonymous(request: Request, reply: Reply) -> bool:
    """Whether this may be what CouchDB answers to somebody whom it does not know.

    It takes a request whose session has ended for one without credentials. What that one may not do shows as 401 or
    403, of the request or of documents in it; a user's document is said to be missing (404); and a cookie that makes
    no sense is 400.
    """
    if reply.status == HTTPStatus.BAD_REQUEST:
        # An answer to HEAD does not say why.
        return request.method == "HEAD" or b"AuthSession" in reply.body
    if reply.status == HTTPStatus.NOT_FOUND:
        return request.target.startswith("/_users/")
    if request.template == "/_session":
        return is_anonymous(reply)
    if request.template.endswith("/_bulk_docs") and reply.status in (HTTPStatus.CREATED, HTTPStatus.ACCEPTED):
        return any(word in reply.body for word in _REFUSALS)
    return reply.status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)


_REFUSALS = (b'"unauthorized"', b'"forbidden"')


def is_anonymous(reply: Reply) -> bool:
    """Whether this answer of `/_session` says that nobody is logged in."""
    user = _parsed(reply.body, dict).get("userCtx")
    return reply.status != HTTPStatus.OK or (isinstance(user, dict) and user.get("name") is None)


def refused_part(request: Request, reply: Reply) -> Request:
    """What to send again: of a `_bulk_docs` that was answered 201, only the documents that were refused."""
    places = _refused_places(reply)
    docs = _parsed(_bytes(request), dict).get("docs") if places else None
    if not isinstance(docs, list) or len(docs) != len(_parsed(reply.body, list)):
        return request  # with `new_edits: false`, all can be sent again
    return replace(request, body=_json.dumps({"docs": [docs[place] for place in places]}))


def _bytes(request: Request) -> bytes:
    return request.body if isinstance(request.body, bytes) else b""


def completed(reply: Reply, part: Request, again: Reply) -> Reply:
    """The answer to a request, of which a part was sent again.

    Args:
        reply: the first answer.
        part: what was sent again.
        again: the answer to that.
    """
    places = _refused_places(reply)
    results: list[Any] = _parsed(reply.body, list)
    others: list[Any] = _parsed(again.body, list)
    sent = _parsed(_bytes(part), dict).get("docs") if places else None
    if not isinstance(sent, list) or not len(sent) == len(places) == len(others):
        return again
    for place, other in zip(places, others, strict=True):
        results[place] = other
    return replace(again, status=max(reply.status, again.status), body=_json.dumps(results))


def _refused_places(reply: Reply) -> list[int]:
    """The places of those documents that the answer to a `_bulk_docs` says were refused to this user."""
    if reply.status not in (HTTPStatus.CREATED, HTTPStatus.ACCEPTED):
        return []
    results: list[Any] = _parsed(reply.body, list)
    words = [each.get("error") if isinstance(each, dict) else None for each in results]
    return [place for place, word in enumerate(words) if word in ("unauthorized", "forbidden")]


def _parsed(text: bytes, kind: type[Any]) -> Any:
    """JSON of a kind; an empty one where it is not."""
    try:
        value = _json.loads(text)
    except ValueError:
        return kind()
    return value if isinstance(value, kind) else kind()


def _bearer(token: str) -> dict[str, str]:
    if not token:
        raise ValueError("the token must not be empty")
    return {"Authorization": f"Bearer {_header_text(token, 'the token')}"}


def _header_text(text: str, what: str) -> str:
    """The text, if none of its characters could end or split a header field (RFC 9110 §5.5)."""
    if _UNFIT_FOR_HEADER.search(text):
        raise ValueError(f"{what} must not contain line breaks or other control characters")
    return text
