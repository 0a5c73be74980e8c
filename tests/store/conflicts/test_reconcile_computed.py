"""Merging documents that hold a computed property: it follows from the merged values, and no rule decides on it."""

from __future__ import annotations

from typing import Annotated

from pydantic import computed_field

from tornado_couch import Computed, Database, Indexed, Merge, Model, Store, install


class Basket(Model, type="basket_v1.0", key="name", unique=True):
    name: str
    apples: Annotated[int, Merge.sum_of_changes] = 0
    pears: Annotated[int, Merge.sum_of_changes] = 0

    @computed_field  # type: ignore[prop-decorator]
    @property
    def fruits(self) -> Annotated[int, Computed(), Indexed()]:
        """All of them."""
        return self.apples + self.pears


async def test_a_computed_property_follows_from_the_merge(database: Database) -> None:
    """Each leaf has a sum that is right for itself; that of the merge is another."""
    await install(database.server, database.name, [Basket])  # type: ignore[arg-type]
    store = Store(database)
    first = await store.create(Basket(name="a", apples=1, pears=1))
    base = str(first._rev).partition("-")[2]
    body = {"_id": first._id, "type": "basket_v1.0", "name": "a"}
    leaves = [
        {**body, "apples": 5, "pears": 1, "fruits": 6, "_revisions": {"start": 2, "ids": ["b" * 32, base]}},
        {**body, "apples": 1, "pears": 3, "fruits": 4, "_revisions": {"start": 2, "ids": ["c" * 32, base]}},
    ]
    documents = [{**each, "_rev": f"2-{each['_revisions']['ids'][0]}"} for each in leaves]  # type: ignore[index]
    assert not await database.bulk_docs(documents, new_edits=False)
    result = await store.reconciliation.reconcile(Basket, str(first._id))
    assert (result.leaves, result.merged, result.deleted) == (2, 1, 1)
    assert (await database.get(str(first._id)))["fruits"] == 8
    found = await store.find(Basket, by="fruits", key=8)
    assert [(each.apples, each.pears) for each in found.items] == [(5, 3)]
