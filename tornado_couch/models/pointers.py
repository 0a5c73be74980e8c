"""JSON Pointers (RFC 6901)."""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["json_pointer"]


def json_pointer(path: Iterable[object]) -> str:
    """The pointer with these reference tokens; the empty text is the whole document (RFC 6901 §3, §5)."""
    return "".join("/" + str(token).replace("~", "~0").replace("/", "~1") for token in path)
