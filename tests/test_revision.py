"""Revisions: generation and digest, the order of leaves, and how CouchDB computes them."""

from __future__ import annotations

import enum
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.security.values import documents
from tornado_couch import Database, _json
from tornado_couch.revision import digest, generation, is_revision, printable, rank, revision_of

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


# What Apache CouchDB 3.5.0 gave: for each body, as it was sent, with its parent and its attachments.
VECTORS = json.loads((Path(__file__).parent / "data" / "revisions-couchdb-3.5.json").read_text())


@pytest.mark.parametrize("vector", VECTORS, ids=[each["what"] for each in VECTORS])
def test_a_revision_is_the_one_that_couchdb_gave(vector: dict[str, Any]) -> None:
    """Numbers of every kind, Unicode, nesting, deep generations, tombstones, attachments: the revision is CouchDB's."""
    files = [(name, kind, bytes.fromhex(md5)) for name, kind, md5 in vector["attachments"]]
    body = _json.loads(vector["body"])
    assert revision_of(vector["parent"], vector["deleted"], body, files) == vector["rev"]


@pytest.mark.parametrize(
    ("count", "revision"),
    [(65535, "1-6ad0827c6d9f4a908c7ef7836bc5107f"), (65536, "1-f506ca14fed24ceae5ed5437dcdd3914")],
)
def test_a_long_list_of_bytes_is_encoded_as_erlang_does(count: int, revision: str) -> None:
    """Up to 65,535 bytes are a string to Erlang, and more are a list; the revisions are CouchDB's."""
    assert revision_of(None, False, {"n": [7] * count}) == revision


@given(documents())
def test_what_is_written_and_read_gives_the_same_revision(document: dict[str, Any]) -> None:
    """The revision follows from the JSON text alone, whatever Python types it was written from."""
    body = {name: value for name, value in document.items() if not name.startswith("_")}
    assert revision_of(None, False, body) == revision_of(None, False, _json.loads(_json.dumps(body)))


def test_values_of_subclasses_count_as_what_they_are() -> None:
    """Enumerations, tuples and the like are encoded as the JSON that they are written as."""

    class Color(enum.StrEnum):
        RED = "red"

    class Number(enum.IntEnum):
        ONE = 1

    class Weight(float):
        pass

    sent = {"a": Color.RED, "b": Number.ONE, "c": (1, "x"), "d": Weight(1.5)}
    assert revision_of(None, False, sent) == revision_of(None, False, {"a": "red", "b": 1, "c": [1, "x"], "d": 1.5})


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "\ud800", {"\ud800": 1}])
def test_what_is_not_json_has_no_revision(value: object) -> None:
    """NaN, Infinity and lone surrogates are refused, and the message does not repeat the text."""
    with pytest.raises(ValueError, match=r"JSON|surrogate"):
        revision_of(None, False, {"x": value})


def test_a_revision_is_shown_in_one_line() -> None:
    """Of a log as well as of a terminal, whatever somebody put into it."""
    assert printable("3-abc é") == "3-abc é"
    assert printable("3-a\nERROR forged\x1b[2J") == r"3-a\nERROR forged\x1b[2J"
    assert len(printable("f" * 100_000)) < 1000


def test_other_values_have_no_revision() -> None:
    """A value that JSON cannot represent, or one that is nested too deeply, is refused."""
    with pytest.raises(TypeError, match="bytes"):
        revision_of(None, False, {"x": b""})
    value: Any = []
    for _ in range(100_000):
        value = [value]
    with pytest.raises(ValueError, match="nested too deeply"):
        revision_of(None, False, {"x": value})


async def test_the_server_computes_revisions_in_the_same_way(database: Database) -> None:
    """For each recorded body that begins a document, the server at hand gives the recorded revision."""
    firsts = [each for each in VECTORS if each["parent"] is None and not each["attachments"]]
    found = await database.bulk_docs([{"_id": each["what"], **_json.loads(each["body"])} for each in firsts])
    assert [each.rev for each in found] == [each["rev"] for each in firsts]
    assert len(found) > 60
