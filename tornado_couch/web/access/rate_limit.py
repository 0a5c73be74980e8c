"""How many requests one caller may send: a sliding window for each, and the fields that say what is left.

The fields are those of draft-ietf-httpapi-ratelimit-headers as it stands since version 09
(`RateLimit-Policy` and `RateLimit`, structured fields of RFC 9651).
"""

from __future__ import annotations

import hashlib
import ipaddress
import math
import time
from collections.abc import Callable
from dataclasses import dataclass

from ..problems import Problem
from .principals import Principal

__all__ = ["RateDecision", "RateLimit", "caller_identity"]

# A caller's requests are remembered one by one up to this number, then in so many groups: that
# bounds memory, and frees a place up to a twentieth of the window late, never early.
_GROUPS = 20

_LONGEST_IDENTITY = 128  # a longer one is kept as its digest


@dataclass(frozen=True)
class RateDecision:
    """What the limit says about one request.

    Attributes:
        allowed: it may go on, and has been counted.
        policy: the limit's name.
        limit: requests in a window.
        window: its length in seconds.
        remaining: requests left now.
        reset: seconds until there is at least one more, rounded up; 0 when all are there.
    """

    allowed: bool
    policy: str
    limit: int
    window: int
    remaining: int
    reset: int

    @property
    def headers(self) -> dict[str, str]:
        """The header fields of the answer, whatever its status."""
        found = {
            "RateLimit-Policy": f'"{self.policy}";q={self.limit};w={self.window}',
            "RateLimit": f'"{self.policy}";r={self.remaining};t={self.reset}',
        }
        if not self.allowed:
            found["Retry-After"] = str(self.reset)  # RFC 6585 §4
        return found

    def problem(self) -> Problem:
        """The 429 for a request that is over the limit; it has the header fields."""
        return Problem.of(
            "quota-exceeded",
            f"There is a limit of {self.limit} requests in {self.window} seconds. Try again in {self.reset}.",
            headers=self.headers,
            **{"violated-policies": [self.policy]},
        )


@dataclass
class _Group:
    """Requests that came close to one another: they are forgotten together, when the last may be."""

    first: float
    last: float
    count: int


class RateLimit:
    """At most `requests` of one caller in any `seconds`, whenever these begin.

    The count is this instance's, in this process: a service of four processes lets through up to four
    times as many. Share one instance among resources that share a limit. Requests that are refused
    are not counted.

        decision = limit.decide(caller_identity(principal, request.remote_ip))
        if not decision.allowed:
            raise decision.problem()

    Args:
        requests: how many.
        seconds: the window, whole seconds since the header fields know no others.
        name: what the header fields call the limit.
        clock: seconds, never going back.
        max_principals: callers remembered. When there are more, the one who has been silent for the
            longest is forgotten, and may begin anew.

    Raises:
        ValueError: a number is not positive, `seconds` is not whole, or the name is not a plain word.
    """

    def __init__(
        self,
        requests: int,
        seconds: int,
        *,
        name: str = "default",
        clock: Callable[[], float] = time.monotonic,
        max_principals: int = 10_000,
    ) -> None:
        if min(requests, seconds, max_principals) < 1 or int(seconds) != seconds:
            raise ValueError("requests, seconds and max_principals must be positive, and seconds whole")
        if not name.isascii() or not name.replace("-", "_").isidentifier():
            raise ValueError(f"{name!r} is not a plain word")
        self.requests = requests
        self.seconds = int(seconds)
        self.name = name
        self._clock = clock
        self._max_principals = max_principals
        self._span = 0.0 if requests <= _GROUPS else seconds / _GROUPS
        # In the order of the last request, so that the first is the one to forget.
        self._callers: dict[str, list[_Group]] = {}

    def decide(self, identity: str) -> RateDecision:
        """Whether this caller's request may go on; if so it is counted.

        Args:
            identity: who calls; see `caller_identity`.
        """
        now = self._clock()
        groups = self._recent(identity, now)
        allowed = self._used(groups) < self.requests
        if allowed:
            self._count(groups, now)
        return self._decision(allowed, groups, now)

    def peek(self, identity: str) -> RateDecision:
        """What `decide` would say, with nothing counted.

        For what must be refused before it costs anything: passwords from an address that has used
        up its requests, say.
        """
        now = self._clock()
        groups = self._recent(identity, now)
        return self._decision(self._used(groups) < self.requests, groups, now)

    def _used(self, groups: list[_Group]) -> int:
        return sum(group.count for group in groups)

    def _decision(self, allowed: bool, groups: list[_Group], now: float) -> RateDecision:
        reset = max(1, math.ceil(self.seconds - (now - groups[0].last))) if groups else 0
        remaining = self.requests - self._used(groups)
        return RateDecision(allowed, self.name, self.requests, self.seconds, remaining, reset)

    def __len__(self) -> int:
        """How many callers are remembered."""
        return len(self._callers)

    def _recent(self, identity: str, now: float) -> list[_Group]:
        """The caller's requests in the window that ends now; the caller becomes the latest."""
        if len(identity) > _LONGEST_IDENTITY:
            identity = hashlib.sha256(identity.encode("utf-8", "surrogatepass")).hexdigest()
        groups = [group for group in self._callers.pop(identity, ()) if now - group.last < self.seconds]
        while len(self._callers) >= self._max_principals:
            del self._callers[next(iter(self._callers))]
        self._callers[identity] = groups
        return groups

    def _count(self, groups: list[_Group], now: float) -> None:
        if groups and now - groups[-1].first < self._span:
            groups[-1].last = now
            groups[-1].count += 1
        else:
            groups.append(_Group(now, now, 1))


def caller_identity(principal: Principal | None, remote_ip: str | None) -> str:
    """Who is counted: the principal, or for an anonymous request where it comes from.

    An IPv6 address counts as its /64 network: that is what one subscriber has (RFC 6177), with more
    addresses than could be counted. No principal can be taken for an address.

    Args:
        principal: who calls; None is anonymous.
        remote_ip: `request.remote_ip`. Behind a proxy it is the proxy's, unless the server was made
            with `xheaders=True`.
    """
    if principal is not None:
        return f"principal:{principal.name}"
    try:
        address = ipaddress.ip_address(remote_ip or "")
    except ValueError:
        return f"address:{remote_ip}"  # a Unix socket has none
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped:
            return f"address:{address.ipv4_mapped}"
        return f"address:{ipaddress.IPv6Network((int(address) >> 64 << 64, 64))}"
    return f"address:{address}"
