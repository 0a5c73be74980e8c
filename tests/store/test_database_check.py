"""The check that the database makes of each write, in CouchDB itself."""

from __future__ import annotations

import json
from typing import Annotated, Any

import pytest
from annotated_types import Ge, MaxLen
from jsonschema import Draft202012Validator
from pydantic import Field

from tests.models.trees import TREE, VALUES, Tree
from tornado_couch import (
    CreatedOn,
    Database,
    Encrypted,
    Hashed,
    Indexed,
    Installer,
    Key,
    Merge,
    Model,
    Store,
    UpdatedOn,
    install,
)
from tornado_couch.errors import Forbidden
from tornado_couch.models import model_info
from tornado_couch.models.schema.at_rest import schema_at_rest
from tornado_couch.models.schema.validate_doc_update import database_check
from tornado_couch.security import KeyRing

RING = KeyRing.create()


class Plant(Model, type="plant_v1.1", key="plant_id"):
    plant_id: Key
    name: Annotated[str, MaxLen(3), Indexed()]
    code: Annotated[str, Field(pattern=r"^\w\d$")] = "a1"
    height: Annotated[int | None, Ge(0)] = None
    pin: Annotated[str | None, Hashed("sha3-512")] = None
    owner: Annotated[str | None, Encrypted(searchable=True)] = None
    created_on: CreatedOn
    updated_on: UpdatedOn


@pytest.fixture
async def store(database: Database) -> Store:
    """A store over a database that checks plants; what it writes is signed."""
    await install(database.server, database.name, [Plant])  # type: ignore[arg-type]
    await database.put(database_check([Plant]).design_document)
    return Store(database, signer=RING, crypter=RING)


async def test_the_store_is_never_refused(store: Store) -> None:
    """Signed, hashed and encrypted documents are created, changed, read, deleted and created again."""
    plant = await store.create(Plant(name="😀😀😀", code="é٣", pin="1234", owner="ann"))

    def grow(latest: Plant) -> None:
        latest.height = (latest.height or 0) + 1

    await store.update(Plant, plant.plant_id, grow)
    await store.update(Plant, plant.plant_id, grow)
    assert (await store.get(Plant, plant.plant_id)).height == 2
    await store.delete(Plant, plant.plant_id)
    again = Plant(name="elm")
    again._id = plant.plant_id
    assert (await store.create(again)).created_on > plant.created_on


FAULTS: dict[str, dict[str, Any]] = {
    "/name: maxLength": {"name": "long"},
    "/code: pattern": {"code": "a1\n"},
    "/height: anyOf": {"height": -1},
    "/pin: anyOf": {"pin": "1234"},
    "/owner: pattern": {"owner": "ann@example.org"},
    "/unknown: not allowed": {"unknown": 1},
    "/plant_id: cannot change": {"plant_id": "other"},
    "/created_on: cannot change": {"created_on": "2026-01-01T00:00:00.000000+00:00"},
    "/type: cannot change": {"type": "weed_v1.0"},
}


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_direct_write_is_refused(store: Store, fault: str) -> None:
    """Of what no model allows, with the place and the rule, however it is written; nothing is changed."""
    plant = await store.create(Plant(name="oak"))
    stored = await store.database.get(plant.plant_id)
    with pytest.raises(Forbidden) as caught:
        await store.database.put({**stored, **FAULTS[fault]})
    assert caught.value.reason == f"plant {fault}"
    (result,) = await store.database.bulk_docs([{**stored, **FAULTS[fault]}])
    assert (result.error, result.reason) == ("forbidden", f"plant {fault}")
    assert await store.database.get(plant.plant_id) == stored


async def test_a_replicated_write_is_refused(store: Store) -> None:
    """Revisions that were made elsewhere are checked as those made here, against the revision they come from."""
    plant = await store.create(Plant(name="oak"))
    stored = await store.database.get(plant.plant_id)
    parent = stored["_rev"].partition("-")[2]
    history = {"_rev": f"2-{'a' * 32}", "_revisions": {"start": 2, "ids": ["a" * 32, parent]}}
    (refused,) = await store.database.bulk_docs([{**stored, **history, "plant_id": "other"}], new_edits=False)
    assert (refused.error, refused.reason) == ("forbidden", "plant /plant_id: cannot change")
    (refused,) = await store.database.bulk_docs(
        [{"_id": "x", "_rev": f"1-{'b' * 32}", "type": "plant_v1.1"}], new_edits=False
    )
    assert (refused.error, refused.reason) == ("forbidden", "plant /plant_id: required")
    assert await store.database.bulk_docs([{**stored, **history, "name": "elm"}], new_edits=False) == []
    assert (await store.database.get(plant.plant_id))["name"] == "elm"


async def test_other_documents_are_written_as_before(store: Store) -> None:
    """Of other types, without one, design documents, older and later versions, and tombstones."""
    database, type_name = store.database, model_info(Plant).type.name
    for number, document in enumerate(
        ({}, {"type": 1}, {"type": "plants_v1.1"}, {"type": f"{type_name}_v1.0"}, {"type": f"{type_name}_v2.0"})
    ):
        await database.put({"_id": f"doc{number}", **document})
    later = {"type": f"{type_name}_v1.2", "plant_id": "x", "name": "elm", "new": True}
    await database.put({"_id": "later", **later})
    written = await database.put({"_id": "_design/other", "type": "plant_v1.1"})
    await database.delete("_design/other", written.rev)
    await database.delete("later", (await database.get("later"))["_rev"])


async def test_couchdb_agrees_with_jsonschema(database: Database) -> None:
    """On a document for each right and wrong value of each kind of property, and one without each."""
    await database.put(database_check([Tree]).design_document)
    documents = [{**TREE, name: value} for name, values in VALUES.items() for value in values]
    documents += [{each: value for each, value in TREE.items() if each != name} for name in TREE if name != "type"]
    for number, document in enumerate(documents):
        document["_id"] = f"t{number}"
        document.pop("_rev", None)
    validator = Draft202012Validator(schema_at_rest(Tree))
    results = await database.bulk_docs(documents)
    verdicts = {json.dumps(each): result.error for each, result in zip(documents, results, strict=True)}
    assert verdicts == {json.dumps(each): None if validator.is_valid(each) else "forbidden" for each in documents}


class StockedStand(Model, type="stand_v1.0", key="name", unique=True, soft_delete=True):
    name: str
    stock: Annotated[int, Merge.sum_of_changes] = 0
    created_on: CreatedOn
    updated_on: UpdatedOn


class Price(Model, type="price_v1.0", key="name", history=True):
    name: str
    amount: int = 0


@pytest.fixture
async def checked(database: Database) -> Store:
    """A store of models of which nothing is ever lost."""
    installer = Installer(database.server, database=database.name, models=[StockedStand, Price], validate=True)  # type: ignore[arg-type]
    await installer.install()
    return Store(database, signer=RING)


async def test_what_is_never_lost_is_never_refused(checked: Store) -> None:
    """Documents that are only marked as deleted, and those whose every version is kept."""
    await checked.create(StockedStand(name="a"))
    await checked.delete(StockedStand, "a")
    await checked.restore(StockedStand, "a")
    await checked.create(Price(name="a"))
    await checked.update(Price, "a", lambda price: setattr(price, "amount", 2))
    await checked.delete(Price, "a")
    await checked.restore(Price, "a")
    assert (await checked.get(Price, "a")).amount == 2


async def test_a_merge_is_never_refused(checked: Store) -> None:
    """Two sites created the same document; the merge takes the earlier time of creation, whichever leaf wins."""
    unsigned = Store(checked.database)
    for digest, hour in (("a", 1), ("b", 2), ("c", 0)):
        moment = f"2026-01-01T0{hour}:00:00.000000+00:00"
        leaf = {"_id": "stand:x", "_rev": f"1-{digest * 32}", "type": "stand_v1.0", "name": "x", "stock": 1}
        leaf |= {"created_on": moment, "updated_on": moment}
        assert await checked.database.bulk_docs([leaf], new_edits=False) == []
    result = await unsigned.reconciliation.reconcile(StockedStand, "stand:x")
    assert (result.problems, result.merged, result.deleted) == ([], 1, 2)
    assert (await unsigned.get(StockedStand, "x")).created_on.hour == 0
