"""Principals, who send requests, and authenticators, which find out who they are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from tornado.httputil import HTTPServerRequest

from ..problems import Problem

__all__ = ["Authenticator", "Principal", "identifying_field", "unauthenticated", "with_challenges"]


@dataclass(frozen=True)
class Principal:
    """Somebody who has proved who they are.

    Attributes:
        name: the user's name. All authenticators of a policy share one name space: two of them
          must not give the same name to different people.
        roles: the roles that policies check.
        tenant: the database that has the user's account, where each tenant has accounts of its own. The same name in
          two of them stands for two users.
        claims: anything else that the authenticator knows; not compared, and kept out of logs.
    """

    name: str
    roles: frozenset[str] = frozenset()
    claims: Mapping[str, Any] = field(default_factory=dict, compare=False, repr=False)
    tenant: str = ""


class Authenticator(Protocol):
    """Finds out who sends a request.

    Attributes:
        challenge: the challenge of a 401, as it appears in WWW-Authenticate (RFC 9110 §11.6.1).
    """

    @property
    def challenge(self) -> str: ...

    async def authenticate(self, request: HTTPServerRequest) -> Principal | None:
        """Return who sends the request; None if it has no credentials of this kind.

        Raises:
            Problem: 401, the credentials are malformed or wrong.
        """
        ...


def identifying_field(authenticator: Authenticator) -> str:
    """Return the header field that an authenticator reads; empty if it reads the query.

    That is Authorization, unless the authenticator describes an API key in its `security_scheme`, as in OpenAPI.
    """
    scheme = getattr(authenticator, "security_scheme", None) or {}
    if scheme.get("type") != "apiKey":
        return "Authorization"
    return {"header": str(scheme.get("name")), "cookie": "Cookie"}.get(str(scheme.get("in")), "")


def unauthenticated(detail: str, challenges: Iterable[str], kind: str = "authentication-required") -> Problem:
    """Return a 401 with its challenges, which are required (RFC 9110 §15.5.2)."""
    value = ", ".join(challenges)
    return Problem.of(kind, detail, headers={"WWW-Authenticate": value} if value else {})


def with_challenges(problem: Problem, challenges: Iterable[str]) -> Problem:
    """Return a 401 that offers these challenges too, except for schemes that it names already."""
    given = problem.headers.get("WWW-Authenticate", "")
    present = f", {given}".lower()
    more = [each for each in challenges if f", {_scheme(each)} " not in f"{present} "]
    problem.headers["WWW-Authenticate"] = ", ".join([*([given] if given else []), *more])
    return problem


def _scheme(challenge: str) -> str:
    return challenge.partition(" ")[0].lower()


def credentials_of(request: HTTPServerRequest, scheme: str) -> str | None:
    """Return the credentials after the scheme in Authorization (RFC 9110 §11.6.2); None for another scheme."""
    named, _, rest = request.headers.get("Authorization", "").strip().partition(" ")
    return rest.strip() if named.lower() == scheme else None


def quoted(text: str) -> str:
    """Return a quoted-string (RFC 9110 §5.6.4)."""
    if not text.isascii() or not text.isprintable():
        raise ValueError(f"{text!r}: a realm must be of printable ASCII characters")
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
