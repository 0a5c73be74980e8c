"""Views, `_all_docs`, and walking through them."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tornado_couch import errors
from tornado_couch.couch import UNSET, Couch, Database, FakeTransport, Request, Row

FALSY: list[Any] = [0, "", False, None, [], {}]

# What JavaScript gives back as it got it: integers up to 2**53, no minus zero, and no members whose names are
# digits, which it puts first (CouchDB's collation minds the order of members).
safe_numbers = st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False).filter(
    lambda number: not (number == 0 or number.is_integer())
)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
member_names = texts.filter(lambda name: not name.isdigit())
json_keys = st.recursive(
    st.none() | st.booleans() | safe_numbers | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(member_names, inner, max_size=3),
    max_leaves=5,
)


async def define(database: Database, name: str, map_function: str, reduce: str | None = None) -> None:
    """Makes a design document with one view of the same name."""
    view = {"map": map_function} if reduce is None else {"map": map_function, "reduce": reduce}
    await database.put({"_id": f"_design/{name}", "views": {name: view}})


async def sent(**query: Any) -> Request:
    """The request that a query becomes."""
    transport = FakeTransport([FakeTransport.reply(200, b'{"rows":[]}')])
    await Couch("http://couch", transport=transport)["db"].view("d", "v", **query)
    return transport.requests[0]


@pytest.fixture
async def letters(database: Database) -> Database:
    """Ten documents, with a view by `n` (each key twice), reduced to a count."""
    await database.bulk_docs([{"_id": letter, "n": n // 2} for n, letter in enumerate("abcdefghij")])
    await define(database, "by n", "function(doc) { emit(doc.n, doc._id); }", "_count")
    return database


@pytest.mark.parametrize("name", ["key", "startkey", "endkey"])
@pytest.mark.parametrize(("value", "text"), list(zip(FALSY, ["0", '""', "false", "null", "[]", "{}"], strict=True)))
async def test_falsy_keys_are_sent(name: str, value: Any, text: str) -> None:
    """0, "", False, None, [] and {} are keys; only UNSET is none."""
    query = urlsplit((await sent(**{name: value})).target).query
    assert parse_qs(query) == {name: [text]}
    assert urlsplit((await sent(**{name: UNSET})).target).query == ""


async def test_every_parameter_of_couchdb_is_sent_by_its_name() -> None:
    """JSON for keys, true and false for flags, words and ids as they are."""
    query: dict[str, Any] = {
        "att_encoding_info": True, "attachments": True, "conflicts": False, "descending": True, "endkey": {"a": 1},
        "endkey_docid": "é&", "group": True, "group_level": 2, "include_docs": True, "inclusive_end": False,
        "key": "x", "limit": 0, "reduce": False, "skip": 3, "sorted": True, "stable": True, "stale": "ok",
        "startkey": [1, None], "startkey_docid": "a+b", "update": "lazy", "update_seq": True,
    }  # fmt: skip
    request = await sent(**query)
    assert request.method == "GET"
    assert {name: values[0] for name, values in parse_qs(urlsplit(request.target).query).items()} == {
        "att_encoding_info": "true", "attachments": "true", "conflicts": "false", "descending": "true",
        "endkey": '{"a":1}', "endkey_docid": "é&", "group": "true", "group_level": "2", "include_docs": "true",
        "inclusive_end": "false", "key": '"x"', "limit": "0", "reduce": "false", "skip": "3", "sorted": "true",
        "stable": "true", "stale": "ok", "startkey": "[1,null]", "startkey_docid": "a+b", "update": "lazy",
        "update_seq": "true",
    }  # fmt: skip


async def test_keys_go_by_post_and_so_do_long_queries() -> None:
    """No URL gets longer than what proxies take."""
    request = await sent(keys=["a", 1], include_docs=True)
    assert (request.method, request.body) == ("POST", b'{"keys":["a",1]}')
    assert request.target.endswith("?include_docs=true")
    request = await sent(startkey=["x" * 5000], startkey_docid="y", limit=3)
    assert request.method == "POST"
    assert request.body == b'{"startkey":["' + b"x" * 5000 + b'"],"startkey_docid":"y","limit":3}'
    assert request.safe


async def test_rows_have_id_key_and_value(letters: Database) -> None:
    """And the result says how many there are, and where these stand."""
    result = await letters.view("by n", "by n", reduce=False, limit=3, skip=1)
    assert result.rows == [Row("b", 0, "b"), Row("c", 1, "c"), Row("d", 1, "d")]
    assert (result.total_rows, result.offset) == (10, 1)
    assert await letters.view("_design/by n", "by n", reduce=False, limit=3, skip=1) == result


async def test_ranges_take_keys_and_ids(letters: Database) -> None:
    """startkey and endkey, their ids, exclusive ends, and the other direction."""

    async def ids(**query: Any) -> str:
        return "".join(str(row.id) for row in (await letters.view("by n", "by n", reduce=False, **query)).rows)

    assert await ids(key=0) == "ab"
    assert await ids(startkey=3, endkey=4) == "ghij"
    assert await ids(startkey=3, endkey=4, inclusive_end=False) == "gh"
    assert await ids(startkey=3, startkey_docid="h", endkey=4, endkey_docid="i") == "hi"
    assert await ids(startkey=1, endkey=0, descending=True) == "dcba"
    assert await ids(keys=[4, 0, 99]) == "ijab"
    assert await ids(keys=[]) == ""
    assert await ids(startkey=None, limit=2) == "ab"


async def test_reduced_rows_have_no_id(letters: Database) -> None:
    """As a whole, by key, and for certain keys."""
    assert (await letters.view("by n", "by n")).rows == [Row(None, None, 10)]
    grouped = await letters.view("by n", "by n", group=True, startkey=3)
    assert grouped.rows == [Row(None, 3, 2), Row(None, 4, 2)]
    assert grouped.total_rows is None
    assert (await letters.view("by n", "by n", group=True, keys=[4, 0])).rows == [Row(None, 4, 2), Row(None, 0, 2)]


async def test_documents_come_with_the_rows(letters: Database) -> None:
    """include_docs, also for a row that emits another document's id, and for none that is there."""
    result = await letters.view("by n", "by n", reduce=False, include_docs=True, limit=1)
    assert result.rows[0].doc is not None
    assert result.rows[0].doc["n"] == 0
    await letters.bulk_docs([{"_id": "x", "to": "a"}, {"_id": "y", "to": "none"}])
    await define(letters, "links", "function(doc) { if (doc.to) emit(doc._id, {_id: doc.to}); }")
    rows = (await letters.view("links", "links", include_docs=True)).rows
    assert [row.doc and row.doc["_id"] for row in rows] == ["a", None]


async def test_all_docs_tells_missing_and_deleted(letters: Database) -> None:
    """A missing key has an error, a deleted document a tombstone's value and no document."""
    revision = (await letters.get("a"))["_rev"]
    deleted = await letters.delete("a", revision)
    rows = (await letters.all_docs(keys=["a", "none", "b"], include_docs=True)).rows
    assert rows[0].value == {"rev": deleted.rev, "deleted": True}
    assert rows[0].doc is None
    assert rows[1] == Row(None, "none", None, None, "not_found")
    assert rows[2].doc is not None
    assert [row.id for row in (await letters.all_docs(startkey="c", endkey="e")).rows] == ["c", "d", "e"]


async def test_update_seq_is_given_when_asked_for(letters: Database) -> None:
    """Otherwise it is None."""
    assert (await letters.view("by n", "by n", reduce=False, update_seq=True)).update_seq is not None
    assert (await letters.view("by n", "by n", reduce=False)).update_seq is None


async def test_long_queries_find_what_short_ones_find(letters: Database) -> None:
    """By POST every parameter holds as well, of views and of all documents."""
    far = "x" * 3000
    result = await letters.view("by n", "by n", reduce=False, startkey=2, endkey=far, limit=2, descending=False)
    assert [row.id for row in result.rows] == ["e", "f"]
    assert [row.id for row in (await letters.all_docs(startkey="c", endkey=far, limit=2)).rows] == ["c", "d"]


async def test_what_is_not_there_and_what_makes_no_sense_is_refused(letters: Database) -> None:
    """NotFound for views, BadRequest for parameters that contradict each other."""
    with pytest.raises(errors.NotFound):
        await letters.view("none", "none")
    with pytest.raises(errors.NotFound):
        await letters.view("by n", "none")
    with pytest.raises(errors.BadRequest) as caught:
        await letters.view("by n", "by n", startkey=2, endkey=1)
    assert caught.value.error == "query_parse_error"


@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@example(FALSY)
@given(st.lists(json_keys, min_size=1, max_size=12))
async def test_any_json_value_is_a_key(database: Database, keys: list[Any]) -> None:
    """Every JSON value is found by itself, in a URL and in content, and comes back as it went."""
    if await database.revision("_design/k") is None:
        await define(database, "k", "function(doc) { emit(doc.k, null); }")
    results = await database.bulk_docs([{"k": key} for key in keys])
    for key, result in zip(keys, results, strict=True):
        one = {row.id: row.key for row in (await database.view("k", "k", key=key)).rows}
        assert one[result.id] == key
        assert result.id in {row.id for row in (await database.view("k", "k", keys=[key, "other"])).rows}
        span = await database.view("k", "k", startkey=key, startkey_docid=result.id, limit=1)
        assert span.rows[0].id == result.id


async def listed(rows: AsyncIterator[Row]) -> list[Row]:
    """The rows of a walk."""
    return [row async for row in rows]


# Keys that are many rows', rows that are one document's with one key (in stretches longer than a page), keys
# that CouchDB's collation takes for equal (é in one character and in two), keys of all types.
CROWDED = """function(doc) {
  emit(doc.n, 1); emit('same', 2);
  for (var i = 0; i < doc.repeat; i++) emit('crowd', i);
  if (doc.repeat) { emit('\\u00e9', 3); emit('e\\u0301', 4); emit('\\u00e9', 5); emit('\\u00e9', 6); }
  emit([doc.n % 3, doc.n], 7); emit(true, 8); emit(1, 9); emit(null, 10); emit({a: [doc.n]}, 11);
}"""


@pytest.fixture
async def crowd(database: Database) -> Database:
    """Documents of which some emit many rows with the same key."""
    repeats = [0, 1, 2, 7, 23, 0, 3]
    await database.bulk_docs([{"_id": f"d{n}", "n": n, "repeat": repeat} for n, repeat in enumerate(repeats)])
    await define(database, "crowd", CROWDED, "_count")
    return database


@pytest.mark.parametrize("page_size", [1, 2, 3, 10, 1000])
@pytest.mark.parametrize(
    "query",
    [
        {},
        {"descending": True},
        {"startkey": "crowd", "endkey": "same"},
        {"startkey": "same", "endkey": "crowd", "descending": True, "inclusive_end": False},
        {"key": "crowd"},
        {"key": "crowd", "descending": True},
        {"startkey": "crowd", "startkey_docid": "d4", "endkey": "crowd", "endkey_docid": "d6"},
        {"limit": 17, "skip": 5},
        {"limit": 0},
        {"key": "none"},
        {"include_docs": True, "startkey": True, "limit": 9},
    ],
)
async def test_a_walk_gives_each_row_once_and_in_order(crowd: Database, query: Any, page_size: int) -> None:
    """Page by page come exactly the rows of one query, whatever they have in common."""
    whole = (await crowd.view("crowd", "crowd", reduce=False, **query)).rows
    walk = await listed(crowd.iterate_view("crowd", "crowd", page_size=page_size, reduce=False, **query))
    assert walk == whole


@pytest.mark.parametrize("page_size", [1, 2, 1000])
@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize(
    "query", [{}, {"group": True}, {"group_level": 1}, {"group": True, "limit": 5, "skip": 1}, {"group_level": 2}]
)
async def test_a_walk_gives_each_group_once_and_whole(
    crowd: Database, query: Any, descending: bool, page_size: int
) -> None:
    """Reduced rows are walked by their keys, and no group is cut at the end of a page."""
    whole = (await crowd.view("crowd", "crowd", descending=descending, **query)).rows
    walk = crowd.iterate_view("crowd", "crowd", page_size=page_size, descending=descending, **query)
    assert await listed(walk) == whole


@pytest.mark.parametrize("query", [{}, {"descending": True}, {"startkey": "c", "endkey": "h"}, {"limit": 3}])
async def test_all_documents_are_walked_through(letters: Database, query: Any) -> None:
    """`iterate_all_docs` gives what `all_docs` gives."""
    whole = (await letters.all_docs(**query)).rows
    assert await listed(letters.iterate_all_docs(page_size=2, **query)) == whole


async def test_rows_that_come_and_go_disturb_no_others(letters: Database) -> None:
    """Documents inserted and deleted during a walk neither hide nor repeat those that stay."""
    seen = []
    async for row in letters.iterate_all_docs(page_size=2, startkey="a", endkey="zz"):
        seen.append(row.id)
        if row.id == "d":
            await letters.bulk_docs([{"_id": "a1"}, {"_id": "b1"}, {"_id": "d1"}])
            for gone in ("a", "d", "e"):
                await letters.delete(gone, (await letters.get(gone))["_rev"])
    assert [each for each in seen if each in "abcdfghij"] == list("abcdfghij")
    assert len(set(seen)) == len(seen)


async def test_a_walk_asks_for_few_rows_more_than_it_gives() -> None:
    """Each page begins at the last row of the one before, and never by skipping."""
    requests: list[dict[str, list[str]]] = []

    def answers(request: Request) -> Any:
        query = parse_qs(urlsplit(request.target).query)
        requests.append(query)
        start = int(query.get("startkey", ["0"])[0])
        rows = [f'{{"id":"{n:03}","key":{n},"value":0}}' for n in range(start, min(start + int(query["limit"][0]), 25))]
        return FakeTransport.reply(200, f'{{"rows":[{",".join(rows)}]}}'.encode())

    database = Couch("http://couch", transport=FakeTransport(answers))["db"]
    rows = await listed(database.iterate_view("d", "v", page_size=10))
    assert [row.key for row in rows] == list(range(25))
    assert requests == [
        {"limit": ["10"]},
        {"limit": ["11"], "startkey": ["9"], "startkey_docid": ["009"]},
        {"limit": ["11"], "startkey": ["19"], "startkey_docid": ["019"]},
    ]


@pytest.mark.parametrize(("page_size", "query"), [(0, {}), (10, {"keys": ["a"]}), (10, {"sorted": False})])
def test_what_cannot_be_walked_is_refused_at_once(page_size: int, query: Any) -> None:
    """Not at the first row, but at the call."""
    database = Couch("http://couch", transport=FakeTransport([]))["db"]
    with pytest.raises(ValueError, match=r"page_size|order"):
        database.iterate_view("d", "v", page_size=page_size, **query)


@pytest.mark.parametrize("body", [b"{}", b'{"rows":{}}', b'{"rows":[1]}', b'{"rows":[{}]}', b"[]"])
async def test_an_answer_without_rows_is_nonsense(body: bytes) -> None:
    """What is not of a view's shape is refused."""
    database = Couch("http://couch", transport=FakeTransport([FakeTransport.reply(200, body)]))["db"]
    with pytest.raises(errors.InvalidReply):
        await database.view("d", "v")


FAILING = {
    "all rows": ("emit(doc._id, 'text')", "_sum", {}),
    "one row": ("emit(doc._id, doc._id === 'b' ? 'text' : 1)", "_sum", {}),
    "one group": ("emit(doc._id, doc._id === 'b' ? 'text' : 1)", "_sum", {"group": True}),
    "statistics": ("emit(doc._id, 'text')", "_stats", {}),
    "too long": ("emit(doc._id, 1)", "function (k, v) { return Array(9000).join('a') + v.join(''); }", {}),
}


@pytest.mark.parametrize("case", FAILING)
async def test_a_reduce_that_fails_is_an_error(couch: Couch, case: str) -> None:
    """CouchDB answers 200 with the error in a row, or in the place of the row's value."""
    name = f"test-{uuid.uuid4().hex}"
    await couch.create_database(name, q=4)
    database = couch[name]
    emitted, reduce, query = FAILING[case]
    await database.bulk_docs([{"_id": letter} for letter in "abcdefgh"])
    view = {"map": f"function (doc) {{ {emitted}; }}", "reduce": reduce}
    await database.put({"_id": "_design/d", "views": {"v": view}})
    with pytest.raises(errors.Unavailable):
        await database.view("d", "v", **query)  # type: ignore[arg-type]
    if case in ("one row", "one group"):
        assert (await database.view("d", "v", key="a")).rows[0].value == 1
        assert len((await database.view("d", "v", reduce=False)).rows) == 8
    await couch.delete_database(name)


async def test_a_row_that_is_an_error_is_an_error() -> None:
    """A shard that failed reports itself as a row; a document that is not there is not an error."""
    rows = b'{"rows":[{"key":"a","error":"not_found"},{"error":"timeout"}]}'
    replies = [FakeTransport.reply(200, rows), FakeTransport.reply(200, rows.replace(b',{"error":"timeout"}', b""))]
    database = Couch("http://couch", transport=FakeTransport(replies))["db"]
    with pytest.raises(errors.Unavailable, match="timeout"):
        await database.all_docs(keys=["a"])
    assert (await database.all_docs(keys=["a"])).rows[0].error == "not_found"


async def test_values_of_a_map_are_anything(database: Database) -> None:
    """What looks like a failing reduce is a value like any other, where nothing is reduced."""
    await database.put({"_id": "a"})
    emitted = "function (doc) { emit(1, {error: 'builtin_reduce_error'}); }"
    await database.put({"_id": "_design/d", "views": {"v": {"map": emitted}}})
    assert (await database.view("d", "v")).rows[0].value == {"error": "builtin_reduce_error"}


@pytest.mark.parametrize("level", [0, 1, 2, 3, 4])
async def test_group_level_over_keys_of_mixed_length(database: Database, level: int) -> None:
    """An array's group is that of its first items, its own length or longer; what is shorter, or no array, is whole."""
    keys = [None, 5, "x", "xy", [], [1], [1, 2], [1, 2, 3], [1, 2, 4], [10], ["x"], ["xy", 1], [[1], 2], {"a": 1}]
    await database.bulk_docs([{"_id": f"d{n}", "keys": keys} for n in range(3)])
    emitted = "function (doc) { if (doc.keys) doc.keys.forEach(function (key) { emit(key, 1); }); }"
    await database.put({"_id": "_design/d", "views": {"v": {"map": emitted, "reduce": "_count"}}})
    rows = (await database.view("d", "v", group_level=level)).rows
    cut = [None if level == 0 else key[:level] if isinstance(key, list) else key for key in keys]
    assert [row.key for row in rows] == [key for n, key in enumerate(cut) if key not in cut[:n]]
    assert [row.value for row in rows] == [3 * cut.count(row.key) for row in rows]
