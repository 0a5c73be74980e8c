"""The Prefer field (RFC 7240); pure."""

from __future__ import annotations

import re
from typing import Literal, NamedTuple

from .problems import Problem

__all__ = ["Preferences", "parse_preferences"]

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


def parse_preferences(field: str) -> Preferences:
    """Read a Prefer field; what is unknown or unreadable is ignored, unless handling is strict.

    Raises:
        Problem: 400, with handling=strict, for a preference that we do not know.
    """
    given: dict[str, str] = {}
    place, readable = 0, True
    while place < len(field):
        match = _PREFERENCE.match(field, place)
        if match is None:
            readable = not field[place:].strip(" \t,")
            break
        # RFC 7240 §2: of a preference given twice, the first counts.
        given.setdefault(match[1].lower(), (match[2] or "").strip('"'))
        place = match.end()
    strict = given.get("handling") == "strict"
    representation = given.get("return")
    known = representation in (None, "minimal", "representation") and not given.keys() - {"return", "handling"}
    if strict and not (known and readable):
        raise Problem(400, "bad-preference", "With handling=strict only return=minimal and return=representation go.")
    if representation == "minimal":
        return Preferences("minimal", strict)
    return Preferences("representation" if representation == "representation" else None, strict)
