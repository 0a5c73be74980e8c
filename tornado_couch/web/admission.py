"""`Admission`: finds out who sends a request, counts it, and sets the header fields that every answer has."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from tornado.web import RequestHandler

from .access import AllowAny, Policy, Principal, RateLimit, caller_identity
from .access.rate_limit import RateDecision
from .problems import Problem

__all__ = ["Admission"]


class Admission:
    """What a handler asks before it does anything.

    Args:
        handler: the handler of the request.
        own: the object whose attributes `policy`, `rate_limit`, `cors` and `deprecation` go before the application's
            settings of those names, such as a `Resource`.
    """

    __slots__ = ("_counted", "_handler", "_identity", "_own", "_policy", "_vary")

    def __init__(self, handler: RequestHandler, own: object) -> None:
        self._handler = handler
        self._own = own
        self._identity = ""
        self._policy: Policy | None = None  # once it was asked for, which each request does several times
        self._counted: dict[str, str] | None = None  # the header fields of the rate limit
        self._vary: dict[str, None] = {}  # the fields that say who the caller is to policies of other resources

    def option(self, name: str) -> Any:
        """Return an option: what was said at the route, else the application's setting; None if neither is there."""
        own = getattr(self._own, name, None)
        return self._handler.settings.get(name) if own is None else own

    @property
    def policy(self) -> Policy:
        """The policy that says who may do what.

        Raises:
            RuntimeError: there is none; outside of debug mode nothing is served then.
        """
        if self._policy is None:
            policy: Policy | None = self.option("policy")
            if policy is None and not self._handler.settings.get("debug"):
                raise RuntimeError(
                    f"{self._handler.request.path} has no policy. Pass policy=… where it is mounted or to the"
                    " application; AllowAny() lets everybody do everything."
                )
            self._policy = policy or AllowAny()
        return self._policy

    # ------------------------------------------------------------ the answer's header

    def set_headers(self) -> None:
        """Set the fields that every answer has, errors included."""
        headers = self._handler._headers  # unlike `set_header`, without looking for line breaks
        headers["X-Content-Type-Options"] = "nosniff"
        policy: Policy | None = self.option("policy")
        headers["Vary"] = ", ".join(["Accept", "Accept-Encoding", *(policy.vary if policy else ()), *self._vary])
        cors = self.option("cors")
        if cors is not None:
            self.add_headers(cors.answer_headers(self._handler.request.headers.get("Origin")))
        if self._counted is not None:
            self.add_headers(self._counted)
        deprecation = getattr(self._own, "deprecation", None)
        if deprecation is not None:
            self.add_headers(deprecation.headers)

    def add_headers(self, fields: dict[str, str]) -> None:
        """Set header fields; the names in `Vary` add up."""
        for name, value in fields.items():
            if name == "Vary":
                given = f"{self._handler._headers.get('Vary', '')}, {value}".strip(", ").split(", ")
                value = ", ".join(dict.fromkeys(given))
            self._handler.set_header(name, value)

    def vary(self, names: Iterable[str]) -> None:
        """Say that the answer depends on these fields of the request as well, also if it becomes an error."""
        self._vary.update(dict.fromkeys(names))
        self.add_headers({"Vary": ", ".join(self._vary)})

    # ------------------------------------------------------------ the caller

    async def admitted(self) -> Principal | None:
        """Return who sends the request, None if anonymous, and count the request against the rate limit.

        Raises:
            Problem: 401, the credentials are wrong; 429, the limit is reached.
        """
        principal = await self.identified(self._say)
        limit: RateLimit | None = self.option("rate_limit")
        if limit is None:
            return principal
        self._identity = caller_identity(principal, self._handler.request.remote_ip)
        self._say(limit.decide(self._identity))
        return principal

    def count_more(self) -> None:
        """Count one more request of this caller, since what was sent is too much for one.

        Raises:
            Problem: 429, the limit is reached.
        """
        limit: RateLimit | None = self.option("rate_limit")
        if limit is not None and not (decision := limit.decide(self._identity)).allowed:
            raise decision.problem()  # the header of the answer is that of the request as such

    async def identified(self, say: Callable[[RateDecision], None] = lambda _: None) -> Principal | None:
        """Return who sends the request, None if anonymous; wrong credentials count against the rate limit.

        Args:
            say: is given the decision about wrong credentials.

        Raises:
            Problem: 401, the credentials are wrong; 429, too many were.
        """
        limit: RateLimit | None = self.option("rate_limit")
        if limit is None:
            return await self.policy.authenticate(self._handler.request)
        return await self._authenticated(limit, say)

    async def _authenticated(self, limit: RateLimit, say: Callable[[RateDecision], None]) -> Principal | None:
        """Authenticate; wrong credentials count against the address, apart from requests without credentials.

        The guess is counted before it is checked, and taken back if it was none: of many that arrive at the same time
        only as many are checked as the limit has left.
        """
        request = self._handler.request
        guesser = f"wrong credentials from {caller_identity(None, request.remote_ip)}"
        decision, take_back = limit.reserve(guesser)
        if not decision.allowed:
            raise decision.problem()  # before another guess costs a bcrypt
        try:
            principal = await self.policy.authenticate(request)
        except Problem:
            say(decision)
            raise
        except BaseException:
            take_back()
            raise
        take_back()
        return principal

    def _say(self, decision: RateDecision) -> None:
        """Set the header fields of a limit.

        Raises:
            Problem: 429, the limit is reached.
        """
        self._counted = {**(self._counted or {}), **decision.headers}
        self.add_headers(decision.headers)
        if not decision.allowed:
            raise decision.problem()
