"""Mango: which index serves a query, what it finds, and the indexes themselves."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.embedded.engine import Engine, engine, refusal
from tornado_couch.embedded.collation import sort_key
from tornado_couch.embedded.mango.mango import Mango

NO_INDEX = "No matching index found, create an index to optimize query time."


class Database:
    """Mango over an engine, with the design documents that it makes."""

    def __init__(self, held: Engine) -> None:
        self.held = held
        self.mango = Mango(held.documents, held.views)

    def designs(self) -> list[str]:
        return [text for doc_id, text in self.held.documents.documents(None, None, limit=10**6) if doc_id[0] == "_"]

    def index(self, *fields: Any, **members: Any) -> dict[str, Any]:
        """Make an index, and give the reply."""
        definition = {"fields": list(fields)} | ({"partial_filter_selector": members.pop("partial", None)})
        definition = {name: value for name, value in definition.items() if value is not None}
        change = self.mango.new_index({"index": definition, **members}, self.designs())
        if change.document is not None:
            self.held.documents.put(change.document)
        return change.reply

    def find(self, selector: Any, **members: Any) -> dict[str, Any]:
        reply = "".join(self.mango.find({"selector": selector, **members}, self.designs()))
        answer: dict[str, Any] = json.loads(reply)
        return answer

    def ids(self, selector: Any, **members: Any) -> list[str]:
        return [document["_id"] for document in self.find(selector, limit=100, **members)["docs"]]

    def explain(self, selector: Any, **members: Any) -> dict[str, Any]:
        return self.mango.explain({"selector": selector, **members}, self.designs(), "db")

    def served_by(self, selector: Any, **members: Any) -> Any:
        return self.explain(selector, **members)["index"]["name"]


@pytest.fixture
def empty() -> Iterator[Database]:
    """A database without documents."""
    with engine() as held:
        yield Database(held)


@pytest.fixture(scope="module")
def thirty() -> Iterator[Database]:
    """p00 to p29 with a = n % 4, b = n, c = "s" and n % 3, o.x = n % 2, and five indexes; no test changes them."""
    with engine() as held:
        made = Database(held)
        held.documents.put(
            *({"_id": f"p{n:02}", "a": n % 4, "b": n, "c": f"s{n % 3}", "o": {"x": n % 2}} for n in range(30))
        )
        made.index("a", ddoc="ia", name="ia")
        made.index("a", "b", ddoc="iab", name="iab")
        made.index("b", ddoc="ip", name="ip", partial={"a": {"$gt": 1}})
        made.index("o.x", ddoc="io", name="io")
        made.index({"c": "desc"}, ddoc="ic", name="ic")
        yield made


# ---- which index serves


@pytest.mark.parametrize(
    ("selector", "members", "name"),
    [
        ({"a": 1}, {}, "ia"),
        ({"a": 1, "b": {"$gt": 5}}, {}, "iab"),
        ({"a": {"$gt": 0}, "z": 1}, {}, "ia"),
        ({"b": {"$gt": 5}}, {}, "_all_docs"),  # the partial index is not chosen unasked
        ({"b": {"$gt": 5}}, {"use_index": "ip"}, "ip"),
        ({"b": {"$gt": 5}}, {"use_index": ["_design/ip", "ip"]}, "ip"),
        ({"a": 1}, {"use_index": "iab"}, "ia"),  # b need not be there: iab cannot serve
        ({"a": 1, "b": 1}, {"use_index": "ia"}, "ia"),
        ({"a": 1}, {"sort": ["a"]}, "ia"),
        ({"a": 1}, {"sort": ["a", "b"]}, "iab"),
        ({"a": 1}, {"sort": ["b"]}, "iab"),  # a is fixed, so the order is by b
        ({"o": {"x": 1}}, {}, "io"),
        ({"c": {"$beginsWith": "s1"}}, {}, "ic"),
        ({"a": {"$exists": True}}, {}, "ia"),
        ({"a": {"$in": [1]}}, {}, "ia"),
        ({"a": {"$exists": False}}, {}, "_all_docs"),
        ({"$or": [{"a": 1}, {"b": 2}]}, {}, "_all_docs"),
        ({"$or": [{"a": 1}, {"a": 2}]}, {}, "ia"),
        ({"_id": "p05"}, {}, "_all_docs"),
        ({"_id": {"$gt": None}}, {"sort": [{"_id": "desc"}]}, "_all_docs"),
    ],
)
def test_the_index_is_the_one_that_couchdb_takes(
    thirty: Database, selector: Any, members: dict[str, Any], name: str
) -> None:
    """Recorded from CouchDB 3.5.0 for the same indexes."""
    assert thirty.served_by(selector, **members) == name


def test_a_sort_without_an_index_is_refused(thirty: Database) -> None:
    """400 no_usable_index, also when a field that the order needs may be missing."""
    for members in ({"sort": ["z"]}, {"sort": ["b"]}, {"sort": ["_id"]}):
        words = "No index exists for this sort, try indexing by the sort fields."
        assert refusal(thirty.find, {"a": {"$gt": 0}}, **members) == (400, "no_usable_index", words)


def test_an_index_that_cannot_be_used_is_told(thirty: Database) -> None:
    """With fallback a warning, without it 400 invalid_index."""
    assert thirty.find({"c": "s1"}, use_index="nosuch")["warning"] == (
        "_design/nosuch was not used because it does not contain a valid index for this query."
    )
    assert thirty.find({"z": 1}, use_index=["ia", "zz"])["warning"].split("\n")[:2] == [
        "_design/ia, zz was not used because it is not a valid index for this query.", NO_INDEX,
    ]
    assert refusal(thirty.find, {"c": "s1"}, use_index="nosuch", allow_fallback=False)[1:] == (
        "invalid_index", "_design/nosuch specified by `use_index` could not be found or it is not suitable.",
    )
    assert refusal(thirty.find, {"z": 1}, allow_fallback=False)[2] == (
        "You must specify an index with the `use_index` parameter."
    )


@pytest.mark.parametrize(
    ("selector", "start", "end"),
    [
        ({"a": 1}, [1], [1, "<MAX>"]),
        ({"a": {"$gt": 1}}, [1], ["<MAX>"]),
        ({"a": {"$gte": 1, "$lt": 3}}, [1], [3, "<MAX>"]),
        ({"a": 1, "b": {"$gt": 5}}, [1, 5], [1, "<MAX>"]),
        ({"c": {"$beginsWith": "s1"}}, ["s1"], ["s1\uffff", "<MAX>"]),
        ({"a": {"$exists": True}}, [], ["<MAX>"]),
        ({"z": 1}, None, "<MAX>"),
        ({"_id": {"$gt": "p25"}}, "p25", "<MAX>"),
        ({"_id": {"$lt": "p25"}}, "", "p25"),
        ({"a": {"$gt": 3, "$lt": 1}}, None, None),
    ],
)
def test_the_range_is_explained(thirty: Database, selector: Any, start: Any, end: Any) -> None:
    """`mrargs` has the keys between which the index is read; in the other direction they change places."""
    explained = thirty.explain(selector)["mrargs"]
    assert (explained["start_key"], explained["end_key"], explained["direction"]) == (start, end, "fwd")


def test_other_indexes_are_explained(thirty: Database) -> None:
    """Each candidate with whether it could serve and why it does not."""
    candidates = thirty.explain({"a": {"$gt": 0}, "b": {"$gt": 5}})["index_candidates"]
    reasons = {entry["index"]["name"]: entry["analysis"]["reasons"][0]["name"] for entry in candidates}
    assert reasons == {"_all_docs": "unfavored_type", "ia": "less_overlap", "ip": "is_partial", "io": "field_mismatch",
                       "ic": "field_mismatch"}


def test_explain_shows_the_query(thirty: Database) -> None:
    """The normalized selector, every option with its default, and which fields an index could serve."""
    explained = thirty.explain({"a": 1, "c": {"$regex": "x"}}, fields=["a"], sort=["a"])
    assert explained["selector"] == {"$and": [{"a": {"$eq": 1}}, {"c": {"$regex": "x"}}]}
    assert explained["opts"] == {
        "use_index": [], "bookmark": "nil", "limit": 25, "skip": 0, "sort": {"a": "asc"}, "fields": ["a"],
        "partition": "", "r": 1, "conflicts": False, "stale": False, "update": True, "stable": False,
        "execution_stats": False, "allow_fallback": True,
    }
    assert explained["selector_hints"] == [{"type": "json", "indexable_fields": ["a"], "unindexable_fields": ["c"]}]
    assert (explained["covering"], thirty.explain({"a": 1}, fields=["a", "_id"])["covering"]) == (False, True)


# ---- what is found


def test_documents_come_in_the_order_of_the_index(thirty: Database) -> None:
    """By the indexed values, then by id; backwards for a descending sort."""
    assert thirty.ids({"a": {"$gte": 2}}) == [f"p{n:02}" for n in (*range(2, 30, 4), *range(3, 30, 4))]
    backwards = [f"p{n:02}" for n in (*range(27, 0, -4), *range(26, 0, -4))]
    assert thirty.ids({"a": {"$gte": 2}}, sort=[{"a": "desc"}]) == backwards


def test_only_a_query_without_an_index_warns(thirty: Database) -> None:
    """And one that reads many documents for few results."""
    assert "warning" not in thirty.find({"a": 1})
    assert thirty.find({"b": {"$lt": 20}})["warning"] == NO_INDEX
    assert thirty.find({"a": {"$gt": 0}, "b": 7})["warning"].startswith("The number of documents examined is high")


def test_fields_are_projected(thirty: Database) -> None:
    """Nested names keep the nesting; what is missing is left out; no fields is the whole document."""
    (document,) = thirty.find({"_id": "p01"}, fields=["o.x", "b", "nosuch.x"])["docs"]
    assert document == {"o": {"x": 1}, "b": 1}
    (whole,) = thirty.find({"_id": "p01"})["docs"]
    assert set(whole) == {"_id", "_rev", "a", "b", "c", "o"}


def test_documents_without_an_indexed_field_are_not_in_the_index(empty: Database) -> None:
    """Null is a value; a missing member is none."""
    empty.index("age")
    empty.held.documents.put({"_id": "a", "age": 1}, {"_id": "b"}, {"_id": "c", "age": None})
    assert empty.ids({"age": {"$exists": True}}) == ["c", "a"]


def test_a_partial_index_holds_what_its_selector_matches(thirty: Database) -> None:
    """Asked for by name, it finds nothing else."""
    assert thirty.ids({"b": {"$lt": 8}}, use_index="ip") == ["p02", "p03", "p06", "p07"]


def test_design_documents_are_not_found(thirty: Database) -> None:
    """Not by _all_docs, and not by an index."""
    assert thirty.ids({}) == [f"p{n:02}" for n in range(30)]


def test_nothing_is_found_by_an_impossible_selector(thirty: Database) -> None:
    """A range without values, and an empty list of alternatives, answer at once."""
    for selector in ({"a": {"$gt": 3, "$lt": 1}}, {"$or": []}, {"$and": []}, {"$nor": []}):
        assert thirty.find(selector) == {"docs": []}


def test_conflicts_are_added_when_asked_for(empty: Database) -> None:
    """The server's `fetch` gives the documents then."""
    empty.held.documents.put({"_id": "a", "n": 1})
    body = {"selector": {"n": 1}, "conflicts": True, "fields": ["n", "_conflicts"]}
    chunks = empty.mango.find(body, [], lambda doc_id, _: json.dumps({"_id": doc_id, "n": 1, "_conflicts": ["1-x"]}))
    assert json.loads("".join(chunks))["docs"] == [{"n": 1, "_conflicts": ["1-x"]}]


@pytest.mark.parametrize("members", [{}, {"sort": ["a"]}, {"sort": [{"a": "desc"}]}, {"use_index": "iab"}])
@pytest.mark.parametrize("selector", [{"a": {"$gt": 0}, "b": {"$gt": 2}}, {"b": {"$gt": 2}, "a": {"$ne": 1}}, {}])
def test_bookmarks_lead_through_all_pages(thirty: Database, selector: Any, members: dict[str, Any]) -> None:
    """Whatever index serves, the pages together are the whole, and the last one is empty."""
    seen: list[str] = []
    bookmark = "nil"
    for _ in range(20):
        more = {} if bookmark == "nil" else {"bookmark": bookmark}
        page = thirty.find(selector, limit=4, **members, **more)
        seen += [document["_id"] for document in page["docs"]]
        if not page["docs"]:
            assert page["bookmark"] == bookmark
            break
        bookmark = page["bookmark"]
    assert seen == thirty.ids(selector, **members)


def test_statistics_count_what_was_examined(thirty: Database) -> None:
    """`execution_stats`: keys, documents, results; an index that has all fields needs no document."""
    stats = thirty.find({"a": 1}, execution_stats=True, limit=100)["execution_stats"]
    assert (stats["total_keys_examined"], stats["total_docs_examined"], stats["results_returned"]) == (8, 8, 8)
    assert thirty.find({"a": 1}, fields=["a"], execution_stats=True)["execution_stats"]["total_docs_examined"] == 0


@pytest.mark.parametrize(
    ("members", "error", "reason"),
    [
        ({"limit": -1}, "invalid_non_neg_integer", "-1 is not an integer greater than or equal to zero"),
        ({"limit": "x"}, "invalid_non_neg_integer", "<<120>> is not an integer greater than or equal to zero"),
        ({"r": 0}, "invalid_pos_integer", "0 is not an integer greater than zero"),
        ({"fields": "x"}, "invalid_fields", "Fields must be an array of strings, not: <<120>>"),
        ({"fields": [1]}, "invalid_field", "Invalid JSON for field spec: 1"),
        ({"fields": [""]}, "invalid_field_name", "Invalid field name: "),
        ({"sort": "x"}, "invalid_sort_json", 'Sort must be an array of sort specs, not: <<"x">>'),
        ({"sort": [5]}, "invalid_sort_field", "Invalid sort field: 5"),
        ({"sort": [{"n": "up"}]}, "invalid_sort_field", 'Invalid sort field: {[{<<"n">>,<<"up">>}]}'),
        ({"sort": [{"a": "asc"}, {"b": "desc"}]}, "unsupported_mixed_sort",
         "Sorts currently only support a single direction for all fields."),
        ({"use_index": 5}, "invalid_index_name", "Invalid index name: 5"),
        ({"use_index": ["a", "b", "c"]}, "invalid_index_name", "Invalid index name: [<<97>>,<<98>>,<<99>>]"),
        ({"conflicts": 1}, "invalid_boolean", "Invalid boolean value: 1"),
        ({"bookmark": "abc"}, "invalid_bookmark", 'Invalid bookmark value: "abc"'),
        ({"bookmark": "W10"}, "invalid_bookmark", 'Invalid bookmark value: "W10"'),
        ({"nosuch": 1}, "invalid_key", "Invalid key nosuch for this request."),
        ({"partition": "x"}, "query_parse_error", "`partition` parameter is not supported on this db"),
    ],
)
def test_bad_options_are_refused(thirty: Database, members: dict[str, Any], error: str, reason: str) -> None:
    """400 in CouchDB's words, before any answer."""
    assert refusal(thirty.find, {"_id": {"$gt": None}}, **members) == (400, error, reason)


def test_a_body_needs_a_selector(thirty: Database) -> None:
    """400 missing_required_key; a body that is no object is no request."""
    assert refusal(thirty.mango.find, {}, [])[1:] == ("missing_required_key", "Missing required key: selector")
    assert refusal(thirty.mango.find, [], [])[1:] == ("bad_request", "Request body must be a JSON object")


values = st.one_of(st.none(), st.booleans(), st.integers(0, 4), st.sampled_from(["", "a", "A", "b"]))
comparisons = st.dictionaries(st.sampled_from(["$gt", "$gte", "$lt", "$lte", "$eq"]), values, min_size=1, max_size=2)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150, deadline=None)
@given(a=comparisons, b=st.none() | comparisons, descending=st.booleans())
def test_an_index_finds_what_a_scan_finds(mixed: Database, a: Any, b: Any, descending: bool) -> None:
    """For any comparisons on two fields the index gives exactly the documents that match, in its order."""
    selector = {"a": a} if b is None else {"a": a, "b": b}
    way = "desc" if descending else "asc"
    found = mixed.ids(selector, sort=[{"a": way}, {"b": way}], use_index="ab")
    scanned = mixed.ids({"$or": [selector, selector]}, use_index="nosuch")
    documents = {doc_id: json.loads(mixed.held.documents.read(doc_id) or "") for doc_id in scanned}
    wanted = [doc_id for doc_id in scanned if {"a", "b"} <= documents[doc_id].keys()]
    wanted.sort(key=lambda doc_id: (sort_key([documents[doc_id]["a"], documents[doc_id]["b"]]), doc_id),
                reverse=descending)
    assert found == wanted


@pytest.fixture(scope="module")
def mixed() -> Iterator[Database]:
    """A hundred documents with all kinds of values in a and b, and an index of both."""
    kinds = [None, False, True, 0, 1, 2.5, 4, "", "a", "A", "b", [1], {"x": 1}]
    with engine() as held:
        made = Database(held)
        held.documents.put(
            *({"_id": f"m{place:03}", "a": kinds[place % 13], "b": kinds[place * 7 % 13]} for place in range(95)),
            {"_id": "n1", "a": 1}, {"_id": "n2", "b": 1}, {"_id": "n3"},
        )
        made.index("a", "b", ddoc="ab", name="ab")
        yield made


# ---- indexes


def test_an_index_is_a_design_document(empty: Database) -> None:
    """As CouchDB writes it, so that revisions agree; the same index again exists."""
    members = {"ddoc": "ip", "name": "ip", "partial": {"x": 1, "y": {"z": 2}}}
    assert empty.index({"b": "desc"}, **members) == {"result": "created", "id": "_design/ip", "name": "ip"}
    assert empty.index({"b": "desc"}, **members)["result"] == "exists"
    document = json.loads(empty.held.documents.read("_design/ip") or "")
    assert document | {"_rev": ""} == {
        "_id": "_design/ip", "_rev": "", "language": "query",
        "views": {"ip": {
            "map": {"fields": {"b": "desc"},
                    "partial_filter_selector": {"$and": [{"x": {"$eq": 1}}, {"y.z": {"$eq": 2}}]}},
            "reduce": "_count",
            "options": {"def": {"fields": [{"b": "desc"}], "partial_filter_selector": {"x": 1, "y": {"z": 2}}}},
        }},
    }


def test_names_are_made_up_from_the_definition(empty: Database) -> None:
    """The same for the same index, another for another."""
    first, again, other = empty.index("a"), empty.index("a"), empty.index("b")
    assert (again, other["result"]) == ({**first, "result": "exists"}, "created")
    assert first["id"] == f"_design/{first['name']}" != other["id"]


def test_indexes_are_listed(thirty: Database) -> None:
    """_all_docs first, then by design document; `limit` and `skip` cut the list."""
    listed = thirty.mango.indexes(thirty.designs())
    assert [index["name"] for index in listed["indexes"]] == ["_all_docs", "ia", "iab", "ic", "io", "ip"]
    assert listed["indexes"][2] == {"ddoc": "_design/iab", "name": "iab", "type": "json", "partitioned": False,
                                    "def": {"fields": [{"a": "asc"}, {"b": "asc"}]}}
    page = thirty.mango.indexes(thirty.designs(), {"limit": "1", "skip": "3"})
    assert (page["total_rows"], [index["name"] for index in page["indexes"]]) == (6, ["ic"])
    for query in ({"limit": "0"}, {"limit": "x"}, {"skip": "-1"}):
        assert refusal(thirty.mango.indexes, [], query)[:2] == (500, "invalid_list_index_params")


def test_indexes_are_dropped_one_by_one_and_the_document_with_the_last(empty: Database) -> None:
    """What else the design document holds stays."""
    empty.index("a", ddoc="d", name="one")
    empty.index("b", ddoc="d", name="two")
    first = empty.mango.drop_index("_design/d", "json", "one", empty.designs())
    assert (first.reply, first.deleted, list((first.document or {})["views"])) == ({"ok": True}, False, ["two"])
    empty.held.documents.put(first.document or {})
    assert empty.mango.drop_index("d", "json", "two", empty.designs()).deleted
    for arguments in (("d", "json", "one"), ("nope", "json", "two"), ("d", "text", "two")):
        assert refusal(empty.mango.drop_index, *arguments, empty.designs()) == (404, "not_found", "missing")


def test_many_indexes_are_dropped_at_once(empty: Database) -> None:
    """The answer tells which; one that is not there fails alone."""
    for name in ("a", "b"):
        empty.index(name, ddoc=name)
    changes, reply = empty.mango.drop_indexes({"docids": ["a", "nope", "_design/b"]}, empty.designs())
    assert [(change.id, change.deleted) for change in changes] == [("_design/a", True), ("_design/b", True)]
    assert reply == {"success": [{"id": "_design/b", "ok": True}, {"id": "_design/a", "ok": True}],
                     "fail": [{"id": "_design/nope", "error": "not_found"}]}
    assert refusal(empty.mango.drop_indexes, {"docids": "x"}, [])[1] == "invalid_bulk_docs"


@pytest.mark.parametrize(
    ("body", "status", "error"),
    [
        ({"index": {}}, 400, "missing_required_key"),
        ({"name": "x"}, 400, "missing_required_key"),
        ({"index": "x"}, 400, "invalid_index"),
        ({"index": {"fields": "a"}}, 400, "invalid_sort_json"),
        ({"index": {"fields": [""]}}, 400, "invalid_sort_field"),
        ({"index": {"fields": ["a"], "x": 1}}, 400, "invalid_key"),
        ({"index": {"fields": [{"a": "asc"}, {"b": "desc"}]}}, 400, "unsupported_mixed_sort"),
        ({"index": {"fields": ["a"], "partial_filter_selector": {"a": {"$foo": 1}}}}, 400, "invalid_operator"),
        ({"index": {"fields": ["a"]}, "type": "nosuch"}, 400, "invalid_index"),
        ({"index": {"fields": ["a"]}, "type": "text"}, 503, "required index service unavailable"),
        ({"index": {"fields": ["a"]}, "name": ""}, 400, "invalid_empty_string"),
        ({"index": {"fields": ["a"]}, "ddoc": 5}, 400, "invalid_string"),
        ({"index": {"fields": ["a"]}, "partitioned": True}, 500, "error_saving_ddoc"),
    ],
)
def test_bad_indexes_are_refused(empty: Database, body: Any, status: int, error: str) -> None:
    """As CouchDB refuses them."""
    assert refusal(empty.mango.new_index, body, [])[:2] == (status, error)


def test_an_index_cannot_join_views_in_javascript(empty: Database) -> None:
    """400 when the design document that is named holds something else."""
    empty.held.documents.put({"_id": "_design/v", "views": {}})
    assert refusal(empty.index, "a", ddoc="v")[2] == "Invalid design document query language."
