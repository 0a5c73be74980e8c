"""Revisions: generation and digest, and the order of leaves."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tornado_couch.revision import digest, generation, is_revision, rank

digests = st.text("0123456789abcdef", min_size=32, max_size=32)


@given(st.integers(0, 10**18 - 1), digests)
def test_a_revision_has_a_generation_and_a_digest(number: int, text: str) -> None:
    """What CouchDB gives is read."""
    revision = f"{number}-{text}"
    assert is_revision(revision)
    assert (generation(revision), digest(revision)) == (number, text)


@given(st.lists(st.tuples(st.integers(1, 50), digests), min_size=1))
def test_leaves_are_ordered_by_generation_and_then_by_digest(pairs: list[tuple[int, str]]) -> None:
    """The tenth generation comes after the ninth, although its text does not."""
    revisions = sorted((f"{number}-{text}" for number, text in pairs), key=rank)
    assert [rank(each) for each in revisions] == sorted(pairs)


@pytest.mark.parametrize("text", ["", "-", "a-b", "1", "1-", "-1-a", "\u0661-a", "1" * 19 + "-a", "1.0-a", " 1-a"])
def test_other_texts_are_not_revisions(text: str) -> None:
    """A number of ASCII digits, a hyphen, a digest; a number that long is nobody's generation."""
    assert not is_revision(text)


@given(st.text())
def test_no_text_is_an_error(text: str) -> None:
    """Another program may have stored anything where a revision is expected."""
    assert isinstance(rank(text)[0], int)
