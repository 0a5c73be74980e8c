"""Views: what is in an index, and what a query makes of it."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.embedded.engine import Engine, design, engine, refusal
from tornado_couch.embedded.collation import sort_key
from tornado_couch.embedded.problems import Problem
from tornado_couch.embedded.views.engine import ViewReply
from tornado_couch.embedded.views.parameters import view_parameters, view_queries

BY_N = design("function (doc) { emit(doc.n, doc.g) }")
BY_GROUP = design("function (doc) { emit(doc.g, doc.n) }", "_sum")


@pytest.fixture
def empty() -> Iterator[Engine]:
    """An engine without documents."""
    with engine() as made:
        yield made


@pytest.fixture(scope="module")
def ten() -> Iterator[Engine]:
    """Ten documents 00 to 09 with n and its remainder g by three; no test changes them."""
    with engine() as made:
        made.documents.put(*({"_id": f"{n:02}", "n": n, "g": n % 3} for n in range(10)))
        yield made


def keys(held: Engine, text: str, **parameters: Any) -> list[Any]:
    return [key for key, _ in held.rows(text, **parameters)]


# ---- what is in an index


def test_an_index_follows_writes_changes_and_deletions(empty: Engine) -> None:
    """Only what changed is mapped again."""
    empty.documents.put({"_id": "a", "n": 1}, {"_id": "b", "n": 2})
    assert keys(empty, BY_N) == [1, 2]
    fetched = empty.documents.fetched
    empty.documents.put({"_id": "a", "n": 3})
    assert keys(empty, BY_N) == [2, 3]
    empty.documents.put({"_id": "b", "_deleted": True})
    assert empty.reply(BY_N) | {"rows": []} == {"total_rows": 1, "offset": 0, "rows": []}
    assert empty.documents.fetched - fetched == 2


def test_a_document_may_emit_many_rows(empty: Engine) -> None:
    """Rows of one key and document keep the order in which they were emitted, in both directions."""
    empty.documents.put({"_id": "a"}, {"_id": "b"})
    text = design("(doc) => { for (const v of 'zyx') emit(1, doc._id + v) }")
    assert [value for _, value in empty.rows(text)] == ["az", "ay", "ax", "bz", "by", "bx"]
    assert [value for _, value in empty.rows(text, descending=True)] == ["bz", "by", "bx", "az", "ay", "ax"]


def test_a_map_that_throws_leaves_out_its_document(empty: Engine) -> None:
    """Also what it had emitted before."""
    empty.documents.put({"_id": "a", "n": 1}, {"_id": "b"})
    assert keys(empty, design("(doc) => { emit(1); emit(doc.n.toFixed(1)) }")) == [1, "1.0"]


def test_a_fatal_error_fails_the_query(empty: Engine) -> None:
    """A map asks for it by throwing "fatal_error" or ["fatal", error, reason]."""
    empty.documents.put({"_id": "a"})
    for source, error in (("throw 'fatal_error'", "map_runtime_error"), ("throw ['fatal', 'mine', 'why']", "mine")):
        assert refusal(empty.rows, design(f"(doc) => {{ {source} }}"))[:2] == (500, error)


def test_design_documents_are_mapped_when_the_options_say_so(empty: Engine) -> None:
    """`include_design`; otherwise they are left out."""
    empty.documents.put({"_id": "a"}, {"_id": "_design/d"})
    source = "(doc) => emit(doc._id)"
    assert keys(empty, design(source)) == ["a"]
    assert keys(empty, design(source, options={"include_design": True})) == ["_design/d", "a"]


def test_raw_collation_is_by_bytes(empty: Engine) -> None:
    """`options.collation` "raw": numbers, then booleans and null, objects, arrays, text."""
    held = ["b", "A", "a", [1], {"a": 1}, None, True, 2, False]
    empty.documents.put(*({"_id": str(place), "k": key} for place, key in enumerate(held)))
    raw = design("(doc) => emit(doc.k)", "_count", options={"collation": "raw"})
    order = [2, False, None, True, {"a": 1}, [1], "A", "a", "b"]
    assert keys(empty, raw, reduce=False) == order
    assert keys(empty, raw, reduce=False, startkey="A", endkey="a") == ["A", "a"]
    assert keys(empty, raw, group_level=1) == order


def test_views_with_the_same_map_share_their_rows(empty: Engine) -> None:
    """Different reduces of one map, also in another design document, need no second index."""
    empty.documents.put({"_id": "a", "n": 5})
    source = "(doc) => emit(doc.n, doc.n)"
    assert empty.rows(design(source, "_sum")) == [(None, 5)]
    fetched = empty.documents.fetched
    assert empty.rows(design(source, "_count", _id="_design/other")) == [(None, 1)]
    assert empty.documents.fetched == fetched


def test_one_thread_updates_and_the_others_wait(empty: Engine) -> None:
    """Many threads that ask at once get the whole view, and each change is read once."""
    empty.documents.put(*({"_id": str(n), "n": n} for n in range(600)))
    found: list[int] = []
    threads = [threading.Thread(target=lambda: found.append(len(keys(empty, BY_N)))) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (found, empty.documents.fetched) == ([600] * 6, 600)


def test_an_endless_map_fails_alone() -> None:
    """Its view answers 500 within the limit, for all who wait at once; another view answers meanwhile."""
    with engine(seconds=1) as made:
        made.documents.put({"_id": "a", "n": 1})
        errors: list[str] = []

        def ask() -> None:
            with pytest.raises(Problem) as caught:
                made.rows(design("(doc) => { while (1); }"))
            errors.append(caught.value.reason)

        threads = [threading.Thread(target=ask) for _ in range(3)]
        for thread in threads:
            thread.start()
        served = keys(made, BY_N)
        waiting = all(thread.is_alive() for thread in threads)
        for thread in threads:
            thread.join()
        assert (served, waiting, errors) == ([1], True, ["OS process timed out."] * 3)


def test_update_false_and_lazy_answer_from_the_index_as_it_is(empty: Engine) -> None:
    """`update=false`, `update=lazy` and `stale=ok` read what is there."""
    empty.documents.put({"_id": "a", "n": 1})
    assert keys(empty, BY_N, update=False) == []
    assert keys(empty, BY_N) == [1]
    empty.documents.put({"_id": "b", "n": 2})
    assert keys(empty, BY_N, stale="ok") == [1]
    assert keys(empty, BY_N, update="lazy") == [1]


def test_indexes_outlive_the_process_and_damage(tmp_path: Path) -> None:
    """A reopened index is not built again; a file that is no database is thrown away and built anew."""
    text = design("(doc) => emit(doc.n)")
    with engine(tmp_path) as made:
        made.documents.put({"_id": "a", "n": 1})
        assert keys(made, text) == [1]
        held = made.documents.held
    with engine(tmp_path) as made:
        made.documents.held, made.documents.seq = held, 1
        assert (keys(made, text), made.documents.fetched) == ([1], 0)
    (path,) = tmp_path.glob("*.view")
    path.write_bytes(b"no database " * 1000)
    with engine(tmp_path) as made:
        made.documents.held, made.documents.seq = held, 1
        assert (keys(made, text), made.documents.fetched) == ([1], 1)


def test_an_index_ahead_of_its_database_is_built_anew(tmp_path: Path) -> None:
    """A database that was put back to an earlier state does not answer from the index of the later one."""
    with engine(tmp_path) as made:
        made.documents.put({"_id": "a", "n": 1}, {"_id": "b", "n": 2})
        assert keys(made, BY_N) == [1, 2]
    with engine(tmp_path) as made:
        made.documents.put({"_id": "c", "n": 3})
        assert keys(made, BY_N) == [3]


def test_a_map_that_breaks_its_tools_fails_its_own_query(empty: Engine) -> None:
    """What a worker answers is not believed: nonsense is a 500, and other views go on."""
    empty.documents.put({"_id": "a", "n": 1})
    for source in ("Array.prototype.map = () => [7]; emit(1)", "Array.prototype.join = () => '=[[['; emit(1)"):
        with pytest.raises(Problem) as caught:
            empty.rows(design(f"(doc) => {{ {source} }}"))
        assert caught.value.status == 500
    assert keys(empty, BY_N) == [1]


def test_half_a_surrogate_pair_is_escaped(empty: Engine) -> None:
    """A key that UTF-8 cannot carry comes back escaped, also cut to a group, and is ordered."""
    empty.documents.put({"_id": "a"})
    text = design("(doc) => { emit(['\\ud800', 1], '\\udc00'); emit(['b', 1], 1) }", "_count")
    for parameters in ({"reduce": False}, {"group_level": 1}, {"group": True}):
        reply = empty.views.query(text, "v", view_parameters([], parameters)).text()
        assert len(json.loads(reply.encode())["rows"]) == 2


def test_cleanup_removes_what_no_design_document_needs(tmp_path: Path) -> None:
    """Also files of an earlier run; what is kept goes on."""
    with engine(tmp_path) as made:
        made.documents.put({"_id": "a", "n": 1, "g": 2})
        assert (keys(made, BY_N), made.rows(BY_GROUP)) == ([1], [(None, 1)])
        (tmp_path / "old.view-wal").write_bytes(b"")
        made.views.cleanup([BY_N])
        assert [path.name.endswith(".view") for path in tmp_path.glob("*.view")] == [True]
        assert (keys(made, BY_N), made.rows(BY_GROUP)) == ([1], [(None, 1)])


def test_info_tells_of_the_index(ten: Engine) -> None:
    """Every member that CouchDB 3 has."""
    ten.rows(BY_N)
    info = ten.views.info(BY_N)
    assert info["name"] == "d"
    index = info["view_index"]
    assert (index["update_seq"], index["updates_pending"]["total"], index["updater_running"]) == (10, 0, False)
    assert index["sizes"]["file"] > 0


def test_a_closed_database_answers_404(empty: Engine) -> None:
    """Nothing is opened again after close."""
    empty.views.close()
    with pytest.raises(Problem) as caught:
        empty.rows(BY_N)
    assert caught.value.status == 404


# ---- what a query makes of it


@pytest.mark.parametrize(
    ("parameters", "expected", "offset"),
    [
        ({"startkey": 5, "limit": 2}, [5, 6], 5),
        ({"startkey": 5, "limit": 2, "descending": True}, [5, 4], 4),
        ({"startkey": 99}, [], 10),
        ({"limit": 0, "startkey": 4}, [], 4),
        ({"skip": 100}, [], 10),
        ({"startkey": 5, "skip": 1, "limit": 1}, [6], 6),
        ({"key": 5}, [5], 5),
        ({"key": 5, "startkey_docid": "06"}, [], 6),
        ({"startkey_docid": "05", "limit": 1}, [0], 0),
        ({"startkey": 5, "endkey": 5, "endkey_docid": "04"}, [], 5),
        ({"endkey": 2, "inclusive_end": False}, [0, 1], 0),
        ({"startkey": 4, "endkey": 2, "inclusive_end": False, "descending": True}, [4, 3], 5),
        ({"keys": []}, [], 0),
        ({"keys": [3, 1, 3]}, [3, 1, 3], 3),
        ({"keys": [3, 1], "skip": 1, "limit": 1}, [1], 4),
        ({"keys": [3, 1], "descending": True}, [1, 3], 8),
        ({"keys": [7]}, [7], 7),
    ],
)
def test_a_query_gives_rows_and_offset_as_couchdb(
    ten: Engine, parameters: dict[str, Any], expected: list[int], offset: int
) -> None:
    """Recorded from CouchDB 3.5.0 for the same ten documents."""
    reply = ten.reply(BY_N, **parameters)
    assert ([row["key"] for row in reply["rows"]], reply["offset"], reply["total_rows"]) == (expected, offset, 10)


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ({}, [(None, 45)]),
        ({"key": 77}, []),
        ({"group": True}, [(0, 18), (1, 12), (2, 15)]),
        ({"group": True, "descending": True, "limit": 1}, [(2, 15)]),
        ({"group": True, "skip": 1, "limit": 1}, [(1, 12)]),
        ({"group": True, "keys": [1, 1, 9, 2]}, [(1, 12), (1, 12), (2, 15)]),
        ({"group": True, "keys": [2, 1], "descending": True}, [(2, 15), (1, 12)]),
        ({"group": True, "keys": [2, 1], "skip": 1}, [(1, 12)]),
        ({"keys": [1]}, [(None, 12)]),
        ({"limit": 0}, []),
        ({"skip": 1}, []),
        ({"group_level": 1, "startkey": 1}, [(1, 12), (2, 15)]),
        ({"reduce": False, "limit": 1}, [(0, 0)]),
    ],
)
def test_a_reduced_query_gives_groups_as_couchdb(
    ten: Engine, parameters: dict[str, Any], expected: list[tuple[Any, Any]]
) -> None:
    """Recorded from CouchDB 3.5.0."""
    assert ten.rows(BY_GROUP, **parameters) == expected


@pytest.mark.parametrize(
    ("text", "query", "error", "reason"),
    [
        (BY_N, "limit=abc", "query_parse_error", 'Invalid value for integer: "abc"'),
        (BY_N, "limit=", "query_parse_error", "Invalid value for integer: []"),
        (BY_N, "skip=-1", "query_parse_error", 'Invalid value for positive integer: "-1"'),
        (BY_N, "limit=1_0", "query_parse_error", 'Invalid value for integer: "1_0"'),
        (BY_N, "descending=maybe", "query_parse_error", 'Invalid boolean parameter: "maybe"'),
        (BY_N, "update=maybe", "query_parse_error", "Invalid value for `update`."),
        (BY_N, "stale=maybe", "query_parse_error", "Invalid value for `stale`."),
        (BY_N, "startkey=abc", "bad_request", "invalid UTF-8 JSON"),
        (BY_N, "keys=7", "query_parse_error", "`keys` must be an array of strings."),
        (BY_N, "keys=[1,2]&key=1", "query_parse_error",
         "`keys` is incompatible with `key`, `start_key` and `end_key`"),
        (BY_N, "startkey=6&endkey=3", "query_parse_error",
         "No rows can match your key range, reverse your start_key and end_key or set descending=true"),
        (BY_N, "startkey=3&endkey=6&descending=true", "query_parse_error",
         "No rows can match your key range, reverse your start_key and end_key or set descending=false"),
        (BY_N, "reduce=true", "query_parse_error", "Reduce is invalid for map-only views."),
        (BY_N, "group=true", "query_parse_error", "Invalid use of grouping on a map view."),
        (BY_N, "group_level=1", "query_parse_error", "Invalid use of grouping on a map view."),
        (BY_N, "partition=x", "query_parse_error", "`partition` parameter is not supported in this design doc"),
        (BY_GROUP, "keys=[1,2]", "query_parse_error",
         "Multi-key fetches for reduce views must use `group=true`"),
        (BY_GROUP, "group=false&group_level=1", "query_parse_error",
         "Can't specify group=false and group_level>0 at the same time"),
        (BY_GROUP, "include_docs=true", "query_parse_error", "`include_docs` is invalid for reduce"),
        (BY_GROUP, "conflicts=true", "query_parse_error", "`conflicts` is invalid for reduce views."),
    ],
)
def test_parameters_that_make_no_sense_are_named(ten: Engine, text: str, query: str, error: str, reason: str) -> None:
    """400 in CouchDB's words."""
    pairs = [tuple(part.split("=", 1)) for part in query.split("&")]
    assert refusal(lambda: ten.views.query(text, "v", view_parameters(pairs))) == (400, error, reason)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ([1], "Request body must be a JSON object"),
        ({"queries": [{}]}, "The `queries` parameter is no longer supported at this endpoint"),
        ({"keys": "x"}, "`keys` member must be an array."),
        ({"limit": "2"}, 'Invalid value for integer: <<"2">>'),
        ({"limit": None}, "Invalid value for integer: null"),
        ({"limit": True}, "Invalid value for integer: true"),
        ({"descending": 1}, "Invalid boolean parameter: 1"),
    ],
)
def test_a_body_that_makes_no_sense_is_refused(body: Any, reason: str) -> None:
    """400, in CouchDB's words."""
    with pytest.raises(Problem) as caught:
        view_parameters([], body)
    assert (caught.value.status, caught.value.reason) == (400, reason)


def test_the_query_string_wins_over_the_body(ten: Engine) -> None:
    """Both are read; what only one says, holds."""
    parameters = view_parameters([("limit", "1"), ("nosuch", "x")], {"limit": 3, "startkey": 4, "descending": "true"})
    assert json.loads(ten.views.query(BY_N, "v", parameters).text())["rows"][0]["key"] == 4


def test_missing_views_and_languages_are_named(ten: Engine) -> None:
    """404 for a view that is not there, 500 for a language without an engine."""
    for text, view, expected in (
        (BY_N, "nope", (404, "not_found", "missing_named_view")),
        (BY_N, "lib", (404, "not_found", "missing_named_view")),
        (design("MOVE", language="cobol"), "v", (500, "unknown_query_language", "cobol")),
    ):
        assert refusal(ten.views.query, text, view, view_parameters([])) == expected


def test_documents_are_included_and_linked(empty: Engine) -> None:
    """`include_docs` gives the row's document, the one that `{_id: ...}` names, or null where there is none."""
    empty.documents.put({"_id": "a", "to": "b"}, {"_id": "b", "to": "gone"}, {"_id": "c", "to": None})
    rows = empty.reply(design("(doc) => emit(doc._id, {_id: doc.to})"), include_docs=True)["rows"]
    assert [row["doc"] and row["doc"]["_id"] for row in rows] == ["b", None, None]
    plain = empty.reply(design("(doc) => emit(doc._id)"), include_docs=True, key="c")["rows"]
    assert plain[0]["doc"]["_id"] == "c"


def test_several_queries_are_answered_in_order(ten: Engine) -> None:
    """One result for each; an error in one is the answer to all."""
    queries = view_queries({"queries": [{"key": 1}, {"limit": 2}]})
    results = json.loads("".join(ten.views.queries(BY_N, "v", queries)))["results"]
    assert [[row["key"] for row in result["rows"]] for result in results] == [[1], [0, 1]]
    assert json.loads("".join(ten.views.queries(BY_N, "v", view_queries({"queries": []})))) == {"results": []}
    for body, reason in (({}, "POST body must include `queries` parameter."),
                         ({"queries": {}}, "`queries` member must be an array."),
                         ([], "Request body must be a JSON object")):
        assert refusal(view_queries, body) == (400, "bad_request", reason)


def test_sorted_false_and_update_seq_change_the_head(ten: Engine) -> None:
    """Unsorted: rows alone, as from a cluster; `update_seq` tells the index's."""
    assert set(ten.reply(BY_N, sorted=False)) == {"rows"}
    assert ten.reply(BY_N, update_seq=True, limit=1)["update_seq"] == 10
    assert set(ten.reply(BY_GROUP, update_seq=True)) == {"rows", "update_seq"}


def test_one_partition_is_asked_alone() -> None:
    """In a partitioned database a query needs the partition, and gets its documents only."""
    with engine() as made:
        made.views._partitioned = True
        made.documents.put({"_id": "p:a", "n": 1}, {"_id": "q:a", "n": 2}, {"_id": "p:b", "n": 3})
        assert keys(made, BY_N, partition="p") == [1, 3]
        with pytest.raises(Problem) as caught:
            keys(made, BY_N)
        assert "mandatory" in caught.value.reason


def test_a_reply_shows_one_moment_of_the_index(empty: Engine) -> None:
    """What is written while a reply is read changes nothing in it, and a reply may be given up."""
    empty.documents.put(*({"_id": str(n), "n": n, "g": "x" * 5000} for n in range(100)))
    reply = empty.views.query(BY_N, "v", view_parameters([]))
    pieces = reply.chunks()
    first = next(pieces)
    empty.documents.put(*({"_id": str(n), "n": -1} for n in range(100)))
    assert set(keys(empty, BY_N)) == {-1}
    assert [row["key"] for row in json.loads(first + "".join(pieces))["rows"]] == list(range(100))
    given_up: ViewReply = empty.views.query(BY_N, "v", view_parameters([]))
    given_up.close()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
@given(
    low=st.none() | st.integers(-1, 10), high=st.none() | st.integers(-1, 10), descending=st.booleans(),
    inclusive=st.booleans(), skip=st.integers(0, 3), limit=st.none() | st.integers(0, 12),
)
def test_ranges_agree_with_a_list(
    ten: Engine, low: int | None, high: int | None, descending: bool, inclusive: bool, skip: int, limit: int | None
) -> None:
    """Any range, direction, skip and limit gives what the same cut of the sorted keys gives."""
    start, end = (high, low) if descending else (low, high)
    parameters = {"descending": descending, "inclusive_end": inclusive, "skip": skip}
    parameters |= {} if start is None else {"startkey": start}
    parameters |= {} if end is None else {"endkey": end}
    parameters |= {} if limit is None else {"limit": limit}
    if low is not None and high is not None and low > high:
        with pytest.raises(Problem):
            keys(ten, BY_N, **parameters)
        return
    everything = sorted(range(10), key=sort_key, reverse=descending)
    wanted = [n for n in everything if (low is None or n >= low) and (high is None or n <= high)]
    if not inclusive and end is not None:
        wanted = [n for n in wanted if n != end]
    assert keys(ten, BY_N, **parameters) == wanted[skip:][:limit]
