"""Regular expressions of Python as those of JavaScript (ECMAScript 5), for the database's own check; pure.

CouchDB's JavaScript engines differ in age: none of the newer syntax can be relied on, nor the `u` flag, so strings
are sequences of UTF-16 units there. What comes out matches the same texts as `re.search` does, code points beyond
U+FFFF and the digits of all scripts included, or is refused. Its characters are ASCII letters and digits, escapes
`\\uXXXX` and operators: no pattern can end the text that it is put into.

Python's own parser reads the patterns. It is not public, but has kept its form since Python 3.7, and the tests compare
translations with `re.search`. Without the pairs of UTF-16 units, `.` and `[^/]` would count an emoji as two; without
the tables, `\\d` and `\\w` would refuse what the service accepts.
"""

from __future__ import annotations

import functools
import re
import sys
from array import array
from collections.abc import Iterable, Iterator
from itertools import groupby
from re import _constants as sre  # type: ignore[attr-defined]  # not public, and so unknown to mypy
from re import _parser  # type: ignore[attr-defined]
from typing import Any

__all__ = ["UnsupportedPattern", "javascript_pattern", "portable_pattern"]

Ranges = list[tuple[int, int]]

_LAST = 0x10FFFF
_SURROGATES = range(0xD800, 0xE000)
# In front of a lookahead: between the halves of a pair there is no place in Python's string.
_NOT_INSIDE_PAIR = "(?![\\uDC00-\\uDFFF])"
_LINE_FEED: Ranges = [(10, 10)]
_PLACES = {
    sre.AT_BEGINNING: "^",
    sre.AT_BEGINNING_STRING: "^",
    sre.AT_END: "(?=\\n?$)",  # where Python matches `$`
    sre.AT_END_STRING: "$",
}

_REFUSED = {
    sre.ASSERT: "a lookbehind",
    sre.ASSERT_NOT: "a lookbehind",
    sre.AT: "a word boundary",
    sre.GROUPREF: "a reference to a group",
    sre.SUBPATTERN: "flags",
}


class UnsupportedPattern(ValueError):
    """A pattern has something that cannot be said in JavaScript's older syntax."""


def portable_pattern(pattern: str) -> str:
    """The pattern with each `$` meaning the end and nothing else, as JSON Schema has it.

    Python also lets it match before a line feed at the end, where other engines do not.
    """
    found, in_class, place = [], False, 0
    while place < len(pattern):
        character = pattern[place]
        if character == "\\":
            found.append(pattern[place : place + 2])
            place += 2
            continue
        in_class = (in_class or character == "[") and not (in_class and character == "]")
        found.append("$(?!\\n)" if character == "$" and not in_class else character)
        place += 1
    return "".join(found)


@functools.lru_cache(maxsize=256)
def javascript_pattern(pattern: str, *, ascii_only: bool = False) -> str:
    """The source of a JavaScript RegExp (without flags) that finds what `re.search` does.

    Args:
        pattern: Python's.
        ascii_only: it is asked about texts in ASCII only, and may be short: `\\w` for every script takes 12 KB.

    Raises:
        UnsupportedPattern: JavaScript cannot express it: it has a lookbehind, a reference, a word boundary or flags.
    """
    try:
        parsed = _parser.parse(pattern)
        if parsed.state.flags & ~re.UNICODE:
            raise UnsupportedPattern("has flags, which JavaScript has for whole expressions only")
        return _Translation(0x7F if ascii_only else _LAST).sequence(parsed)
    except (re.error, OverflowError, RecursionError):
        raise UnsupportedPattern("is not a regular expression in Python's syntax") from None


class _Translation:
    """Writes down what Python's parser has read, for characters up to the last one."""

    def __init__(self, last: int) -> None:
        self.last = last

    def sequence(self, parsed: Iterable[tuple[Any, Any]]) -> str:
        return "".join(self.part(operator, argument) for operator, argument in parsed)

    def part(self, operator: Any, argument: Any) -> str:
        match operator, argument:
            case sre.BRANCH, (_, branches):
                return f"(?:{'|'.join(map(self.sequence, branches))})"
            # No group is referred to, so none has to be remembered.
            case sre.SUBPATTERN, (_, 0, 0, inner):
                return f"(?:{self.sequence(inner)})"
            case ((sre.MAX_REPEAT | sre.MIN_REPEAT), (least, most, inner)):
                count = f"{{{least},{'' if most is sre.MAXREPEAT else most}}}"
                return f"(?:{self.sequence(inner)}){count}{'?' if operator is sre.MIN_REPEAT else ''}"
            case ((sre.ASSERT | sre.ASSERT_NOT), (1, inner)):
                return f"{_NOT_INSIDE_PAIR}(?{'=' if operator is sre.ASSERT else '!'}{self.sequence(inner)})"
            case sre.FAILURE, _:  # `(?!)`
                return "[]"
            case sre.AT, place if place in _PLACES:
                return _PLACES[place]
            case sre.ANY, _:
                return self.units(_complement(_LINE_FEED))
            case ((sre.LITERAL | sre.NOT_LITERAL | sre.IN), _):
                return self.units(_characters(argument if operator is sre.IN else [(operator, argument)]))
        refused = _REFUSED.get(operator, "syntax")
        raise UnsupportedPattern(f"has {refused} that older JavaScript does not have, or reads in another way")

    def units(self, ranges: Ranges) -> str:
        return _units([(first, min(last, self.last)) for first, last in ranges if first <= self.last])


def _characters(items: Iterable[tuple[Any, Any]]) -> Ranges:
    """The characters that a class has."""
    found: Ranges = []
    negative = False
    for operator, argument in items:
        if operator is sre.CATEGORY:
            found += _category(argument)
        elif operator is sre.NEGATE:
            negative = True
        else:
            first, last = argument if operator is sre.RANGE else (argument, argument)
            if first in _SURROGATES or last in _SURROGATES:
                raise UnsupportedPattern("has half of a surrogate pair")
            negative = negative or operator is sre.NOT_LITERAL
            found.append((first, last))
    return _complement(found) if negative else _sorted(found)


def _category(category: Any) -> Ranges:
    name = str(category).removeprefix("CATEGORY_")
    ranges = _of_category(name.removeprefix("NOT_"))
    return _complement(ranges) if name.startswith("NOT_") else ranges


@functools.cache
def _of_category(name: str) -> Ranges:
    """The ranges of all characters that `\\d`, `\\s` or `\\w` matches."""
    codes = array("I", range(sys.maxunicode + 1)).tobytes()  # decoding them takes a fifth of the time of `chr`
    every = codes.decode(f"utf-32-{sys.byteorder[0]}e", "surrogatepass")
    runs = re.finditer({"DIGIT": r"\d+", "SPACE": r"\s+", "WORD": r"\w+"}[name], every)
    return [(run.start(), run.end() - 1) for run in runs]


def _sorted(ranges: Iterable[tuple[int, int]]) -> Ranges:
    """The same characters in order, with nothing twice."""
    found: Ranges = []
    for first, last in sorted(ranges):
        if found and first <= found[-1][1] + 1:
            found[-1] = (found[-1][0], max(last, found[-1][1]))
        else:
            found.append((first, last))
    return found


def _complement(ranges: Iterable[tuple[int, int]]) -> Ranges:
    found, start = [], 0
    for first, last in _sorted(ranges):
        if start < first:
            found.append((start, first - 1))
        start = last + 1
    return [*found, (start, _LAST)] if start <= _LAST else found


def _units(ranges: Ranges) -> str:
    """What matches one of these characters, in UTF-16 units; all of it in one group."""
    low, high = _SURROGATES[0], _SURROGATES[-1]
    plain = [
        part
        for first, last in ranges
        for part in ((first, min(last, low - 1)), (max(first, high + 1), min(last, 0xFFFF)))
        if part[0] <= part[1]
    ]
    if len(plain) == len(ranges) == 1 and plain[0][0] == plain[0][1]:
        return _unit(plain[0][0])
    pairs = [pair for first, last in ranges if last > 0xFFFF for pair in _pairs(max(first, 0x10000), last)]
    if not plain and not pairs:
        return "[]"  # matches nothing
    found = [f"[{''.join(_span(*part) for part in plain)}]"] if plain else []
    return f"(?:{'|'.join([*found, *pairs])})" if pairs else found[0]


def _pairs(first: int, last: int) -> Iterator[str]:
    """What matches the surrogate pairs of a range: leads that have the same trails go together."""
    (first_lead, first_trail), (last_lead, last_trail) = (divmod(code - 0x10000, 0x400) for code in (first, last))

    def trails(lead: int) -> tuple[int, int]:
        return first_trail if lead == first_lead else 0, last_trail if lead == last_lead else 0x3FF

    for (begin, end), group in groupby(range(first_lead, last_lead + 1), trails):
        leads = list(group)
        yield f"[{_span(0xD800 + leads[0], 0xD800 + leads[-1])}][{_span(0xDC00 + begin, 0xDC00 + end)}]"


def _span(first: int, last: int) -> str:
    return _unit(first) if first == last else f"{_unit(first)}-{_unit(last)}"


def _unit(code: int) -> str:
    return chr(code) if code < 128 and chr(code).isalnum() else f"\\u{code:04X}"
