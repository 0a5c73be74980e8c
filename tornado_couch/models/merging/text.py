"""Three-way merges of text, line by line; pure. The package `reconcile-text` does it (the extra `text`).

It merges texts character by character as well, and its own lines are words of a kind: two lines that both sides
changed it would put together into one. So each different line is made a character of its own before, and a line again
afterwards. No line is ever cut, and where both sides changed the same lines both versions stay, one after the other.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from functools import cache
from typing import Any

__all__ = ["is_installed", "merge_lines"]

# Characters beyond the first 65,536, where there are neither surrogates nor any that join with their neighbours.
_FIRST, _LAST = 0x20000, 0x10FFFF


def is_installed() -> bool:
    """Whether the package is there."""
    return importlib.util.find_spec("reconcile_text") is not None


def merge_lines(base: str, one: str, other: str) -> str | None:
    """The text with the changes of both sides; None where there are too many different lines.

    Args:
        base: the common ancestor.
        one: a side; its lines come first where both sides changed the same ones.
        other: the other side.
    """
    characters: dict[str, str] = {}
    texts = [_encoded(each, characters) for each in (base, one, other)]
    if len(characters) > _LAST - _FIRST + 1:
        return None
    lines = {character: line for line, character in characters.items()}
    merged: str = _reconcile()(texts[0], texts[1], texts[2], "Character")["text"]
    return "\n".join(lines[character] for character in merged)


def _encoded(text: str, characters: dict[str, str]) -> str:
    # Not `splitlines`: a line feed alone ends a line, so that joining gives back what was split.
    return "".join(characters.setdefault(line, chr(min(_FIRST + len(characters), _LAST))) for line in text.split("\n"))


@cache
def _reconcile() -> Callable[..., Any]:
    from reconcile_text import reconcile

    function: Callable[..., Any] = reconcile
    return function
