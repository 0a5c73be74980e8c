"""The Prefer field (RFC 7240); pure."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Literal, NamedTuple

from ..problems import Problem

__all__ = ["SERVER_TIMING", "Preferences", "asks_for", "parse_preferences"]

SERVER_TIMING = "server-timing"
"""Asks for an answer that says where its time went; our own preference, since none is registered for this."""

# The repetitions are possessive, so that the time is linear whatever a client sends.
_WORD = r"[!#$%&'*+.^_`|~0-9A-Za-z-]++"  # RFC 9110 §5.6.2
_VALUE = rf'(?:[ \t]*+=[ \t]*+({_WORD}|"(?:[^"\\]|\\.)*+"))?+'
_PREFERENCE = re.compile(rf"[ \t]*+({_WORD}){_VALUE}[ \t]*+(?:;[^,]*+)?+(?:,|$)")


class Preferences(NamedTuple):
    """The preferences of a client, as far as we support them.

    Attributes:
        representation: "minimal" if the answer to a write should not contain the document.
        strict: whether an unknown preference is an error.
    """

    representation: Literal["minimal", "representation"] | None = None
    strict: bool = False

    @property
    def applied(self) -> str:
        """Return the Preference-Applied field (RFC 7240 §3); empty if no preference was applied."""
        found = [f"return={self.representation}"] if self.representation else []
        return ", ".join([*found, "handling=strict"] if self.strict else found)


_NONE = Preferences()


def parse_preferences(field: str, known: Collection[str] = ()) -> Preferences:
    """Read a Prefer field; unknown or malformed preferences are ignored, unless handling is strict.

    Args:
        field: the field's value.
        known: further preferences, which the caller handles.

    Raises:
        Problem: 400, with handling=strict, for a preference that we do not support.
    """
    if not field:
        return _NONE
    given, readable = _given(field)
    strict = given.get("handling") == "strict"
    representation = given.get("return")
    valid = representation in (None, "minimal", "representation")
    if strict and not (valid and readable and given.keys() <= {"return", "handling", *known}):
        raise Problem.of("bad-preference", "handling=strict allows only return=minimal and return=representation.")
    if representation == "minimal":
        return Preferences("minimal", strict)
    return Preferences("representation" if representation == "representation" else None, strict)


def asks_for(field: str, name: str) -> bool:
    """Whether a Prefer field contains a preference."""
    return bool(field) and name in _given(field)[0]


def _given(field: str) -> tuple[dict[str, str], bool]:
    """Return the preferences by name, and whether the whole field could be read."""
    given: dict[str, str] = {}
    place = 0
    while place < len(field):
        match = _PREFERENCE.match(field, place)
        if match is None:
            return given, not field[place:].strip(" \t,")
        # RFC 7240 §2: if a preference occurs twice, the first counts.
        given.setdefault(match[1].lower(), (match[2] or "").strip('"'))
        place = match.end()
    return given, True
