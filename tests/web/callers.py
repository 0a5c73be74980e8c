"""Who sends the requests of the tests, and who may: authenticators and policies."""

from __future__ import annotations

from tornado.httputil import HTTPServerRequest

from tornado_couch import Model, Problem
from tornado_couch.web import Policy, Principal

__all__ = ["ByHeader", "Closed", "Named"]


class ByHeader:
    """Believes the header fields X-Name and X-Role; the tests' stand-in for logging in."""

    challenge = 'Test realm="tests"'

    async def authenticate(self, request: HTTPServerRequest) -> Principal | None:
        name = request.headers.get("X-Name")
        if name == "liar":
            raise Problem(401, detail="No.")
        return Principal(name, frozenset(request.headers.get_list("X-Role"))) if name else None


class Named:
    """An authenticator that believes what the field `User` says: a name and roles."""

    def __init__(self, field: str = "User") -> None:
        self.field = field
        self.challenge = f'{field} realm="test"'

    async def authenticate(self, request: HTTPServerRequest) -> Principal | None:
        words = request.headers.get(self.field, "").split()
        if words == ["wrong"]:
            raise Problem(401, headers={"WWW-Authenticate": f'{self.challenge}, error="wrong"'})
        return Principal(words[0], frozenset(words[1:])) if words else None


class Closed(Policy):
    """Lets nobody in."""

    async def authorize(
        self, principal: Principal | None, action: str, model: type[Model], document: Model | None = None
    ) -> None:
        raise Problem(403, detail="No.")
