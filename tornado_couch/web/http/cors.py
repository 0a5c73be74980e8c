"""Cross-origin requests from browsers: which header fields let which origins in (Fetch standard, "CORS protocol")."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping

__all__ = ["Cors"]

# What a browser would not send, or not let a script read, without being told (Fetch §2.2.2).
_REQUEST_FIELDS = "Accept, Authorization, Content-Type, Idempotency-Key, If-Match, If-None-Match, Prefer"
_EXPOSED_FIELDS = (
    "Accept-Patch, Allow, ETag, Link, Location, Preference-Applied, RateLimit, RateLimit-Policy, Retry-After"
)

# An origin as browsers write it: scheme, host and a port that is not the scheme's own; all lower case.
_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(:[1-9][0-9]{0,4})?")
_DEFAULT_PORT = re.compile(r"http://.*:80|https://.*:443")


class Cors:
    """Which origins' scripts may call the service, and what they may read.

        Cors(["https://app.example.com"], credentials=True)

    An origin is compared as a whole, and one that is not listed gets no permission at all: its name
    is never sent back. Every answer needs `answer_headers`, errors too, or a script cannot read why
    it was refused.

    Args:
        origins: such as "https://app.example.com" or "http://localhost:8080"; or "*" for every one.
        max_age: seconds that a browser may remember a preflight's answer.
        credentials: browsers send cookies and the like, and let scripts read what comes back. An
            Authorization field that a script sets itself does not need it.

    Raises:
        ValueError: "*" with credentials, which would let every page act as its visitor; "null",
            which every sandboxed page can claim to be; or a text that is no origin.
    """

    def __init__(self, origins: Collection[str], *, max_age: int = 600, credentials: bool = False) -> None:
        if max_age < 0:
            raise ValueError("max_age must not be negative")
        self.any_origin = origins == "*" or (not isinstance(origins, str) and "*" in origins)
        if isinstance(origins, str) and not self.any_origin:
            raise ValueError(f'origins must be a list, such as [{origins!r}], or "*"')
        if self.any_origin and credentials:
            raise ValueError('"*" with credentials would let every page act as its visitor; list the origins')
        self.origins = frozenset() if self.any_origin else frozenset(map(_checked, origins))
        self.max_age = max_age
        self.credentials = credentials

    def is_preflight(self, method: str | None, headers: Mapping[str, str]) -> bool:
        """Whether a request asks for permission and not for the resource: it has no credentials then."""
        return method == "OPTIONS" and "Origin" in headers and "Access-Control-Request-Method" in headers

    def preflight_headers(self, headers: Mapping[str, str], methods: Iterable[str]) -> dict[str, str]:
        """The fields of the answer to a preflight, whose status is 204 whatever the origin.

        Args:
            headers: the request's; looked up as Tornado's HTTPHeaders does, in any case.
            methods: those that the resource has.

        Returns:
            The fields. `Vary` is to be added to one that is there.
        """
        found = self._permission(headers.get("Origin"))
        if "Access-Control-Allow-Origin" in found:
            found["Access-Control-Allow-Methods"] = ", ".join(methods)
            found["Access-Control-Allow-Headers"] = _REQUEST_FIELDS
            found["Access-Control-Max-Age"] = str(self.max_age)
        return found

    def answer_headers(self, origin: str | None) -> dict[str, str]:
        """The fields of every answer that is not a preflight's.

        Args:
            origin: the request's Origin field, if it has one.

        Returns:
            The fields. `Vary` is to be added to one that is there.
        """
        found = self._permission(origin)
        if "Access-Control-Allow-Origin" in found:
            found["Access-Control-Expose-Headers"] = _EXPOSED_FIELDS
        return found

    def _permission(self, origin: str | None) -> dict[str, str]:
        if self.any_origin:
            # Without Origin too: a cache may give that very answer to a browser.
            return {"Access-Control-Allow-Origin": "*"}
        # Without Origin or from a stranger, too: a cache must not give that answer to a listed origin.
        found = {"Vary": "Origin"}
        if origin in self.origins:
            found["Access-Control-Allow-Origin"] = origin or ""
            if self.credentials:
                found["Access-Control-Allow-Credentials"] = "true"
        return found


def _checked(origin: str) -> str:
    if origin == "null":
        raise ValueError('every sandboxed page can claim to be the origin "null"; do not list it')
    if not _ORIGIN.fullmatch(origin) or _DEFAULT_PORT.fullmatch(origin):
        raise ValueError(
            f'{origin!r} is not an origin as browsers send it, such as "https://app.example.com": lower case,'
            " no path, no slash at the end, and no port where it is the scheme's own"
        )
    return origin
