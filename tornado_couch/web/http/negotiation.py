"""Content negotiation and content coding (RFC 9110 §8.4, §12.5)."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Callable, Mapping
from functools import lru_cache
from importlib.util import find_spec

__all__ = ["accepts", "choose_coding", "compressed", "weights"]


def weights(field: str) -> dict[str, float]:
    """The weight of each element of an Accept or Accept-Encoding field, in lower case."""
    found: dict[str, float] = {}
    for part in field.split(","):
        name, *parameters = [piece.strip().lower() for piece in part.split(";")]
        if name:
            found[name] = max(found.get(name, 0.0), _weight(parameters))
    return found


@lru_cache(maxsize=256)  # clients of one kind all send the same
def accepts(field: str, media_type: str) -> bool:
    """Whether an Accept field takes a media type.

    The most specific range that covers it decides, and a weight of 0 excludes it. An empty field
    excludes nothing.
    """
    given = weights(field)
    if not given:
        return True
    for media_range in (media_type, f"{media_type.partition('/')[0]}/*", "*/*"):
        if media_range in given:
            return given[media_range] > 0
    return False


def _weight(parameters: list[str]) -> float:
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            try:
                return float(value)
            except ValueError:
                return 1.0
    return 1.0


_SMALLEST = 256  # bytes; below it a coded body is hardly shorter, or longer
_IN_THREAD = 64 * 1024  # bytes


def _brotli(body: bytes) -> bytes:
    import brotli

    coded: bytes = brotli.compress(body, quality=4)
    return coded


def _gzip(body: bytes) -> bytes:
    # A time of zero makes the same body the same bytes, as a strong entity tag demands.
    return gzip.compress(body, compresslevel=5, mtime=0)


# In the order of preference where a client likes several equally.
_CODINGS: Mapping[str, Callable[[bytes], bytes]] = {
    **({"br": _brotli} if find_spec("brotli") else {}),
    "gzip": _gzip,
}


@lru_cache(maxsize=256)  # clients of one kind all send the same
def choose_coding(accept_encoding: str) -> str:
    """The coding that a client likes best of ours; empty where it takes none (RFC 9110 §12.5.3)."""
    given = weights(accept_encoding)
    liked = {name: given.get(name, given.get("*", 0.0)) for name in _CODINGS}
    best = max(liked, key=lambda name: liked[name])
    # Where the client likes the plain form better, it gets that.
    return best if liked[best] > 0 and liked[best] >= given.get("identity", 0.0) else ""


async def compressed(body: bytes, coding: str) -> bytes | None:
    """The coded body; None where it is not worth it."""
    if not coding or len(body) < _SMALLEST:
        return None
    if len(body) < _IN_THREAD:
        return _CODINGS[coding](body)
    return await asyncio.to_thread(_CODINGS[coding], body)
