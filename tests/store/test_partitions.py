"""Models with partitions, in a partitioned database: ids, queries for one partition, and what cannot be."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from typing import Annotated, Any

import pytest

from tests.web.conftest import Client, Serve, serve
from tornado_couch import (
    AllowAny,
    Application,
    Bounds,
    Couch,
    CreatedOn,
    Database,
    Indexed,
    Key,
    Model,
    NoIndex,
    Query,
    Store,
    install,
    resource,
)
from tornado_couch.couch import FakeTransport
from tornado_couch.errors import ModelDefinitionError, ValidationFailed
from tornado_couch.models import design_documents

__all__ = ["serve"]


class Reading(Model, type="reading_v1.0", key="reading_id", partition="sensor", indexes=[("kind", "value")]):
    reading_id: Key
    sensor: str
    value: Annotated[float, Indexed()]
    kind: str = "heat"
    created_on: CreatedOn


class Sensor(Model, type="sensor_v1.0", key="serial", partition="site"):
    serial: str
    site: str


class PartitionedNote(Model, type="note_v1.0", partition="topic"):
    topic: str


@pytest.fixture
async def database(couch: Any) -> AsyncIterator[Database]:
    """A database with the models installed; that they have partitions makes it a partitioned one."""
    name = f"test-{uuid.uuid4().hex}"
    await install(couch, name, [Reading, Sensor, PartitionedNote])
    yield couch[name]
    await couch.delete_database(name)


@pytest.fixture
async def store(database: Database) -> Store:
    return Store(database)


async def readings(store: Store) -> list[Reading]:
    made = [Reading(sensor=f"s{n % 3}", value=n, kind="heat" if n % 2 else "light") for n in range(12)]
    return [each for each in await store.create_many(Reading, made) if isinstance(each, Reading)]


async def test_ids_begin_with_the_partition(store: Store) -> None:
    """One by one and many at once; the key that clients see is the whole id."""
    one = await store.create(Reading(sensor="s1", value=1))
    assert one._id.startswith("s1:")
    assert one.reading_id == one._id
    assert (await store.get(Reading, one.reading_id)).value == 1
    assert {each._id.partition(":")[0] for each in await readings(store)} == {"s0", "s1", "s2"}


async def test_one_partition_is_read_by_its_own_address(store: Store, database: Database) -> None:
    """A query for one value goes to that partition, with and without other conditions."""
    await readings(store)
    page = await store.find(Reading, Query({"sensor": ["s1"]}), count=True)
    assert ([each.value for each in page.items], page.total) == ([each.value for each in page.items], 4)
    assert {each.sensor for each in page.items} == {"s1"}
    found = await store.find(Reading, Query({"sensor": ["s1"]}, sort=("value",), descending=True))
    assert [each.value for each in found.items] == [10, 7, 4, 1]
    found = await store.find(Reading, Query({"sensor": ["s1"]}, {"value": Bounds(gte=4, lt=10)}, sort=("value",)))
    assert [each.value for each in found.items] == [4, 7]
    found = await store.find(Reading, Query({"sensor": ["s1"], "kind": ["light"]}, sort=("value",)))
    assert [each.value for each in found.items] == [4, 10]


async def test_paging_within_a_partition(store: Store) -> None:
    """Page by page, forward and backward, each document once."""
    await readings(store)
    query = Query({"sensor": ["s2"]}, sort=("value",))
    first = await store.find(Reading, query, limit=3)
    second = await store.find(Reading, query, limit=3, start=first.next)
    assert [[each.value for each in page.items] for page in (first, second)] == [[2, 5, 8], [11]]
    back = await store.find(Reading, query, limit=3, start=second.previous, backward=True)
    assert [each.value for each in back.items] == [2, 5, 8]


async def test_the_whole_database_can_be_asked(store: Store) -> None:
    """Without a partition everything is found, by key and by index."""
    await readings(store)
    assert len((await store.find(Reading, limit=50)).items) == 12
    found = await store.find(Reading, Query(ranges={"value": Bounds(gte=9)}, sort=("value",)))
    assert [each.value for each in found.items] == [9, 10, 11]
    with pytest.raises(NoIndex):
        await store.find(Reading, Query({"sensor": ["s1", "s2"]}))  # two partitions have no common order


async def test_requests_name_the_partition() -> None:
    """The address is that of the partition, quoted, and the view one that is for it."""
    nothing, rows = b'{"error": "not_found", "reason": "missing"}', b'{"rows": [], "total_rows": 0, "offset": 0}'
    fake = FakeTransport(lambda asked: FakeTransport.reply(*((404, nothing) if "_up" in asked.target else (200, rows))))
    store = Store(Couch("http://one", transport=fake)["db"])
    await store.find(Reading, Query({"sensor": ["a/b ?"]}))
    (path, _, _) = fake.requests[-1].target.partition("?")
    name = "reading_by_reading_id_in_partition"
    assert path == f"/db/_partition/a%2Fb%20%3F/_design/{name}/_view/{name}"
    assert fake.requests[-1].template == "/{db}/_partition/{partition}/_design/{ddoc}/_view/{view}"


async def test_a_document_cannot_move(store: Store, database: Database) -> None:
    """Its id names the partition, so another value is refused, and nothing is written."""
    one = await store.create(Reading(sensor="s1", value=1))
    with pytest.raises(ValidationFailed, match="cannot be changed"):
        await store.update(Reading, one.reading_id, lambda each: setattr(each, "sensor", "s2"))
    assert (await database.get(one._id))["sensor"] == "s1"
    changed = await store.update(Reading, one.reading_id, lambda each: setattr(each, "value", 2))
    assert changed.value == 2


@pytest.mark.parametrize("value", ["", "_design", "a:b", "a\nb", "x" * 129])
async def test_what_is_no_partition_is_refused(store: Store, value: str) -> None:
    """One by one, and as the outcome of its item among others."""
    with pytest.raises(ValidationFailed, match="partition"):
        await store.create(Reading(sensor=value, value=1))
    good, bad = await store.create_many(Reading, [Reading(sensor="s1", value=1), Reading(sensor=value, value=2)])
    assert isinstance(good, Reading)
    assert isinstance(bad, ValidationFailed)


async def test_keys_of_the_client_s_own(store: Store) -> None:
    """They are looked up in the whole database, wherever the document is."""
    await store.create(Sensor(serial="x1", site="north"))
    found = await store.get(Sensor, "x1")
    assert (found.site, found._id.partition(":")[0]) == ("north", "north")
    assert [each.serial for each in (await store.find(Sensor, Query({"site": ["north"]}))).items] == ["x1"]
    assert (await store.find(Sensor, Query({"site": ["south"]}))).items == []


async def test_models_without_a_key(store: Store) -> None:
    """Ids that clients choose have to name the partition as well."""
    note = PartitionedNote(topic="a")
    assert (await store.create(note))._id.startswith("a:")
    chosen = PartitionedNote(topic="a")
    chosen._id = "b:1"
    with pytest.raises(ValidationFailed):
        await store.create(chosen)


async def test_over_http(store: Store, serve: Serve) -> None:
    """A filter by the partition, its errors, and a key with a colon in the address."""
    ask: Client = await serve(Application(resource("/readings", Reading, store), policy=AllowAny()))
    created = await ask("POST", "/readings", {"sensor": "s 1", "value": 5})
    assert created.status == 201
    path = created.headers["Location"]
    assert (await ask("GET", path)).json["value"] == 5
    listed = (await ask("GET", "/readings?sensor=s%201&value[gte]=1")).json
    assert [each["_href"] for each in listed["items"]] == [path]
    tag = created.headers["ETag"]
    moved = await ask("PUT", path, {"sensor": "s2", "value": 5}, If_Match=tag)
    assert (moved.status, moved.json["errors"][0]["pointer"]) == (422, "/sensor")
    assert (await ask("POST", "/readings", {"sensor": "a:b", "value": 5})).status == 422
    assert (await ask("GET", "/readings?sensor[gte]=a")).status == 400


def test_each_index_is_there_twice() -> None:
    """Once for the whole database and once for single partitions: CouchDB's views are for one or the other."""
    found = {each["_id"]: each["options"]["partitioned"] for each in design_documents(Sensor)}
    assert found == {"_design/sensor_by_serial": False, "_design/sensor_by_serial_in_partition": True}


@pytest.mark.parametrize(
    "arguments",
    [
        {"partition": "nothing"},
        {"partition": "site", "unique": True, "key": "site"},
        {"partition": "site", "history": True, "key": "site"},
        {"partition": "created_on"},
    ],
)
def test_what_cannot_be_a_partition_is_refused_in_the_class(arguments: dict[str, Any]) -> None:
    """With the reason, when the class is defined."""
    with pytest.raises(ModelDefinitionError):

        class Wrong(Model, type="wrong_v1.0", **arguments):
            site: str
            created_on: CreatedOn
