"""Regular expressions of Python as those of JavaScript (ECMAScript 5), for the database's own check; pure.

CouchDB's JavaScript engines differ in age: none of the newer syntax can be relied on, nor the `u` flag, so strings
are sequences of UTF-16 units there. What comes out matches the same texts as `re.search` does, code points beyond
U+FFFF and the digits of all scripts included, or is refused. Its characters are ASCII letters and digits, escapes
`\\uXXXX` and operators: no pattern can end the text that it is put into.
"""

from __future__ import annotations

import functools
import re
import sys
from collections.abc import Callable, Iterable

__all__ = ["UnsupportedPattern", "javascript_pattern", "portable_pattern"]

Ranges = list[tuple[int, int]]

_LAST = 0x10FFFF
_SURROGATES = (0xD800, 0xDFFF)
# In front of a lookahead: between the halves of a pair there is no place in Python's string.
_NOT_INSIDE_PAIR = "(?![\\uDC00-\\uDFFF])"
_ANY_BUT_LINE_FEED: Ranges = [(0, 9), (11, _LAST)]
_CONTROLS = {"t": 9, "n": 10, "v": 11, "f": 12, "r": 13, "a": 7}
_HEX = {"x": 2, "u": 4, "U": 8}
_COUNT = re.compile(r"\{(?:([0-9]+)|([0-9]*),([0-9]*))\}")


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
        UnsupportedPattern: it has what there is no way to say: lookbehind, references, word boundaries, flags.
    """
    try:
        re.compile(pattern)
    except (re.error, OverflowError, RecursionError):
        raise UnsupportedPattern("is no regular expression of Python") from None
    return _Translation(pattern, 0x7F if ascii_only else _LAST).whole()


class _Translation:
    """A walk through one pattern, which Python is known to take."""

    def __init__(self, pattern: str, last: int) -> None:
        self.text = pattern
        self.place = 0
        self.last = last

    def units(self, ranges: Ranges) -> str:
        return _units([(first, min(last, self.last)) for first, last in ranges if first <= self.last])

    def whole(self) -> str:
        found = self.alternatives()
        if self.place < len(self.text):
            raise UnsupportedPattern("has an unbalanced parenthesis")
        return found

    def take(self, start: str) -> bool:
        if self.text.startswith(start, self.place):
            self.place += len(start)
            return True
        return False

    def next(self) -> str:
        self.place += 1
        return self.text[self.place - 1]

    def alternatives(self) -> str:
        found = [self.sequence()]
        while self.take("|"):
            found.append(self.sequence())
        return "|".join(found)

    def sequence(self) -> str:
        found = []
        while self.place < len(self.text) and self.text[self.place] not in "|)":
            atom = self.atom()
            quantifier = self.quantifier()
            found.append(f"(?:{atom}){quantifier}" if quantifier else atom)
        return "".join(found)

    def quantifier(self) -> str:
        if self.place >= len(self.text):
            return ""
        if self.text[self.place] in "*+?":
            found = self.next()
        else:
            match = _COUNT.match(self.text, self.place)
            if match is None:
                return ""
            self.place = match.end()
            found = f"{{{match[1]}}}" if match[1] else f"{{{match[2] or 0},{match[3]}}}"
        if self.take("+"):
            raise UnsupportedPattern("has a possessive quantifier")
        return found + ("?" if self.take("?") else "")

    def atom(self) -> str:
        character = self.next()
        if character == "(":
            return self.group()
        if character == "[":
            return self.units(self.character_class())
        if character == ".":
            return self.units(_ANY_BUT_LINE_FEED)
        if character == "^":
            return "^"
        if character == "$":
            return "(?=\\n?$)"  # where Python matches it
        if character == "\\":
            return self.escape()
        return self.units([(ord(character), ord(character))])

    def group(self) -> str:
        if self.take("?"):
            for start in ("=", "!"):
                if self.take(start):
                    return f"{_NOT_INSIDE_PAIR}(?{start}{self.rest_of_group()})"
            if not self.take(":") and not self.named():
                raise UnsupportedPattern("has a group of a kind that older JavaScript lacks, such as (?<= or (?i)")
        # No group is referred to, so none has to be remembered.
        return f"(?:{self.rest_of_group()})"

    def named(self) -> bool:
        if not self.take("P<"):
            return False
        self.place = self.text.index(">", self.place) + 1
        return True

    def rest_of_group(self) -> str:
        found = self.alternatives()
        self.take(")")
        return found

    def escape(self) -> str:
        if self.take("A"):
            return "^"
        if self.take("Z"):
            return "$"
        if self.take("b") or self.take("B"):
            raise UnsupportedPattern("has a word boundary, which JavaScript knows for ASCII only")
        return self.units(self.escaped())

    def escaped(self) -> Ranges:
        """The characters that an escape stands for, in a class or outside."""
        letter = self.next()
        if letter in _CLASSES:
            return _CLASSES[letter]()
        if letter in _CONTROLS:
            return _single(_CONTROLS[letter])
        if letter in _HEX:
            digits = self.text[self.place : self.place + _HEX[letter]]
            self.place += len(digits)
            return _single(int(digits, 16))
        if letter.isdigit() or (letter.isascii() and letter.isalpha()):
            raise UnsupportedPattern(f"has \\{letter}, which means something else in JavaScript")
        return _single(ord(letter))

    def character_class(self) -> Ranges:
        negative = self.take("^")
        found: Ranges = []
        first = True
        while first or not self.take("]"):
            found += self.range()
            first = False
        return _complement(found) if negative else _sorted(found)

    def range(self) -> Ranges:
        start = self.class_character()
        follows = self.text[self.place : self.place + 2]
        if follows.startswith("-") and follows != "-]":
            self.place += 1
            return [(start[0][0], self.class_character()[0][0])]
        return start

    def class_character(self) -> Ranges:
        character = self.next()
        if character != "\\":
            return _single(ord(character))
        return _single(8) if self.take("b") else self.escaped()


def _single(code: int) -> Ranges:
    if _SURROGATES[0] <= code <= _SURROGATES[1]:
        raise UnsupportedPattern("has half of a surrogate pair")
    return [(code, code)]


def _where(holds: Callable[[str], bool]) -> Ranges:
    """The ranges of all characters of which something holds."""
    found: Ranges = []
    for code in range(sys.maxunicode + 1):
        if not holds(chr(code)):
            continue
        if found and found[-1][1] == code - 1:
            found[-1] = (found[-1][0], code)
        else:
            found.append((code, code))
    return found


@functools.cache
def _digits() -> Ranges:
    return _where(str.isdecimal)


@functools.cache
def _spaces() -> Ranges:
    return _where(str.isspace)


@functools.cache
def _words() -> Ranges:
    return _where(lambda character: character.isalnum() or character == "_")


_CLASSES: dict[str, Callable[[], Ranges]] = {
    "d": _digits,
    "D": lambda: _complement(_digits()),
    "s": _spaces,
    "S": lambda: _complement(_spaces()),
    "w": _words,
    "W": lambda: _complement(_words()),
}


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
    low, high = _SURROGATES
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
    found = [f"[{''.join(map(_span, plain))}]"] if plain else []
    return f"(?:{'|'.join([*found, *pairs])})" if pairs else found[0]


def _pairs(first: int, last: int) -> list[str]:
    """What matches the surrogate pairs of a range: those of its first lead, of the leads between, of its last lead."""
    found = []
    while first <= last:
        lead, trail = _lead(first), _trail(first)
        end = min(last, _code(lead, 0xDFFF))
        leads = (lead, lead)
        if trail == 0xDC00 and last >= _code(lead, 0xDFFF):
            leads = (lead, _lead(last) if _trail(last) == 0xDFFF else _lead(last) - 1)
            end = _code(leads[1], 0xDFFF)
        found.append(f"[{_span(leads)}][{_span((trail, _trail(end)))}]")
        first = end + 1
    return found


def _lead(code: int) -> int:
    return 0xD800 + ((code - 0x10000) >> 10)


def _trail(code: int) -> int:
    return 0xDC00 + ((code - 0x10000) & 0x3FF)


def _code(lead: int, trail: int) -> int:
    return 0x10000 + ((lead - 0xD800) << 10) + (trail - 0xDC00)


def _span(part: tuple[int, int]) -> str:
    return _unit(part[0]) if part[0] == part[1] else f"{_unit(part[0])}-{_unit(part[1])}"


def _unit(code: int) -> str:
    return chr(code) if code < 128 and chr(code).isalnum() else f"\\u{code:04X}"
