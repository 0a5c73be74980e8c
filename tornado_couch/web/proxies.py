"""The base path of a service behind a proxy that strips it: what stands before the path of every address."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from ipaddress import ip_address, ip_network
from typing import Any

from tornado.httputil import HTTPServerRequest

__all__ = ["checked_base", "checked_networks", "public_prefix", "public_url"]

# RFC 3986 §3.3: segments that are not empty, so that no path begins with two slashes, which would name a host. None is
# `.` or `..`, which a client would take off together with the segment before it.
_PATH = r"(?:/(?!(?:\.|%2[Ee]){1,2}(?:/|\Z))(?:[A-Za-z0-9._~!$&'()*+,;=:@-]|%[0-9A-Fa-f]{2})+)+"
# A comma stands between the values of a field that was sent twice: by the proxy, and by the client before it.
_PREFIX = re.compile(_PATH.replace("+,;", "+;"))
_BASE = re.compile(rf"(?:https?://(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._~-]+)(?::[0-9]{{1,5}})?)?(?:{_PATH})?")


def checked_base(base: str) -> str:
    """Return a base path or URL as it was given.

    Raises:
        ValueError: it is neither "/orchard" nor "https://example.com/orchard" in form.
    """
    if not _BASE.fullmatch(base):
        raise ValueError(
            f"base_url={base!r} must be a path such as '/orchard', or a URL such as 'https://example.com/orchard',"
            " without a slash at the end"
        )
    return base


def checked_networks(networks: Iterable[object]) -> tuple[str, ...]:
    """Return the networks of trusted proxies as text.

    Raises:
        ValueError: one of them is neither an address nor a network; or they are a single text.
    """
    if isinstance(networks, str):
        raise ValueError(f"trusted_proxies must be a list, such as [{networks!r}]")
    return tuple(str(ip_network(str(each))) for each in networks)


def public_prefix(request: HTTPServerRequest, settings: Mapping[str, Any]) -> str:
    """Return what stands before the path of a request in the addresses that its client uses.

    That is `X-Forwarded-Prefix`, if one of the setting `trusted_proxies` has sent it, and else the setting `base_url`.

    Args:
        request: the request.
        settings: the application's.
    """
    trusted = settings.get("trusted_proxies")
    if trusted:
        given = request.headers.get("X-Forwarded-Prefix", "").rstrip("/")
        if _PREFIX.fullmatch(given) and _is_trusted(_peer(request), tuple(map(str, trusted))):
            return given
    base: str = settings.get("base_url", "")
    return base


def public_url(request: HTTPServerRequest, settings: Mapping[str, Any]) -> str:
    """Return the URL of a request, without its query string, as its client uses it."""
    prefix = public_prefix(request, settings)
    origin = "" if prefix.startswith("http") else f"{request.protocol}://{request.host}"
    return f"{origin}{prefix}{request.path}"


def _peer(request: HTTPServerRequest) -> str:
    """Return the address at the other end of the connection, which `xheaders` does not replace."""
    address = getattr(getattr(request.connection, "context", None), "address", None)
    return str(address[0]) if isinstance(address, tuple) and address else ""


@lru_cache(maxsize=1024)
def _is_trusted(peer: str, networks: tuple[str, ...]) -> bool:
    try:
        address = ip_address(peer)
    except ValueError:
        return False  # a Unix socket has no address
    return any(address in ip_network(each) for each in networks)
