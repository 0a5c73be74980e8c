"""Range requests, byte for byte against a model, and the frame of multipart/byteranges."""

from __future__ import annotations

import email
import email.policy
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tornado_couch.web.http.ranges import Byteranges, Span, if_range_holds, requested_spans


@pytest.mark.parametrize(
    ("field", "spans"),
    [
        ("bytes=0-0", [(0, 0)]),
        ("bytes=2-4", [(2, 4)]),
        ("bytes=2-", [(2, 9)]),
        ("bytes=-3", [(7, 9)]),
        ("bytes=-100", [(0, 9)]),
        ("bytes=5-100", [(5, 9)]),
        ("BYTES = 5-6", [(5, 6)]),
        ("bytes=0-1,4-5", [(0, 1), (4, 5)]),
        ("bytes=4-5, ,0-1", [(4, 5), (0, 1)]),
        ("bytes=0-3,2-5", [(0, 5)]),
        ("bytes=0-1,2-3", [(0, 3)]),
        ("bytes=8-9,0-0,5-8", [(5, 9), (0, 0)]),
        ("bytes=10-", []),
        ("bytes=-0", []),
        ("bytes=20-30,0-1", [(0, 1)]),
    ],
)
def test_a_range_is_read_as_the_rfc_says(field: str, spans: list[tuple[int, int]]) -> None:
    """RFC 9110 §14.1.2: a file of ten bytes; what overlaps or touches is joined, and what is not there left out."""
    assert requested_spans(field, 10) == [Span(*each) for each in spans]


@pytest.mark.parametrize(
    "field",
    [
        *("", "bytes", "bytes=", "bytes=,", "bytes=a-b", "bytes=5-2", "bytes=1-2-3", "bytes=-", "bytes=1", "lines=1-2"),
        *("bytes=0-1;2-3", "bytes=+1-2", "bytes=0-1,x", "bytes=" + ",".join(f"{2 * n}-{2 * n}" for n in range(17))),
        "bytes=" + "0-1," * 1000,
    ],
)
def test_a_range_that_is_not_valid_is_ignored(field: str) -> None:
    """RFC 9110 §14.2: such a request is answered as if it had no Range; so is one for too many parts."""
    assert requested_spans(field, 100) is None


def test_the_end_of_an_empty_file_is_the_whole_file() -> None:
    """A suffix of an empty file is satisfiable, but Content-Range cannot say so; its first byte is not there."""
    assert requested_spans("bytes=-5", 0) is None
    assert requested_spans("bytes=0-", 0) == []


_NUMBERS = st.integers(0, 60)
_ITEMS = st.one_of(
    st.tuples(_NUMBERS, _NUMBERS).map(lambda pair: f"{min(pair)}-{max(pair)}"),
    _NUMBERS.map(lambda first: f"{first}-"),
    _NUMBERS.map(lambda count: f"-{count}"),
)


def _model(item: str, length: int) -> set[int]:
    """The positions that one element names."""
    first, _, last = item.partition("-")
    if not first:
        return set(list(range(length))[length - min(int(last), length) :])
    return set(range(int(first), length if not last else min(int(last) + 1, length)))


@given(st.lists(_ITEMS, min_size=1, max_size=8), st.integers(1, 50))
def test_ranges_name_exactly_the_bytes_of_their_elements(items: list[str], length: int) -> None:
    """No byte more and no byte less than the elements name, each once, in spans that are apart."""
    spans = requested_spans("bytes=" + ",".join(items), length)
    assert spans is not None
    positions = [position for each in spans for position in range(each.first, each.last + 1)]
    assert len(positions) == len(set(positions))
    assert set(positions) == set().union(*(_model(each, length) for each in items))
    ordered = sorted(spans, key=lambda each: each.first)
    assert all(left.last + 1 < right.first for left, right in pairwise(ordered))


@given(st.text(max_size=60), st.integers(0, 100))
def test_no_text_makes_the_reader_of_ranges_fail(text: str, length: int) -> None:
    """Whatever is sent, spans lie within the file."""
    for field in (text, f"bytes={text}"):
        for each in requested_spans(field, length) or []:
            assert 0 <= each.first <= each.last < length


def test_the_frame_of_parts_is_a_multipart_message() -> None:
    """RFC 9110 §14.6: another parser finds the same parts, and the length is known before."""
    content = bytes(range(100))
    spans = [Span(90, 99), Span(3, 5)]
    frame = Byteranges(spans, 100, "image/png")
    body = b"".join(frame.head(each) + content[each.first : each.last + 1] for each in spans) + frame.end
    assert len(body) == frame.total
    message = email.message_from_bytes(
        f"Content-Type: {frame.content_type}\r\n\r\n".encode() + body, policy=email.policy.HTTP
    )
    parts = list(message.iter_parts())  # type: ignore[attr-defined]
    assert [each["Content-Range"] for each in parts] == ["bytes 90-99/100", "bytes 3-5/100"]
    assert [each.get_content_type() for each in parts] == ["image/png"] * 2
    assert b"\r\n\r\n" + content[3:6] + frame.end in body


@pytest.mark.parametrize(
    ("field", "holds"),
    [
        *(('"abc"', True), ('W/"abc"', False), ('"other"', False), ("*", False), ('"abc", "x"', False)),
        *(("Tue, 15 Nov 1994 08:12:31 GMT", False), ("", False)),
    ],
)
def test_a_range_is_served_only_for_the_current_strong_tag(field: str, holds: bool) -> None:
    """RFC 9110 §13.1.5: a weak tag never matches; a date neither, as no file has one that is exact."""
    assert if_range_holds(field, "abc") is holds
