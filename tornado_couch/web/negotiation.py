"""Content negotiation (RFC 9110 §12.5); pure."""

from __future__ import annotations

from functools import lru_cache

__all__ = ["accepts", "weights"]


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
