"""Request bodies as bytes: what is refused before any schema is asked."""

from __future__ import annotations

import gzip
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tornado.httputil import HTTPHeaders

from tornado_couch.web import BodyLimits, Problem
from tornado_couch.web.http.bodies import _parse, _parse_strictly, decode, parse_json
from tornado_couch.web.http.negotiation import accepts

LIMITS = BodyLimits(size=10_000_000, depth=5)

VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(), inner, max_size=2),
    max_leaves=5,
)


@given(VALUES)
async def test_a_json_value_is_read_as_it_was_written(value: Any) -> None:
    """Integers of any size and every character included."""
    text = json.dumps(value, ensure_ascii=False).encode()
    assert await parse_json(text, BodyLimits(depth=50)) == value


@pytest.mark.parametrize(
    "body",
    [
        b"", b"{", b"{}{}", b"{'a': 1}", b'{"a": NaN}', b"-Infinity", b'{"a": 1e999}', b"\xff\xfe", b'"\xc3"',
        b'{"a": 1, "a": 2}', b'{"b": {"a": 1, "a": 1}}', b'"\\ud800"', b'{"\\uDC00": 1}', b"[" * 100_000,
        b"[[[[[[]]]]]]", b'{"a":' * 6 + b"1" + b"}" * 6, b"9" * 5000, "\ufeff{}".encode(), b"\x00",
    ],
)  # fmt: skip
async def test_what_is_not_json_with_one_meaning_is_400(body: bytes) -> None:
    """Broken, not UTF-8, ambiguous, too deep, or a number or character that cannot be carried on."""
    with pytest.raises(Problem) as caught:
        await parse_json(body, LIMITS)
    assert caught.value.status_code == 400
    assert caught.value.detail


async def test_nesting_up_to_the_limit_is_fine() -> None:
    """Also when there are many brackets side by side."""
    assert await parse_json(b"[[[[[1]]]]]", LIMITS) == [[[[[1]]]]]
    assert len(await parse_json(b"[" + b",".join([b"[]"] * 1000) + b"]", LIMITS)) == 1000


async def test_a_body_with_too_many_members_is_413() -> None:
    """Those of all objects and arrays together; brackets and commas in text are none."""
    few = BodyLimits(members=5)
    assert await parse_json(b'{"a": [1, 2], "b": {"c": ",,,,[[[["}}', few)
    for body in (b"[1,2,3,4,5,6]", b'{"a": [1, 2], "b": [3, 4]}'):
        with pytest.raises(Problem) as caught:
            await parse_json(body, few)
        assert caught.value.status_code == 413


async def test_an_escaped_pair_of_surrogates_is_one_character() -> None:
    """It is the lone ones that no UTF-8 can carry."""
    assert await parse_json(b'"\\ud83c\\udf4e"', LIMITS) == "\N{RED APPLE}"


async def test_a_large_body_is_read_like_a_small_one() -> None:
    """It is parsed in a thread."""
    assert await parse_json(json.dumps(["x" * 100_000]).encode(), LIMITS) == ["x" * 100_000]


def headers(coding: str) -> HTTPHeaders:
    return HTTPHeaders({"Content-Encoding": coding})


def test_a_gzip_body_is_unpacked() -> None:
    """Under both of its names."""
    for coding in ("gzip", "X-GZip"):
        assert decode(gzip.compress(b"hello", mtime=0), headers(coding), 100) == b"hello"


@pytest.mark.parametrize(
    ("coding", "body", "status"),
    [
        ("gzip", gzip.compress(bytes(50_000_000), mtime=0), 413),
        ("gzip", b"no gzip", 400),
        ("gzip", gzip.compress(b"hello", mtime=0)[:-3], 400),
        ("br", b"x", 415),
        ("gzip, gzip", b"x", 415),
    ],
)
def test_a_coded_body_that_cannot_be_used_is_refused(coding: str, body: bytes, status: int) -> None:
    """A bomb is not unpacked beyond the limit."""
    with pytest.raises(Problem) as caught:
        decode(body, headers(coding), 1000)
    assert caught.value.status_code == status


@pytest.mark.parametrize(
    ("accept", "taken"),
    [
        ("*/*", True),
        ("", True),
        ("application/json", True),
        ("application/*;q=0.1", True),
        ("text/html, application/json;q=0.5", True),
        ("text/html", False),
        ("application/json;q=0", False),
        ("*/*, application/json;q=0", False),
        ("*/*;q=0, application/json", True),
        ("text/html, */*;q=0.8", True),
        ("APPLICATION/JSON", True),
    ],
)
def test_whether_an_accept_field_takes_json(accept: str, taken: bool) -> None:
    """The most specific range decides, and a weight of 0 excludes."""
    assert accepts(accept, "application/json") is taken


def verdict(parse: Any, body: bytes, limits: BodyLimits) -> tuple[str, str]:
    try:
        return "value", repr(parse(body, limits))
    except Problem as problem:
        return str(problem.status_code), str(problem.detail)


NAMES = st.sampled_from(["a", "b", ":", '":', ' "', "\\", "10:00", '": ', "{"])


@st.composite
def json_texts(draw: st.DrawFn, depth: int = 0) -> str:
    """JSON with spaces anywhere, names twice, and strings that look like names."""
    space = draw(st.sampled_from(["", " ", "\n", "\t\r"]))
    kind = draw(st.sampled_from(["text", "number", "list", "object", "object"][: None if depth < 3 else 2]))
    if kind == "text":
        return space + json.dumps(draw(NAMES)) + space
    if kind == "number":
        return draw(st.sampled_from(["1", "-1.5e3", "null", "12345678901234567890", "NaN", "1e999", "01"]))
    inner = [draw(json_texts(depth + 1)) for _ in range(draw(st.integers(0, 3)))]
    if kind == "list":
        return f"{space}[{','.join(inner)}{space}]"
    return "{" + ",".join(f"{space}{json.dumps(draw(NAMES))}{space}:{each}" for each in inner) + space + "}"


@given(json_texts(), st.integers(0, 4), st.integers(0, 8))
def test_the_fast_way_says_what_the_careful_one_says(text: str, depth: int, members: int) -> None:
    """The same value, or the same problem: a member twice, too deep, too many, no JSON."""
    limits = BodyLimits(depth=depth, members=members)
    assert verdict(_parse, text.encode(), limits) == verdict(_parse_strictly, text.encode(), limits)


@pytest.mark.parametrize(
    "body",
    [
        '{"a":1,"a":2}',
        '{"a" :1,"a":2}',
        '{"a":1,"a" :2}',
        '{"a"\n:1,"b":{"a":":x","a"\t:1}}',
        '{"a":"\\":","a" :1}',
        '[{"a":":","a"\r:":"}]',
        '{"a":1,"\\u0061":2}',
    ],
)
def test_a_member_twice_is_found_however_it_is_written(body: str) -> None:
    """With white space before the colon, beside strings that look like names, by an escape."""
    assert verdict(_parse, body.encode(), BodyLimits())[0] == "400"
