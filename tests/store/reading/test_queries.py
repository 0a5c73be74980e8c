"""Queries of the store: any filter, order and paging agrees with the same done in Python."""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tornado_couch import Bounds, Count, Database, Indexed, Model, NoIndex, Query, Stats, Store, Sum, install
from tornado_couch.couch import UNSET, Couch
from tornado_couch.models import model_info
from tornado_couch.store import Page, Position, plan, reduced
from tornado_couch.store.reading.scan import Collator

COLORS = ["", " ", "1", "a", "A", "aa", "B", "b", "é", "e", "ß", "z", "Z", "東", "null", "-", "_", "~"]


class QueriedItem(
    Model,
    type="item_v1.0",
    key="name",
    unique=True,
    indexes=[("color", "size"), ("ripe", "size", "name"), ("color", "ripe", "weight"), ("color", "name")],
    reductions={
        "by_color": Count("color"),
        "by_ripe_and_size": Count("ripe", "size"),
        "sizes": Sum("size", by="ripe"),
        "stats": Stats("size", by=("ripe", "color")),
    },
):
    name: str
    color: Annotated[str, Indexed()]
    size: Annotated[int, Indexed()]
    ripe: Annotated[bool, Indexed()] = False
    weight: Annotated[float | None, Indexed()] = None


class Other(Model, type="itemx_v1.0"):
    color: Annotated[str, Indexed()]
    size: int
    ripe: bool = False


@pytest.fixture
async def store(database: Database) -> Store:
    """A store of items, some documents of another model in it."""
    await install(database.server, database.name, [QueriedItem, Other])  # type: ignore[arg-type]
    await database.bulk_docs([{"_id": f"other{n}", "type": "itemx_v1.0", "color": "a", "size": n} for n in range(5)])
    return Store(database)


async def add(store: Store, **values: Any) -> QueriedItem:
    return await store.create(QueriedItem(**{"color": "a", "size": 1, **values}))


async def test_a_planned_query_is_planned_anew_for_another_model(store: Store) -> None:
    """What `Store.plan` returns finds the same as before, and the plan holds for that model alone."""
    await add(store, name="one")
    query = store.plan(QueriedItem, Query({"color": ["a"]}))
    assert query == Query({"color": ["a"]})
    assert [each.name for each in (await store.find(QueriedItem, query)).items] == ["one"]
    assert [each.size for each in (await store.find(Other, query)).items] == [0, 1, 2, 3, 4]
    assert (await store.find(QueriedItem, query.restricted("color", "b"))).items == []
    with pytest.raises(NoIndex):
        store.plan(QueriedItem, Query({"size": [1], "weight": [1.0]}))


async def walk(store: Store, query: Query, limit: int) -> list[str]:
    """All names, page by page forward; then backward from the end, which must give the same pages' items."""
    pages, start = [], None
    while True:
        page = await store.find(QueriedItem, query, limit=limit, start=start)
        pages.append([item.name for item in page.items])
        if page.next is None:
            break
        assert len(page.items) == limit
        start = page.next
    backward, last = [], page
    while last.previous is not None:
        last = await store.find(QueriedItem, query, limit=limit, start=last.previous, backward=True)
        backward.insert(0, [item.name for item in last.items])
        assert last.next is not None
    assert [*backward, pages[-1]] == pages
    return [name for names in pages for name in names]


async def test_several_properties_are_found_by_an_index_of_mango(store: Store) -> None:
    """The index is one that `_find` itself uses, with the same documents."""
    for number in range(6):
        await add(store, name=f"n{number}", color="ab"[number % 2], size=number)
    query = Query({"color": ["a"]}, {"size": Bounds(gte=2)})
    assert plan(QueriedItem, query).index.view == "item_by_color_and_size"
    assert [item.name for item in (await store.find(QueriedItem, query)).items] == ["n2", "n4"]
    selector = {"color": "a", "size": {"$gte": 2}}
    explained = await store.database.explain(selector, use_index=["item_by_color_and_size"], allow_fallback=False)
    assert explained["index"]["name"] == "item_by_color_and_size"
    found = await store.database.find(selector, use_index=["item_by_color_and_size"], allow_fallback=False)
    assert (sorted(each["name"] for each in found.docs), found.warning) == (["n2", "n4"], None)


@pytest.mark.parametrize(
    ("query", "declaration"),
    [
        (Query({"weight": [1.0], "size": [1]}), 'indexes=[("weight", "size")]'),
        (Query({"size": [1]}, sort=["name"]), 'indexes=[("size", "name")]'),
        (Query({"color": ["a"]}, {"weight": Bounds(gt=1.0)}), 'indexes=[("color", "weight")]'),
        (Query(ranges={"size": Bounds(gt=1), "weight": Bounds(gt=1.0)}), ""),
        (Query(ranges={"size": Bounds(gt=1)}, sort=["color"]), ""),
        (Query({"size": [1]}, {"size": Bounds(gt=1)}), ""),
        # In this index a document without a weight has no place, so it cannot give all of them.
        (Query({"color": ["a"], "ripe": [True]}), 'indexes=[("color", "ripe")]'),
        (Query({"name": ["a"]}, sort=["weight"]), ""),
    ],
)
def test_a_query_without_an_index_is_refused_and_says_which_would_serve_it(query: Query, declaration: str) -> None:
    """Nothing is read; where no index could serve it there is no such advice."""
    with pytest.raises(NoIndex) as caught:
        plan(QueriedItem, query)
    assert caught.value.declaration == declaration


async def test_a_missing_property_has_its_default_or_null_in_the_index(store: Store) -> None:
    """A sort loses no document: null comes first, and is in no range."""
    await store.database.put({"_id": "item:old", "type": "item_v0.0", "name": "old", "color": "a", "size": 1})
    await store.database.put({"_id": "item:x", "type": "item_v1.0", "name": "x", "color": "a", "size": 1})
    await add(store, name="heavy", weight=2.0, ripe=True)

    async def names(query: Query) -> list[str]:
        page = await store.find(QueriedItem, query, count=True)
        assert page.total == len(page.items) + page.withheld
        return [item.name for item in page.items]

    assert await names(Query(sort=["weight"])) == ["x", "heavy"]  # and the old one is withheld: another major version
    assert await names(Query(ranges={"weight": Bounds(lt=5.0)})) == ["heavy"]
    assert await names(Query({"weight": [None]})) == ["x"]
    assert await names(Query({"ripe": [False]})) == ["x"]


async def test_text_that_couchdb_takes_for_equal_is_not_found(store: Store) -> None:
    """A zero-width character makes it another value, though the database orders both the same."""
    for name, color in (("1", "ab"), ("2", "a\u200bb"), ("3", "ab"), ("4", "ab\u200b")):
        await add(store, name=name, color=color)
    for color, names in (("ab", ["1", "3"]), ("a\u200bb", ["2"])):
        for query in (Query({"color": [color]}), Query({"color": [color]}, sort=["size"])):
            page = await store.find(QueriedItem, query, count=True)
            assert ([item.name for item in page.items], page.total) == (names, len(names))
    assert await walk(store, Query({"color": ["ab", "ab\u200b"]}), 1) == ["1", "3", "4"]


async def test_a_restricted_query_stays_within_its_restriction(store: Store) -> None:
    """Whatever value is asked for."""
    await add(store, name="mine", color="a")
    await add(store, name="theirs", color="b")
    for asked, names in ((Query(), ["mine"]), (Query({"color": ["b"]}), []), (Query({"color": ["b", "a"]}), ["mine"])):
        page = await store.find(QueriedItem, asked.restricted("color", "a"), count=True)
        assert ([item.name for item in page.items], page.total) == (names, len(names))


async def test_a_document_that_changes_while_it_is_found_is_not_shown_as_what_it_was(store: Store) -> None:
    """The index was read, then the document became somebody else's: it is left out."""
    await add(store, name="kept")
    await add(store, name="given away")

    class Slow:
        def __getattr__(self, name: str) -> Any:
            return getattr(store.database, name)

        async def bulk_get_within(self, *arguments: Any, **options: Any) -> Any:
            await store.update(QueriedItem, "given away", lambda latest: setattr(latest, "color", "b"))
            return await store.database.bulk_get_within(*arguments, **options)

    found = await Store(Slow()).find(QueriedItem, Query().restricted("color", "a"))  # type: ignore[arg-type]
    assert [item.name for item in found.items] == ["kept"]


async def test_the_order_of_text_is_the_one_that_views_have(store: Store) -> None:
    """Every printable character of ASCII, and some others, compared pair by pair."""
    texts = [chr(code) for code in range(0x20, 0x7F)] + [
        "é",
        "É",
        "ß",
        "東",
        "ab",
        "aB",
        "Ab",
        "a b",
        "a-b",
        "aé",
        "Ωa",
    ]
    await store.database.bulk_docs(
        [{"_id": f"item:{n}", "type": "item_v1.0", "name": str(n), "color": t, "size": 1} for n, t in enumerate(texts)]
    )
    view = await store.database.view("item_by_color", "item_by_color", reduce=False)
    ordered = [row.key for row in view.rows]
    assert sorted(ordered) == sorted(texts)
    collator = Collator(store.database, "item_by_color")
    for left, right in itertools.pairwise(ordered):
        assert await collator.compare([left], [right]) < 0, (left, right)
        assert await collator.compare([right], [left]) > 0
    values = [None, False, True, -1, 0, 0.5, 2, 10**18, "", "a", [], [1], {}]
    for place, left in enumerate(values):
        for other, right in enumerate(values):
            found = await collator.compare([left], [right])
            assert (found > 0) - (found < 0) == (place > other) - (place < other), (left, right)


async def test_what_a_cursor_stands_on_can_go_and_everything_with_it(store: Store) -> None:
    """The pages around an empty one lead back to what is left."""
    for name in "abcd":
        await add(store, name=name)
    first = await store.find(QueriedItem, limit=2)
    for name in "cd":
        await store.delete(QueriedItem, name)
    empty = await store.find(QueriedItem, limit=2, start=first.next)
    assert (empty.items, empty.next) == ([], None)
    back = await store.find(QueriedItem, limit=2, start=empty.previous, backward=True)
    assert [item.name for item in back.items] == ["a", "b"]
    assert back.previous is None
    for name in "ab":
        await store.delete(QueriedItem, name)
    gone = await store.find(
        QueriedItem, limit=2, start=first.next and Position(first.next.key, first.next.id), backward=True
    )
    assert (gone.items, gone.previous) == ([], None)
    await add(store, name="b")
    assert [item.name for item in (await store.find(QueriedItem, limit=2, start=gone.next)).items] == ["b"]


async def test_reductions_agree_with_python(store: Store) -> None:
    """Count, sum and statistics, whole and in part, page by page."""
    items = [await add(store, name=str(n), color="abc"[n % 3], size=n, ripe=n % 2 == 0) for n in range(12)]

    async def groups(name: str, query: Query | None = None, **options: Any) -> dict[str, Any]:
        found, start = {}, None
        while True:
            page = await reduced(store.database, QueriedItem, name, query, limit=2, start=start, **options)
            found |= {json.dumps(group.key): group.value for group in page.items}
            if page.last is None:
                return found
            start = page.last

    assert await groups("by_color") == {'"a"': 4, '"b"': 4, '"c"': 4}
    assert await groups("sizes") == {"false": 36, "true": 30}
    assert await groups("by_ripe_and_size", level=1) == {"[false]": 6, "[true]": 6}
    assert await groups("by_ripe_and_size", level=0) == {"null": 12}
    assert len(await groups("by_ripe_and_size")) == 12
    some = Query({"ripe": [True]}, {"size": Bounds(gt=2, lte=8)})
    assert await groups("by_ripe_and_size", some) == {f"[true, {n}]": 1 for n in (4, 6, 8)}
    ripe_a = [item.size for item in items if item.ripe and item.color == "a"]
    stats = (await groups("stats"))['[true, "a"]']
    assert (stats["min"], stats["max"], stats["sum"], stats["count"]) == (min(ripe_a), max(ripe_a), sum(ripe_a), 2)
    for query in (Query({"size": [1]}), Query(sort=["ripe"]), Query({"ripe": [True, False]})):
        with pytest.raises(NoIndex):
            await groups("by_ripe_and_size", query)
    assert await groups("by_ripe_and_size", Query({"ripe": [True]}), level=0) == {"null": 6}


# ---------------------------------------------------------------- against a model in Python

values = {
    "color": st.sampled_from(COLORS),
    "size": st.integers(-2, 4),
    "ripe": st.booleans(),
    "weight": st.none() | st.sampled_from([-1.5, 0.0, 1.0, 2.25]),
}
FILTERS = ["color", "size", "ripe", "weight", "name"]


@dataclass
class World:
    """Documents that are stored, and the places of their values in CouchDB's order."""

    store: Store
    items: list[QueriedItem]
    ranks: dict[str, dict[str, int]]

    def rank(self, name: str, value: Any) -> int:
        return self.ranks[name][json.dumps(value)]

    def expected(self, query: Query) -> list[QueriedItem]:
        found = [each for each in self.items if self._fits(each, query)]
        order = [*query.sort, *(name for name in plan(QueriedItem, query).index.properties if name not in query.sort)]
        if query.sort:  # values that are given come last, since they order nothing
            order = [*query.sort, *sorted(order[len(query.sort) :], key=lambda name: name in query.among)]
        found.sort(key=lambda each: each._id.encode(), reverse=query.descending)  # type: ignore[union-attr]
        found.sort(key=lambda each: [self.rank(name, getattr(each, name)) for name in order], reverse=query.descending)
        return found

    def _fits(self, item: QueriedItem, query: Query) -> bool:
        among = all(getattr(item, name) in given for name, given in query.among.items())
        return among and all(self._within(name, getattr(item, name), each) for name, each in query.ranges.items())

    def _within(self, name: str, value: Any, bounds: Bounds) -> bool:
        rank = self.rank(name, value)
        return value is not None and all(
            [
                bounds.gt is UNSET or rank > self.rank(name, bounds.gt),
                bounds.gte is UNSET or rank >= self.rank(name, bounds.gte),
                bounds.lt is UNSET or rank < self.rank(name, bounds.lt),
                bounds.lte is UNSET or rank <= self.rank(name, bounds.lte),
            ]
        )


async def make_world(store: Store, drawn: Iterable[dict[str, Any]]) -> World:
    items = [QueriedItem(name=f"n{number}", **each) for number, each in enumerate(drawn)]
    for item, created in zip(items, await store.create_many(QueriedItem, items), strict=True):
        assert created is item
    # Every value that a filter may name has to be in the view once, to have a place.
    ranks: dict[str, dict[str, int]] = {}
    probes = [QueriedItem(name=f"probe{n}", color=c, size=0) for n, c in enumerate(COLORS)]
    await store.create_many(QueriedItem, probes)
    rows = (await store.database.view("item_by_color", "item_by_color", group=True, reduce=True)).rows
    ranks["color"] = {json.dumps(row.key): place for place, row in enumerate(rows)}
    for probe in probes:
        await store.delete(QueriedItem, probe.name)
    names = (await store.database.view("item_by_name", "item_by_name", reduce=False)).rows
    ranks["name"] = {json.dumps(row.key): place for place, row in enumerate(names)}
    for name, known in (
        ("size", range(-2, 5)),
        ("ripe", [False, True]),
        ("weight", [None, -1.5, 0.0, 1.0, 2.25]),
    ):
        ranks[name] = {json.dumps(value): place for place, value in enumerate(known)}  # type: ignore[arg-type,var-annotated]
    return World(store, items, ranks)


@st.composite
def queries(draw: st.DrawFn) -> Query:
    """Those that an index serves; weight's null cannot be a bound."""
    among, ranges = {}, {}
    names = draw(st.lists(st.sampled_from(FILTERS), unique=True, max_size=3))
    pool = {**values, "name": st.integers(0, 199).map(lambda n: f"n{n}")}
    for name in names:
        among[name] = draw(st.lists(pool[name], min_size=1, max_size=4, unique=True))
    if draw(st.booleans()):
        name = draw(st.sampled_from([each for each in FILTERS if each not in among]))
        solid = pool[name].filter(lambda value: value is not None)
        lower = draw(st.sampled_from(["gt", "gte", None]))
        upper = draw(st.sampled_from(["lt", "lte", None])) if lower else "lt"
        ranges[name] = Bounds(**{each: draw(solid) for each in (lower, upper) if each})
    sort = draw(st.lists(st.sampled_from(FILTERS), unique=True, max_size=2))
    return Query(among, ranges, sort, draw(st.booleans()))


def is_served(query: Query) -> bool:
    try:
        plan(QueriedItem, query)
    except NoIndex:
        return False
    return True


@pytest.mark.slow
async def test_every_query_that_an_index_serves_agrees_with_python(store: Store) -> None:
    """Filters, ranges, any-of, order and direction over random documents; both ways, and the count."""
    drawn: list[tuple[Query, int]] = []

    @settings(max_examples=60, database=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
    @given(queries().filter(is_served), st.integers(1, 40))
    def draw(query: Query, limit: int) -> None:
        drawn.append((query, limit))

    draw()
    chance = random.Random(len(repr(drawn)))
    pick = {"color": COLORS, "size": range(-2, 5), "ripe": [True, False], "weight": [None, -1.5, 0.0, 1.0, 2.25]}
    documents = [{name: chance.choice(known) for name, known in pick.items()} for _ in range(200)]
    # Each index at least once, those too that are rarely drawn.
    drawn += [
        (Query(sort=index.properties), 7)
        for index in model_info(QueriedItem).indexes
        if "weight" not in index.properties
    ]
    drawn.append((Query({"color": ["a", "B", "é"], "ripe": [True, False]}, {"weight": Bounds(gte=0.0)}), 7))
    drawn.append((Query(sort=["weight"]), 9))
    world = await make_world(store, documents)
    used = set()
    for query, limit in drawn:
        expected = [item.name for item in world.expected(query)]
        used.add(plan(QueriedItem, query).index.view)
        # Names in the URL may be of no document; a rank is needed for those that are bounds.
        assert await walk(store, query, max(limit, len(expected) // 6 + 1)) == expected, query
        assert (await store.find(QueriedItem, query, limit=1, count=True)).total == len(expected), query
    assert used == {index.view for index in model_info(QueriedItem).indexes}


async def test_pages_are_stable_under_writes_in_both_directions(store: Store) -> None:
    """Documents that are not touched come exactly once, whatever is inserted, deleted or moved meanwhile."""
    untouched = {f"n{number:02}" for number in range(0, 40, 2)}
    for number in range(40):
        await add(store, name=f"n{number:02}", color="abc"[number % 3], size=number // 4)
    for query in (Query(sort=["size"]), Query({"color": ["c", "a", "b"]}, sort=["size"]), Query({"color": ["a"]})):
        expected = {item.name for item in (await store.find(QueriedItem, query, limit=1000)).items} & untouched
        for backward in (False, True):
            seen, number = [], 0
            page: Page[QueriedItem] = await store.find(QueriedItem, query, limit=5)
            if backward:
                while page.next:
                    page = await store.find(QueriedItem, query, limit=5, start=page.next)
            while True:
                seen += [item.name for item in page.items if item.name in untouched]
                start = page.previous if backward else page.next
                if start is None:
                    break
                number += 1
                await disturb(store, page, untouched, f"x{backward}{number}{len(query.among)}{query.sort}")
                page = await store.find(QueriedItem, query, limit=5, start=start, backward=backward)
            assert sorted(seen) == sorted(expected)


async def disturb(store: Store, page: Page[QueriedItem], untouched: set[str], name: str) -> None:
    """Insert around, and move what is not watched."""
    await add(store, name=name, color="a", size=len(name) % 10)
    for item in page.items:
        if item.name not in untouched:
            if item.size % 2:
                await store.delete(QueriedItem, item.name)
            else:
                await store.update(QueriedItem, item.name, lambda latest: setattr(latest, "size", 9 - latest.size))


async def test_an_index_that_is_not_installed_is_an_error_of_the_database(couch: Couch, database: Database) -> None:
    """It is never made up for by reading everything."""
    from tornado_couch.errors import NotFound

    for query in (Query({"color": ["a"], "size": [1]}), Query(sort=["size"])):
        with pytest.raises(NotFound):
            await Store(database).find(QueriedItem, query)
