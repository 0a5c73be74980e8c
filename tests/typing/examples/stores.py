"""The store: what goes in and comes back is the model. A line that ends with `# wrong` is one that both refuse."""

# pyright: strict

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Annotated, assert_type

from tornado_couch import Bounds, Database, Indexed, Key, Model, Page, Query, Store, assigned
from tornado_couch.store import Creation, Deletion, Update


class Fruit(Model, type="fruit_v1.0", key="fruit_id"):
    fruit_id: Key = assigned()
    color: Annotated[str, Indexed()]
    price: Annotated[Decimal, Indexed()] = Decimal(1)


async def use(database: Database) -> None:
    store = Store(database)
    created = await store.create(Fruit(color="green"))
    assert_type(created, Fruit)
    assert_type(await store.get(Fruit, "a"), Fruit)
    assert_type(await store.replace(created), Fruit)
    assert_type(await store.create_many(Fruit, [created]), list[Fruit | Exception])
    assert_type(await store.load(Fruit, {}), Fruit)
    created.paint()  # wrong

    page = await store.find(Fruit, by="price", key=Decimal("9.5"), limit=10)
    assert_type(page, Page[Fruit])
    assert_type(page.items, list[Fruit])
    found = await store.find(Fruit, Query({"color": ["red"]}, {"price": Bounds(gte=Decimal(1))}, sort=["price"]))
    assert_type([each.color for each in found.items], list[str])
    await store.find(Fruit, Query({"day": [date(2026, 1, 1)]}))

    def ripen(fruit: Fruit) -> None:
        fruit.color = "red"

    async def ripen_later(fruit: Fruit) -> None:
        fruit.color = "red"

    assert_type(await store.update(Fruit, "a", ripen), Fruit)
    assert_type(await store.update(Fruit, "a", ripen_later), Fruit)
    assert_type(await store.update(Fruit, "a", lambda fruit: fruit.color.upper()), Fruit)  # wrong
    assert_type(await store.delete(Fruit, "a"), Fruit)
    done = await store.write_many(Fruit, [Creation(created), Update("a", ripen), Deletion("b")])
    assert_type(done, list[Fruit | Exception])
