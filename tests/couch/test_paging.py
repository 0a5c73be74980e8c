"""The walk through a view, against a model of a view."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tornado_couch.couch import Couch, FakeTransport
from tornado_couch.couch.views import Row, each_row
from tornado_couch.errors import InvalidReply

# A key is a number and a letter: the collation sees the number only, as it takes é in one character and in two
# for equal. So rows of different keys can be equal to it.
Key = tuple[int, str]
rows_of_documents = st.lists(
    st.lists(st.tuples(st.integers(0, 3), st.sampled_from("xy")), max_size=8), min_size=1, max_size=5
)


def view_of(documents: list[list[Key]], descending: bool) -> list[Row]:
    """The rows in a view's order: by key, then by id, then as they were emitted."""
    rows = [
        Row(f"d{n}", list(key), f"{n}.{m}") for n, keys in enumerate(documents) for m, key in enumerate(keys)
    ]
    rows.sort(key=lambda row: (row.key[0], row.id))
    return rows[::-1] if descending else rows


def page_of(rows: list[Row], query: Mapping[str, Any]) -> list[Row]:
    """What CouchDB answers to a query of these rows."""
    if "startkey" in query:
        start = (query["startkey"][0], query.get("startkey_docid"))
        places = [(row.key[0], row.id if start[1] is not None else None) for row in rows]
        if query.get("descending"):
            rows = [row for row, place in zip(rows, places, strict=True) if place <= start]
        else:
            rows = [row for row, place in zip(rows, places, strict=True) if place >= start]
    skip = query.get("skip", 0)
    return rows[skip : skip + query["limit"]]


@given(
    rows_of_documents, st.booleans(), st.integers(1, 6), st.none() | st.integers(0, 30), st.integers(0, 4)
)
def test_a_walk_equals_the_whole(
    documents: list[list[Key]], descending: bool, page_size: int, limit: int | None, skip: int
) -> None:
    """Whatever documents emit and however long the pages: each row once, in order, and an end."""
    rows = view_of(documents, descending)
    requests = 0

    async def fetch(query: Mapping[str, Any]) -> list[Row]:
        nonlocal requests
        requests += 1
        return page_of(rows, query)

    async def walk() -> list[Row]:
        query: dict[str, Any] = {"descending": descending, "skip": skip}
        if limit is not None:
            query["limit"] = limit
        return [row async for row in each_row(fetch, query, page_size)]

    whole = rows[skip:] if limit is None else rows[skip : skip + limit]
    assert asyncio.run(walk()) == whole
    assert requests <= 2 * len(rows) + 2


async def test_a_page_that_does_not_advance_ends_the_walk() -> None:
    """What answers ignores where the rows should go on: an error, not an endless walk."""
    rows = b'{"rows":[{"id":"a","key":1,"value":null},{"id":"b","key":2,"value":null}]}'
    transport = FakeTransport(lambda _: FakeTransport.reply(200, rows))
    walk = Couch("http://couch", transport=transport)["db"].iterate_view("d", "v", page_size=2)
    with pytest.raises(InvalidReply):
        _ = [row async for row in walk]
    assert len(transport.requests) <= 3
