"""Cross-origin requests from browsers: the header fields that grant access to origins (Fetch, "CORS protocol")."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping

__all__ = ["Cors"]

# Browsers would not send these fields, or not let a script read them, without permission (Fetch §2.2.2).
_REQUEST_FIELDS = (
    *("Accept", "Authorization", "Content-Digest", "Content-Disposition", "Content-Encoding", "Content-Type"),
    *("Idempotency-Key", "If-Match", "If-Modified-Since", "If-None-Match", "If-Range", "If-Unmodified-Since"),
    *("Prefer", "Range", "Repr-Digest", "X-HTTP-Method-Override", "X-XSRFToken"),
)
_EXPOSED_FIELDS = (
    *("Accept-Encoding", "Accept-Patch", "Accept-Post", "Accept-Ranges", "Allow", "Content-Disposition"),
    *("Content-Location", "Content-Range", "Deprecation", "ETag", "Idempotent-Replayed", "Link", "Location"),
    *("Preference-Applied", "RateLimit", "RateLimit-Policy", "Repr-Digest"),
    *("Retry-After", "Server-Timing", "Sunset", "WWW-Authenticate", "X-Total-Count"),
)
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110 §5.6.2

# An origin as browsers send it: scheme, host and a port other than the scheme's default; all lower case.
_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(:[1-9][0-9]{0,4})?")
_DEFAULT_PORT = re.compile(r"http://.*:80|https://.*:443")


class Cors:
    """Says which origins' scripts may call the service, and what they may read.

        Cors(["https://app.example.com"], credentials=True)

    An origin is compared as a whole, and an origin that is not listed gets no permission at all: its name
    is never sent back. Every answer needs `answer_headers`, including errors; otherwise a script cannot
    read why it was refused.

    Args:
        origins: such as "https://app.example.com" or "http://localhost:8080"; or "*" for all origins.
        max_age: for how many seconds a browser may remember the answer to a preflight.
        credentials: whether browsers send cookies and the like, and let scripts read the answers. An
          Authorization field that a script sets itself does not need it.
        allow_headers: header fields that scripts may send besides those that the package reads, such as "X-API-Key".
        expose_headers: header fields that scripts may read besides those that the package sends.

    Raises:
        ValueError: "*" with credentials, which would let every page act as its visitor; "null",
            which every sandboxed page can claim to be; or a text that is not an origin, or not
            the name of a header field.
    """

    def __init__(
        self,
        origins: Collection[str],
        *,
        max_age: int = 600,
        credentials: bool = False,
        allow_headers: Collection[str] = (),
        expose_headers: Collection[str] = (),
    ) -> None:
        if max_age < 0:
            raise ValueError("max_age must not be negative")
        self.any_origin = origins == "*" or (not isinstance(origins, str) and "*" in origins)
        if isinstance(origins, str) and not self.any_origin:
            raise ValueError(f'origins must be a list, such as [{origins!r}], or "*"')
        if self.any_origin and credentials:
            raise ValueError('"*" with credentials would let every page act as its visitor; list the origins instead')
        self.origins = frozenset() if self.any_origin else frozenset(map(_checked, origins))
        self.max_age = max_age
        self.credentials = credentials
        self._allowed = _joined("allow_headers", _REQUEST_FIELDS, allow_headers)
        self._exposed = _joined("expose_headers", _EXPOSED_FIELDS, expose_headers)

    def is_preflight(self, method: str | None, headers: Mapping[str, str]) -> bool:
        """Whether a request is a preflight, which only asks for permission and has no credentials."""
        return method == "OPTIONS" and "Origin" in headers and "Access-Control-Request-Method" in headers

    def preflight_headers(self, headers: Mapping[str, str], methods: Iterable[str]) -> dict[str, str]:
        """Return the fields of the answer to a preflight, whose status is 204 whatever the origin.

        Args:
            headers: the request's, with case-insensitive names as in Tornado's HTTPHeaders.
            methods: the methods of the resource.

        Returns:
            The fields. If the answer already has `Vary`, append to it.
        """
        found = self._permission(headers.get("Origin"))
        if "Access-Control-Allow-Origin" in found:
            found["Access-Control-Allow-Methods"] = ", ".join(methods)
            found["Access-Control-Allow-Headers"] = self._allowed
            found["Access-Control-Max-Age"] = str(self.max_age)
        return found

    def answer_headers(self, origin: str | None) -> dict[str, str]:
        """Return the fields of every answer except a preflight's.

        Args:
            origin: the request's Origin field, if present.

        Returns:
            The fields. If the answer already has `Vary`, append to it.
        """
        found = self._permission(origin)
        if "Access-Control-Allow-Origin" in found:
            found["Access-Control-Expose-Headers"] = self._exposed
        return found

    def _permission(self, origin: str | None) -> dict[str, str]:
        if self.any_origin:
            # Needed without Origin too: a cache may give this answer to a browser.
            return {"Access-Control-Allow-Origin": "*"}
        # Needed without Origin or for an unlisted one, too: a cache must not give this answer to a listed origin.
        found = {"Vary": "Origin"}
        if origin in self.origins:
            found["Access-Control-Allow-Origin"] = origin or ""
            if self.credentials:
                found["Access-Control-Allow-Credentials"] = "true"
        return found


def _joined(argument: str, own: Collection[str], more: Collection[str]) -> str:
    """Return the names of header fields as the value of one; the order is that of the alphabet."""
    if isinstance(more, str) or not all(map(_NAME.fullmatch, more)):
        raise ValueError(f"{argument} must be a list of the names of header fields, not {more!r}")
    names = {each.lower(): each for each in (*more, *own)}
    return ", ".join(sorted(names.values(), key=str.lower))


def _checked(origin: str) -> str:
    if origin == "null":
        raise ValueError('every sandboxed page can claim to be the origin "null"; do not list it')
    if not _ORIGIN.fullmatch(origin) or _DEFAULT_PORT.fullmatch(origin):
        raise ValueError(
            f'{origin!r} is not an origin as browsers send it, such as "https://app.example.com": lower case,'
            " no path, no slash at the end, and no port if it is the scheme's default"
        )
    return origin
