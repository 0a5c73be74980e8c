"""Python's regular expressions in JavaScript: the same verdict on every text, or a refusal."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from functools import cache

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from quickjs import Context

from tornado_couch.models.schema.javascript_patterns import UnsupportedPattern, javascript_pattern, portable_pattern


@cache
def _engine() -> Callable[[str], str]:
    context = Context()
    function: Callable[[str], str] = context.eval(
        "(function (text) { var parts = JSON.parse(text), expression = new RegExp(parts[0]);"
        " return JSON.stringify(parts[1].map(function (each) { return expression.test(each); })); })"
    )
    return function


def found_in(pattern: str, texts: list[str], *, ascii_only: bool = False) -> list[bool]:
    """In which texts JavaScript finds the translated pattern."""
    source = javascript_pattern(pattern, ascii_only=ascii_only)
    verdicts: list[bool] = json.loads(_engine()(json.dumps([source, texts])))
    return verdicts


ALPHABET = "ab0_- \n\r\u2028é٣😀🍎\ufffd"  # with an Arabic digit, a line separator, and what needs two units
TEXTS = st.lists(st.text(ALPHABET, max_size=6), min_size=1, max_size=8)

escapes = ["\\u0061", "\\U0001F600", "\\x61", "\\060", "\\n"]
literals = st.sampled_from([*ALPHABET.replace("-", ""), *map(re.escape, "-.$^|()[]{}*+?\\/"), *escapes])
classes = st.sampled_from(["\\d", "\\w", "\\s", "\\D", "\\W", "\\S"])
members = st.one_of(
    st.sampled_from(["a", "0", "é", "😀", "\\n", "\\]", "\\-", "\\\\", "a-b", "0-٣", "é-🍎", "🍎-😀", "a-😀"]), classes
)
sets = st.builds(
    lambda sign, parts: f"[{sign}{''.join(parts)}]", st.sampled_from(["", "^"]), st.lists(members, min_size=1)
)
atoms = st.one_of(literals, classes, sets, st.just("."))
quantifiers = st.sampled_from(["", "", "*", "+", "?", "{2}", "{1,2}", "{,2}", "{1,}", "*?", "+?", "??", "{0,1}?"])


def _grown(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    grouped = st.builds(
        lambda start, text, count: f"({start}{text}){count}",
        st.sampled_from(["", "?:", "?P<name>"]),
        inner.filter(lambda text: "?P<" not in text),
        quantifiers,
    )
    looking = st.builds(lambda start, text: f"(?{start}{text})", st.sampled_from("=!"), inner)
    joined = st.lists(inner, min_size=2, max_size=3)
    return st.one_of(grouped, looking, joined.map("".join), joined.map("|".join))


pieces = st.builds(str.__add__, atoms, quantifiers) | st.sampled_from(["^", "$", "\\A", "\\Z"])
patterns = st.recursive(pieces, _grown, max_leaves=6).filter(lambda text: text.count("?P<") < 2)


@given(patterns, TEXTS)
@example("^a$", ["a\n", "a", "a\n\n"])
@example("(?!.)(?!$)", ["😀"])
@example("[^a]", ["😀"])
@example("^.{1,2}$", ["😀🍎", "\u2028\r"])
@example("a(?#note)b|(?!)", ["ab", "a"])
@settings(max_examples=200, deadline=None)
def test_javascript_finds_what_python_finds(pattern: str, texts: list[str]) -> None:
    """For generated patterns and texts, those beyond U+FFFF and of several lines included."""
    assert found_in(pattern, texts) == [re.search(pattern, text) is not None for text in texts]
    plain = [text for text in texts if text.isascii()]
    assert found_in(pattern, plain, ascii_only=True) == [re.search(pattern, text) is not None for text in plain]


def test_classes_are_those_of_python() -> None:
    """Digits, letters and spaces of every script: each of Unicode's characters, one by one."""
    every = [
        chr(code) for code in range(0x110000) if not 0xD800 <= code <= 0xDFFF and (code < 0x3000 or code % 17 == 0)
    ]
    for escape in ("\\d", "\\w", "\\s", "."):
        expression = re.compile(escape)
        assert found_in(escape, every) == [expression.search(each) is not None for each in every]


@pytest.mark.parametrize(
    "pattern",
    [
        "(?<=a)b",
        "(?<!a)b",
        "(?i)a",
        "(?i:a)",
        "(a)\\1",
        "(?P<x>a)(?P=x)",
        "\\bword",
        "\\x0",
        "(?>a)b",
        "a++",
        "(a)?(?(1)b|c)",
        "(?x) a",
        "\\ud800",
    ],
)
def test_what_cannot_be_said_is_refused(pattern: str) -> None:
    """Rather than said wrongly: lookbehind, flags, references, word boundaries, halves of characters."""
    with pytest.raises(UnsupportedPattern):
        javascript_pattern(pattern)


@pytest.mark.parametrize("pattern", ["(", "a**", "[b-a]", "a{2,1}", "*", "(?P<1>a)", "a" + "(" * 5000])
def test_what_is_no_pattern_is_refused(pattern: str) -> None:
    """With the same error, however wrong it is."""
    with pytest.raises(UnsupportedPattern):
        javascript_pattern(pattern)


@given(st.text(min_size=1))
@example('"];throw({});//')
@example("\u2028*/")
@settings(deadline=None)
def test_a_translation_is_made_of_harmless_characters(text: str) -> None:
    """Whatever stands in a pattern, its translation could end neither a string nor a regular expression literal."""
    try:
        translated = javascript_pattern(re.escape(text))
    except UnsupportedPattern:
        assert any("\ud800" <= sign <= "\udfff" for sign in text)  # only halves of surrogate pairs are refused
        return
    assert re.fullmatch(
        r"[A-Za-z0-9()\[\]{}?:=!|,$^*+-]*(?:\\u[0-9A-F]{4}[A-Za-z0-9()\[\]{}?:=!|,$^*+-]*)*", translated
    )


@pytest.mark.parametrize("pattern", ["^a$", "a$|b$", "[$]$", "\\$$", "(?:a$)"])
def test_portable_patterns_end_at_the_end(pattern: str) -> None:
    """Python's `$` also matches before a last line feed; there a portable pattern does not, and elsewhere as before."""
    portable = re.compile(portable_pattern(pattern))
    for text in ("a", "b", "$", "a$", "xa"):
        assert bool(portable.search(text)) == bool(re.search(pattern, text))
        assert not portable.search(text + "\n")
