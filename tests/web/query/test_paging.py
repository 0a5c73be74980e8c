"""Cursors and limits."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tornado_couch.web import Problem
from tornado_couch.web.query.cursors import Cursor, CursorCodec, page_link, parse_limit

CODEC = CursorCodec(b"a key of this test")
KEYS = st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists, max_leaves=4)


@given(KEYS, st.text(), st.booleans(), st.booleans())
def test_a_cursor_gives_its_place_back(key: object, document_id: str, backward: bool, inclusive: bool) -> None:
    """Whatever JSON value the key is; another process with the same secret can read it."""
    cursor = Cursor(key, document_id, backward, inclusive)
    text = CODEC.encode(cursor, "/fruits")
    assert CursorCodec(b"a key of this test").decode(text, "/fruits") == cursor


@given(st.data())
def test_no_edited_cursor_is_taken(data: st.DataObject) -> None:
    """Changing, adding or removing any character makes it a forgery."""
    cursor = CODEC.encode(Cursor("red", "f1"), "/fruits")
    place = data.draw(st.integers(0, len(cursor)))
    length = data.draw(st.integers(0, 3))
    edited = cursor[:place] + data.draw(st.text("AZaz09-_=", max_size=3)) + cursor[place + length :]
    if edited != cursor:
        with pytest.raises(Problem):
            CODEC.decode(edited, "/fruits")


@pytest.mark.parametrize("cursor", ["", "x", "é", "====", "AAAA", "A" * 5000, "\x00"])
def test_nonsense_is_no_cursor(cursor: str) -> None:
    """It is a 400, whatever it holds."""
    with pytest.raises(Problem) as caught:
        CODEC.decode(cursor, "/fruits")
    assert caught.value.status_code == 400


def test_a_cursor_is_good_for_its_own_collection_and_secret_only() -> None:
    """Borrowed from elsewhere it is a forgery."""
    cursor = CODEC.encode(Cursor("red", "f1"), "/fruits")
    for codec, scope in ((CODEC, "/fruits?x"), (CursorCodec(b"another"), "/fruits")):
        with pytest.raises(Problem):
            codec.decode(cursor, scope)


@pytest.mark.parametrize("text", ["0", "-1", "x", "", "1.5", "٣", "00", " 1", "+1"])
def test_a_limit_that_is_no_positive_integer_is_400(text: str) -> None:
    """Digits of other scripts included."""
    with pytest.raises(Problem) as caught:
        parse_limit(text, 50, 100)
    assert caught.value.status_code == 400


def test_a_limit_is_capped_and_has_a_default() -> None:
    """A client cannot ask for everything at once."""
    assert [parse_limit(text, 50, 100) for text in (None, "7", "007", "101", "1" * 5000)] == [50, 7, 7, 100, 100]


def test_the_address_of_a_page_keeps_every_parameter() -> None:
    """Repeated ones, too, and quoted; the cursor is another."""
    address = page_link("/fruits", [("color", "a+b"), ("color", "&"), ("cursor", "old"), ("limit", "2")], "new")
    assert address == "/fruits?color=a%2Bb&color=%26&limit=2&cursor=new"
