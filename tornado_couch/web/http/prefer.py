"""The Prefer field (RFC 7240); pure."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Literal, NamedTuple

from ..problems import Problem

__all__ = ["SERVER_TIMING", "Preferences", "asks_for", "parse_preferences"]

SERVER_TIMING = "server-timing"
"""Prefers an answer that says where its time went; of our own, since there is no registered word for it."""

_WORD = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"  # RFC 9110 §5.6.2
_PREFERENCE = re.compile(rf'[ \t]*({_WORD})(?:[ \t]*=[ \t]*({_WORD}|"(?:[^"\\]|\\.)*"))?[ \t]*(?:;[^,]*)?(?:,|$)')


class Preferences(NamedTuple):
    """What a client prefers, of what we know.

    Attributes:
        representation: "minimal" for an answer to a write without the document.
        strict: an unknown preference is an error.
    """

    representation: Literal["minimal", "representation"] | None = None
    strict: bool = False

    @property
    def applied(self) -> str:
        """The Preference-Applied field (RFC 7240 §3); empty where there is nothing to say."""
        found = [f"return={self.representation}"] if self.representation else []
        return ", ".join([*found, "handling=strict"] if self.strict else found)


_NONE = Preferences()


def parse_preferences(field: str, known: Collection[str] = ()) -> Preferences:
    """Read a Prefer field; what is unknown or unreadable is ignored, unless handling is strict.

    Args:
        field: the field.
        known: further preferences that somebody else sees to.

    Raises:
        Problem: 400, with handling=strict, for a preference that we do not know.
    """
    if not field:
        return _NONE
    given, readable = _given(field)
    strict = given.get("handling") == "strict"
    representation = given.get("return")
    valid = representation in (None, "minimal", "representation")
    if strict and not (valid and readable and given.keys() <= {"return", "handling", *known}):
        raise Problem.of("bad-preference", "With handling=strict only return=minimal and return=representation go.")
    if representation == "minimal":
        return Preferences("minimal", strict)
    return Preferences("representation" if representation == "representation" else None, strict)


def asks_for(field: str, name: str) -> bool:
    """Whether a Prefer field holds a preference."""
    return bool(field) and name in _given(field)[0]


def _given(field: str) -> tuple[dict[str, str], bool]:
    """The preferences by name, and whether all of the field could be read."""
    given: dict[str, str] = {}
    place = 0
    while place < len(field):
        match = _PREFERENCE.match(field, place)
        if match is None:
            return given, not field[place:].strip(" \t,")
        # RFC 7240 §2: of a preference given twice, the first counts.
        given.setdefault(match[1].lower(), (match[2] or "").strip('"'))
        place = match.end()
    return given, True
