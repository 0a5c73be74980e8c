"""Quoting of ids and names."""

from __future__ import annotations

from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tornado_couch.couch import names

fit_text = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1)


@given(fit_text.filter(lambda text: not text.startswith("_")))
def test_an_id_is_one_segment_that_unquotes_to_itself(document_id: str) -> None:
    """Whatever the id, its path has three parts, none of which a URL library could take for `.` or `..`."""
    path = names.document("orchard", document_id).path
    _, database, segment = path.split("/")
    assert database == "orchard"
    assert unquote(segment, errors="strict") == document_id
    assert segment.isascii()
    assert segment not in (".", "..")
    assert not set(segment) & set("?#+ ;")


@pytest.mark.parametrize(
    ("document_id", "path", "template"),
    [
        ("a/b", "/db/a%2Fb", "/{db}/{id}"),
        ("%2F", "/db/%252F", "/{db}/{id}"),
        ("..", "/db/%2E%2E", "/{db}/{id}"),
        ("_design/a/b", "/db/_design/a%2Fb", "/{db}/_design/{ddoc}"),
        ("_local/..", "/db/_local/%2E%2E", "/{db}/_local/{id}"),
        ("Äpfel +?#", "/db/%C3%84pfel%20%2B%3F%23", "/{db}/{id}"),
    ],
)
def test_kinds_of_documents_have_their_paths(document_id: str, path: str, template: str) -> None:
    """Design and local documents keep their prefix; the rest of every id is quoted; the template is fixed."""
    assert names.document("db", document_id) == names.Address(path, template)


@pytest.mark.parametrize(
    "document_id", ["", "\ud800", "_x", "_design", "_design/", "_local/", "_all_docs"]
)
def test_what_can_be_no_id_is_refused(document_id: str) -> None:
    """Empty ids, lone surrogates and CouchDB's own words are refused before any request."""
    with pytest.raises(ValueError, match="document id"):
        names.document("db", document_id)


@pytest.mark.parametrize("name", ["", "_all_dbs", "_up", "a\0", "\udc00"])
def test_what_can_be_no_database_is_refused(name: str) -> None:
    """A name that is one of the server's endpoints is no database."""
    with pytest.raises(ValueError, match="database"):
        names.database(name)


def test_names_are_quoted_wherever_they_stand() -> None:
    """Databases, views and indexes are quoted like ids; CouchDB's own databases are known."""
    assert names.database("a/b+c", "_bulk_docs").path == "/a%2Fb%2Bc/_bulk_docs"
    assert names.database("_users").path == "/_users"
    assert names.view("db", "d/d", "v/ v").path == "/db/_design/d%2Fd/_view/v%2F%20v"
    assert names.view("db", "_design/d", "v") == names.view("db", "d", "v")
    assert names.index("db", "_design/d", "i/i").path == "/db/_index/d/json/i%2Fi"


def test_query_values_are_quoted() -> None:
    """Nothing in a value can end it or begin another parameter."""
    assert names.query({"key": '"a&b=c+d é"'}) == "?key=%22a%26b%3Dc%2Bd%20%C3%A9%22"
    assert names.query({}) == ""


@pytest.mark.parametrize(
    ("url", "base", "credentials"),
    [
        ("http://couch:5984", "http://couch:5984", None),
        ("https://couch/", "https://couch", None),
        ("http://[::1]:5984/", "http://[::1]:5984", None),
        ("http://u%40x:p%2F%3A@couch/prefix/", "http://couch/prefix", ("u@x", "p/:")),
        ("http://u@couch", "http://couch", ("u", "")),
        ("http://bücher.example", "http://xn--bcher-kva.example", None),
    ],
)
def test_a_url_is_taken_apart(url: str, base: str, credentials: tuple[str, str] | None) -> None:
    """Credentials leave the URL unquoted, and a path prefix stays."""
    assert names.base(url) == names.Base(base, credentials)


@pytest.mark.parametrize(
    "url", ["couch:5984", "ftp://couch", "http://", "http://couch?x=1", "http://couch/#a", "http://u:secret@couch:port"]
)
def test_a_url_of_another_kind_is_refused_without_being_quoted(url: str) -> None:
    """The message tells what is wrong, and never the password."""
    with pytest.raises(ValueError, match="CouchDB URL") as caught:
        names.base(url)
    assert "secret" not in str(caught.value)
