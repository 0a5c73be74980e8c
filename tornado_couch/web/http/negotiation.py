"""Content negotiation and content coding (RFC 9110 §8.4, §12.5)."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Callable, Mapping
from functools import lru_cache
from importlib.util import find_spec

__all__ = ["accepts", "choose_coding", "compressed", "weights"]


_LONGEST_KEPT = 512  # characters of a field whose meaning is remembered


def weights(field: str) -> dict[str, float]:
    """Return the weight of each element of an Accept or Accept-Encoding field, in lower case."""
    found: dict[str, float] = {}
    for part in field.split(","):
        name, *parameters = [piece.strip().lower() for piece in part.split(";")]
        if name:
            found[name] = max(found.get(name, 0.0), _weight(parameters))
    return found


def accepts(field: str, media_type: str) -> bool:
    """Whether an Accept field allows a media type.

    The most specific range that covers it decides, and a weight of 0 excludes it. An empty field
    excludes nothing.
    """
    # Clients of the same kind send the same field; a long one is not worth the memory.
    return _accepts(field, media_type) if len(field) <= _LONGEST_KEPT else _accepts.__wrapped__(field, media_type)


@lru_cache(maxsize=256)
def _accepts(field: str, media_type: str) -> bool:
    given = weights(field)
    if not given:
        return True
    if "*" in given:  # as old clients write it, Java's HttpURLConnection among them
        given.setdefault("*/*", given["*"])
    for media_range in (media_type, f"{media_type.partition('/')[0]}/*", "*/*"):
        if media_range in given:
            return given[media_range] > 0
    return False


def _weight(parameters: list[str]) -> float:
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            try:
                weight = float(value)
            except ValueError:
                return 1.0
            return weight if 0 <= weight <= 1 else 1.0  # RFC 9110 §12.4.2
    return 1.0


_SMALLEST = 256  # bytes; below this, a coded body is hardly shorter, or even longer
_IN_THREAD = 64 * 1024  # bytes


def _brotli(body: bytes) -> bytes:
    import brotli

    coded: bytes = brotli.compress(body, quality=4)
    return coded


def _gzip(body: bytes) -> bytes:
    # With a time of zero, the same body always gives the same bytes, as a strong entity tag requires.
    return gzip.compress(body, compresslevel=5, mtime=0)


# In our order of preference, for clients that accept several equally.
_CODINGS: Mapping[str, Callable[[bytes], bytes]] = {
    **({"br": _brotli} if find_spec("brotli") else {}),
    "gzip": _gzip,
}


def choose_coding(accept_encoding: str) -> str:
    """Return our coding that a client prefers; empty if it accepts none of them (RFC 9110 §12.5.3)."""
    kept = len(accept_encoding) <= _LONGEST_KEPT
    return _choose_coding(accept_encoding) if kept else _choose_coding.__wrapped__(accept_encoding)


@lru_cache(maxsize=256)
def _choose_coding(accept_encoding: str) -> str:
    given = weights(accept_encoding)
    liked = {name: given.get(name, given.get("*", 0.0)) for name in _CODINGS}
    best = max(liked, key=lambda name: liked[name])
    # A client that prefers the plain form gets it.
    return best if liked[best] > 0 and liked[best] >= given.get("identity", 0.0) else ""


async def compressed(body: bytes, coding: str) -> bytes | None:
    """Return the coded body, or None if coding it is not worth the effort."""
    if not coding or len(body) < _SMALLEST:
        return None
    if len(body) < _IN_THREAD:
        return _CODINGS[coding](body)
    return await asyncio.to_thread(_CODINGS[coding], body)
