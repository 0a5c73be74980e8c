"""A view that somebody rewrote cannot move a document into a range in which it does not belong."""

from __future__ import annotations

from typing import Annotated, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tornado_couch import Bounds, Database, Indexed, Key, Model, Query, Store, assigned, install
from tornado_couch.embedded.collation import sort_key
from tornado_couch.store.reading.scan import certain_order


class Wage(Model, type="wage_v1.0", key="wage_id"):
    wage_id: Key = assigned()
    name: Annotated[str, Indexed()]
    amount: Annotated[int | None, Indexed()] = None


@pytest.fixture
async def wages(database: Database) -> Store:
    await install(database.server, database.name, [Wage])  # type: ignore[arg-type]
    return Store(database)


async def rewrite(store: Store, view: str, emitted: str) -> None:
    """Make a view emit something else for every document."""
    design = await store.database.get(f"_design/{view}")
    source = f"function (doc) {{ if (doc.type === 'wage_v1.0') {{ emit({emitted}, null); }} }}"
    design["views"][view]["map"] = source
    await store.database.put(design)


async def names(store: Store, **ranges: Bounds) -> list[str]:
    page = await store.find(Wage, Query(ranges=ranges), limit=50)
    return sorted(each.name for each in page.items)


async def test_a_document_is_in_no_range_that_excludes_its_value(wages: Store) -> None:
    """A policy or a program that trusts a range got every document."""
    await wages.create_many(Wage, [Wage(name="low", amount=1), Wage(name="high", amount=100), Wage(name="none")])
    assert await names(wages, amount=Bounds(gte=1, lt=100)) == ["low"]
    await rewrite(wages, "wage_by_amount", "5")
    assert await names(wages, amount=Bounds(gte=1, lt=100)) == ["low"]
    assert await names(wages, amount=Bounds(gt=1)) == ["high"]
    assert await names(wages, amount=Bounds(lte=1)) == []  # a view can leave out what it should hold


async def test_a_text_stays_in_the_ranges_of_couchdbs_order(wages: Store) -> None:
    """`"ABC"` lies within `["ab", "ab\\ufff0"]`, although its code points do not."""
    given = ["ab", "ABC", "Ab", "abç", "aB ", "ba", "Äb", "ac"]
    await wages.create_many(Wage, [Wage(name=each) for each in given])
    for bounds in (Bounds(gte="ab", lte="ab\ufff0"), Bounds(gt="ab", lt="ac"), Bounds(gte="A"), Bounds(lt="b")):
        rows = (
            await wages.database.view(
                "wage_by_name", "wage_by_name",
                **({"startkey": low} if isinstance(low := bounds.gte, str) else {}),
                **({"endkey": high} if isinstance(high := bounds.lte, str) else {}),
                reduce=False,
            )
        ).rows  # fmt: skip
        if isinstance(bounds.gte, str):
            assert await names(wages, name=bounds) == sorted(row.key for row in rows)
        assert await names(wages, name=bounds) == sorted(each for each in given if within(each, bounds))


def within(value: Any, bounds: Bounds) -> bool:
    key = sort_key(value)
    return (
        (not isinstance(bounds.gte, str) or key >= sort_key(bounds.gte))
        and (not isinstance(bounds.gt, str) or key > sort_key(bounds.gt))
        and (not isinstance(bounds.lte, str) or key <= sort_key(bounds.lte))
        and (not isinstance(bounds.lt, str) or key < sort_key(bounds.lt))
    )


VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**53), 2**53), st.floats(allow_nan=False, allow_infinity=False),
    st.text(st.characters(min_codepoint=32, max_codepoint=0x24F), max_size=4), st.lists(st.integers(), max_size=2),
    st.dictionaries(st.sampled_from("ab"), st.integers(), max_size=1),
)  # fmt: skip


@given(VALUES, VALUES)
def test_an_order_that_is_certain_is_couchdbs(left: Any, right: Any) -> None:
    """Where it is not, there is none."""
    mine, theirs = sort_key(left), sort_key(right)
    assert certain_order(left, right) in (None, (mine > theirs) - (mine < theirs)) or (
        (certain_order(left, right) or 0) * ((mine > theirs) - (mine < theirs)) > 0
    )
