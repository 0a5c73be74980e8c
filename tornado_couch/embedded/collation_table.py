"""The collation weights of all of Unicode, from `pyuca`'s table, arranged as ICU arranges them.

Importing this module loads the table (0.1 s, 11 MB); only text beyond ASCII needs it.
"""

from __future__ import annotations

__all__ = ["weights"]

import unicodedata
from collections.abc import Iterator, Sequence
from typing import Any

from pyuca.collator import Collator_10_0_0

_TABLE: Any = Collator_10_0_0()
# CLDR gives these two fixed places, below and above every other character (UTS #35, "Root Collation").
_NONCHARACTERS = {0xFFFE: 1, 0xFFFF: 0xFFFE}


def weights(text: str) -> tuple[bytes, bytes, bytes]:
    """The primary, secondary and tertiary weights of a text, each as bytes to compare.

    Trailing secondary and tertiary weights of the most common kind are left out: no weight is less, so the order stays
    the same and ordinary text needs no bytes for them.
    """
    elements = list(_elements(text))
    primary = b"".join(_REORDERED.get(weight, weight).to_bytes(2, "big") for weight, _, _ in elements if weight)
    secondary = b"".join(_SECONDARY[weight] for _, weight, _ in elements if weight)
    tertiary = bytes(weight for _, _, weight in elements if weight)
    return primary, secondary.rstrip(_SECONDARY[0x20]), tertiary.rstrip(b"\x02")


def _elements(text: str) -> Iterator[Sequence[int]]:
    normalized = unicodedata.normalize("NFD", text)
    if "\ufffe" not in normalized and "\uffff" not in normalized:
        yield from _TABLE.collation_elements(normalized)
        return
    for char in normalized:
        fixed = _NONCHARACTERS.get(ord(char))
        yield from [(fixed, 0x20, 2)] if fixed else _TABLE.collation_elements(char)


class _Secondary(dict[int, bytes]):
    """One byte for the low weights, two for the few high ones, in the same order; no byte is zero."""

    def __missing__(self, weight: int) -> bytes:
        low = weight - 0x1F
        code = bytes([low]) if low < 0xE0 else bytes([0xE0 + (low - 0xE0) // 254, 1 + (low - 0xE0) % 254])
        self[weight] = code
        return code


_SECONDARY = _Secondary()


def _group(char: str) -> int:
    category = unicodedata.category(char)
    if category[0] == "Z" or category == "Cc":
        return 0
    if category[0] == "P":
        return 1
    return 3 if category == "Sc" else 2


def _reorder() -> dict[int, int]:
    """CLDR's arrangement of the characters below the digits: spaces, punctuation, symbols, currency (UTS #35).

    The table mixes these four; within each group, its order is kept.
    """
    first_digit: int = _TABLE.table.root.children[ord("0")].value[0][0]
    found: dict[int, tuple[int, int]] = {}
    for code, node in _TABLE.table.root.children.items():
        if not node.value or len(node.value) != 1 or not 0 < node.value[0][0] < first_digit:
            continue
        char = chr(code)
        if unicodedata.normalize("NFD", char) != char or unicodedata.category(char) == "Cn":
            continue
        primary, _, tertiary = node.value[0]
        # Several characters share a primary weight; the plainest of them determines its group.
        if primary not in found or tertiary < found[primary][1]:
            found[primary] = (_group(char), tertiary)
    arranged = sorted(found, key=lambda primary: (found[primary][0], primary))
    return dict(zip(arranged, sorted(found), strict=True))


_REORDERED = _reorder()
