"""Rate limits: a sliding window for each caller, and header fields that show what remains.

The fields are those of draft-ietf-httpapi-ratelimit-headers since its version 09
(`RateLimit-Policy` and `RateLimit`, structured fields of RFC 9651).
"""

from __future__ import annotations

import hashlib
import ipaddress
import math
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from ..problems import Problem
from .principals import Principal

__all__ = ["RateDecision", "RateLimit", "caller_identity"]

# Up to this number, a caller's requests are remembered one by one; beyond it, in as many groups. This
# bounds memory, and frees a place up to a twentieth of the window late, never early.
_GROUPS = 20

_SHARING = 8  # callers with a count of their own, for each count that further callers share

_LONGEST_IDENTITY = 128  # longer ones are stored as a digest


@dataclass(frozen=True)
class RateDecision:
    """The rate limit's decision about one request.

    Attributes:
        allowed: whether the request may go on; if so, it has been counted.
        policy: the limit's name.
        limit: the number of requests in a window.
        window: the length of the window in seconds.
        remaining: the number of requests that remain now.
        reset: seconds until at least one more is available, rounded up; 0 if all are available.
    """

    allowed: bool
    policy: str
    limit: int
    window: int
    remaining: int
    reset: int

    @property
    def headers(self) -> dict[str, str]:
        """Return the header fields of the answer, whatever its status."""
        found = {
            "RateLimit-Policy": f'"{self.policy}";q={self.limit};w={self.window}',
            "RateLimit": f'"{self.policy}";r={self.remaining};t={self.reset}',
        }
        if not self.allowed:
            found["Retry-After"] = str(self.reset)  # RFC 6585 §4
        return found

    def problem(self) -> Problem:
        """Return the 429 for a request that is over the limit, with the header fields."""
        return Problem.of(
            "quota-exceeded",
            f"The limit is {self.limit} requests in {self.window} seconds. Try again in {self.reset} seconds.",
            headers=self.headers,
            **{"violated-policies": [self.policy]},
        )


@dataclass
class _Group:
    """Requests that came close together; they are forgotten together, once the last of them may be."""

    first: float
    last: float
    count: int


class RateLimit:
    """Allows each caller at most `requests` in any window of `seconds`.

    Each instance counts on its own, in its process: a service of four processes lets through up to four
    times as many. Share one instance among resources that share a limit. Refused requests
    are not counted.

        decision = limit.decide(caller_identity(principal, request.remote_ip))
        if not decision.allowed:
            raise decision.problem()

    Args:
        requests: the number of requests.
        seconds: the length of the window; a whole number, since the header fields carry no other.
        name: the limit's name in the header fields.
        clock: returns seconds, and never goes back.
        max_principals: how many callers have a count of their own. None of them is forgotten before the window is
          over, or others could make it happen; further callers share a few counts until then.

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
        self._span = 0.0 if requests <= _GROUPS else seconds / _GROUPS
        self._most = max_principals
        self._shared = max(1, max_principals // _SHARING)
        self._callers: OrderedDict[str | int, list[_Group]] = OrderedDict()  # who was silent the longest comes first

    def decide(self, identity: str) -> RateDecision:
        """Decide whether this caller's request may go on, and count it if so.

        Args:
            identity: the caller; see `caller_identity`.
        """
        return self.reserve(identity)[0]

    def reserve(self, identity: str) -> tuple[RateDecision, Callable[[], None]]:
        """Do what `decide` does; also return a function that takes the count back, to be called once at most.

        For requests of which it is known later whether they count, such as passwords that have to be checked: those
        that arrive together must not all pass before the first is counted.
        """
        now = self._clock()
        place = self._place(identity, now)
        groups = self._recent(place, now)
        if self._used(groups) >= self.requests:
            return self._decision(False, groups, now), _nothing
        group = self._count(groups, now)

        def take_back() -> None:
            group.count -= 1
            if not self._used(self._callers.get(place, [])):
                self._callers.pop(place, None)

        return self._decision(True, groups, now), take_back

    def peek(self, identity: str) -> RateDecision:
        """Return what `decide` would, without counting.

        For requests that must be refused before they cost anything, such as passwords from an address that
        has used up its requests.
        """
        now = self._clock()
        groups = self._recent(self._place(identity, now), now)
        return self._decision(self._used(groups) < self.requests, groups, now)

    def _used(self, groups: list[_Group]) -> int:
        return sum(group.count for group in groups)

    def _decision(self, allowed: bool, groups: list[_Group], now: float) -> RateDecision:
        reset = max(1, math.ceil(self.seconds - (now - groups[0].last))) if groups else 0
        remaining = self.requests - self._used(groups)
        return RateDecision(allowed, self.name, self.requests, self.seconds, remaining, reset)

    def __len__(self) -> int:
        """Return how many callers are remembered."""
        return len(self._callers)

    def _recent(self, place: str | int, now: float) -> list[_Group]:
        """Return a caller's requests in the window that ends now; the caller becomes the latest."""
        groups = [each for each in self._callers.get(place, ()) if each.count and now - each.last < self.seconds]
        self._callers[place] = groups
        self._callers.move_to_end(place)
        return groups

    def _place(self, identity: str, now: float) -> str | int:
        """Return where a caller is counted: under its own name, or, if there are too many, with others."""
        if len(identity) > _LONGEST_IDENTITY:
            identity = hashlib.sha256(identity.encode("utf-8", "surrogatepass")).hexdigest()
        if identity in self._callers:
            return identity
        while self._callers:
            silent = next(iter(self._callers.values()))
            if silent and now - silent[-1].last < self.seconds:
                break
            self._callers.popitem(last=False)
        # Python's hash of a text differs in each process, so that nobody can tell who shares a count with whom.
        return identity if len(self._callers) < self._most else hash(identity) % self._shared

    def _count(self, groups: list[_Group], now: float) -> _Group:
        if groups and now - groups[-1].first < self._span:
            groups[-1].last = now
            groups[-1].count += 1
        else:
            groups.append(_Group(now, now, 1))
        return groups[-1]


def _nothing() -> None:
    """Take back nothing, since nothing was counted."""


def caller_identity(principal: Principal | None, remote_ip: str | None) -> str:
    """Return the identity to count: the principal's, or for an anonymous request its address.

    An IPv6 address counts as its /64 network, because one subscriber has a whole network (RFC 6177), with
    too many addresses to count. A principal cannot be mistaken for an address.

    Args:
        principal: who sends the request; None if anonymous.
        remote_ip: `request.remote_ip`. Behind a proxy this is the proxy's address, unless the server was
          created with `xheaders=True`.
    """
    if principal is not None:
        # No name of a database has a NUL, so no two pairs give one text.
        return f"tenant:{principal.tenant}\0{principal.name}" if principal.tenant else f"principal:{principal.name}"
    try:
        address = ipaddress.ip_address(remote_ip or "")
    except ValueError:
        return f"address:{remote_ip}"  # a Unix socket has no address
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped:
            return f"address:{address.ipv4_mapped}"
        return f"address:{ipaddress.IPv6Network((int(address) >> 64 << 64, 64))}"
    return f"address:{address}"
