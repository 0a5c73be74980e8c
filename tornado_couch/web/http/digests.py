"""Digests in header fields: Repr-Digest and Content-Digest (RFC 9530), as structured fields (RFC 9651); pure."""

from __future__ import annotations

import base64
import binascii
import re

from ..problems import Problem

__all__ = ["parse_digest", "repr_digest"]

_LONGEST = 2048
_ITEM = re.compile(r"[ \t]*(?P<name>[a-z*][a-z0-9_.*-]*)=:(?P<value>[A-Za-z0-9+/=]*):[ \t]*(?:;[^,]*)?(?:,|\Z)")


def repr_digest(sha256: bytes) -> str:
    """Return the value of Repr-Digest for a SHA-256 of the whole representation."""
    return f"sha-256=:{base64.b64encode(sha256).decode()}:"


def parse_digest(name: str, field: str | None) -> bytes | None:
    """Return the SHA-256 that a client says its content has; None if it says none, or another algorithm's.

    Args:
        name: the name of the field, for the problem.
        field: its value; None if it was not sent.

    Raises:
        Problem: 400, it is not a dictionary of byte sequences.
    """
    if field is None:
        return None
    found, place = {}, 0
    while place < len(field) or not place:
        matched = _ITEM.match(field, place) if len(field) <= _LONGEST else None
        try:
            value = base64.b64decode(matched["value"], validate=True) if matched else None
        except binascii.Error:
            value = None
        if matched is None or value is None or (matched["name"] == "sha-256" and len(value) != 32):
            detail = f"{name}: such as `sha-256=:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:`."
            raise Problem(400, detail=detail)
        found[matched["name"]] = value
        place = matched.end()
    return found.get("sha-256")
