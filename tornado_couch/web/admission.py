"""Who is let in: authentication, rate limits and cross-origin permissions, for every handler that has a policy."""

from __future__ import annotations

from typing import Any

from .policies import AllowAny, Policy
from .principals import Principal
from .problems import Problem, ProblemHandler
from .rate_limit import RateLimit, caller_identity

__all__ = ["AdmissionMixin"]


class AdmissionMixin(ProblemHandler):
    """Finds out who calls, and counts them."""

    _kept_headers: dict[str, str] | None = None

    def set_default_headers(self) -> None:
        """Set what every answer has, errors included."""
        if self._kept_headers is None:
            return  # Tornado asks before there is a route; `initialize` asks again
        self._headers["X-Content-Type-Options"] = "nosniff"  # unlike `set_header`, without looking for line breaks
        self._headers["Vary"] = "Accept, Accept-Encoding"
        cors = self.option("cors")
        if cors is not None:
            self._set_headers(cors.answer_headers(self.request.headers.get("Origin")))
        if self._kept_headers:
            self._set_headers(self._kept_headers)

    def _set_headers(self, fields: dict[str, str]) -> None:
        for name, value in fields.items():
            if name == "Vary":  # of several that say so
                value = ", ".join(dict.fromkeys(f"{self._headers.get('Vary', '')}, {value}".strip(", ").split(", ")))
            self.set_header(name, value)

    def option(self, name: str) -> Any:
        """The application's setting of this name; None where there is none."""
        return self.settings.get(name)

    async def _authenticated(self) -> Principal | None:
        """Who asks. Wrong credentials are counted by address, apart from what is asked without any."""
        limit: RateLimit | None = self.option("rate_limit")
        if limit is None:
            return await self.policy.authenticate(self.request)
        guesser = f"wrong credentials from {caller_identity(None, self.request.remote_ip)}"
        if not (decision := limit.peek(guesser)).allowed:
            raise decision.problem()  # before another guess costs a bcrypt
        try:
            return await self.policy.authenticate(self.request)
        except Problem:
            self._count(guesser)
            raise

    def _count(self, identity: str) -> None:
        """Count the request against a limit.

        Raises:
            Problem: 429, the limit is reached.
        """
        limit: RateLimit | None = self.option("rate_limit")
        if limit is None:
            return
        decision = limit.decide(identity)
        self._kept_headers = {**(self._kept_headers or {}), **decision.headers}
        self._set_headers(decision.headers)
        if not decision.allowed:
            raise decision.problem()

    @property
    def policy(self) -> Policy:
        """Who may do what here.

        Raises:
            RuntimeError: nobody said: outside of debug mode nothing is served then.
        """
        policy: Policy | None = self.option("policy")
        if policy is None and not self.settings.get("debug"):
            raise RuntimeError(
                f"{self.request.path} has no policy; say policy=… where it is mounted, or to the application."
                " AllowAny() lets everybody do everything."
            )
        return policy or AllowAny()
