"""The `type` of a document: which model it is of, and in which version; pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Self

__all__ = ["DocumentType"]

_TYPE = re.compile(r"(?P<name>[!-~]+)_v(?P<major>[0-9]{1,9})\.(?P<minor>[0-9]{1,9})")


@dataclass(frozen=True, order=True)
class DocumentType:
    """A document's `type`, NAME_vMAJOR.MINOR: ASCII without white space."""

    name: str
    major: int
    minor: int

    @classmethod
    def parse(cls, text: object) -> Self | None:
        """The parts of `text`; None if it is no such type."""
        parts = _parts(text) if isinstance(text, str) else None
        return parts and cls(*parts)

    def __str__(self) -> str:
        return f"{self.name}_v{self.major}.{self.minor}"


@lru_cache(maxsize=1024)  # a database has few types, and each of its documents has one
def _parts(text: str) -> tuple[str, int, int] | None:
    match = _TYPE.fullmatch(text)
    return match and (match["name"], int(match["major"]), int(match["minor"]))
