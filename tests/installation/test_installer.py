"""The installer: what it plans, what it does, and that it can do it again, ten times at once."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Annotated, Any

import pytest
from pydantic import Field

from tests.installation.installing import Fruit, Place, Stand, design_ids, write
from tornado_couch import (
    ApplicationUser,
    BasicAuth,
    Couch,
    Database,
    Indexed,
    Installer,
    Key,
    Model,
    Store,
    install,
)
from tornado_couch.errors import Forbidden, InstallError, NotFound, Refused, Unauthorized, Unavailable
from tornado_couch.models import VALIDATION_DOCUMENT, design_documents
from tornado_couch.security import KeyRing, Scheme

RING = KeyRing.create()


@pytest.fixture
async def name(couch: Couch) -> AsyncIterator[str]:
    """The name of a database that is not there, and not afterwards either."""
    found = f"test-{uuid.uuid4().hex}"
    yield found
    if await couch[found].exists():
        await couch.delete_database(found)


@pytest.fixture
def folders(tmp_path: Path) -> dict[str, Path]:
    """A folder of design documents, and one of seed documents."""
    design = write(
        tmp_path / "design",
        by_length__js="function (doc) { if (doc.color) { emit(doc.color.length, null); } }",
        by_length__reduce__js="_count",
        sized__json={"map": "function (doc) { if (doc.size) { emit(doc.size, doc.size); } }", "reduce": "_sum"},
        checks__json={"filters": {"large": "function (doc) { return doc.size > 9; }"}, "views": {}},
        README__md="no design document",
    )
    seeds = write(
        tmp_path / "seeds",
        fruits__json=[
            {"type": "fruit_v1.0", "fruit_id": "f1", "color": "red"},
            {"type": "fruit_v1.0", "fruit_id": "f2", "color": "green"},
        ],
        place__json={"type": "place_v1.2", "name": "here", "size": 3, "pin": "one two three", "owner": "ann"},
        stand__json={"type": "stand_v1.0", "code": "a/b", "price": 2},
        note__json={"_id": "note", "text": "of no model"},
    )
    return {"design_docs": design, "seeds": seeds}


EVERYTHING = [
    "by_length",
    "checks",
    "conflicts",
    "fruit_by_color",
    "fruit_by_color_and_created_on",
    "fruit_by_fruit_id",
]
EVERYTHING += ["place_by_name", "place_by_owner", "place_count_by_size", "sized", "stand_by_code"]
EVERYTHING += ["tornado_couch_validation"]


def everything(couch: Couch, name: str, folders: dict[str, Path], **more: Any) -> Installer:
    options = {"models": [Fruit, Place, Stand], "signer": RING, "crypter": RING, "validate": True, **folders, **more}
    return Installer(couch, database=name, **options)


async def test_a_plan_says_what_would_be_done_and_does_nothing(
    couch: Couch, name: str, folders: dict[str, Path]
) -> None:
    """As text and as JSON, in the order of doing."""
    plan = await everything(couch, name, folders, n=1, security={"admins": {"roles": ["gardener"]}}).plan()
    shown = [f"{each['action']} {each['kind']} {each['name']}" for each in plan.as_json()["steps"]]
    assert shown == [
        f"create database {name}",
        f"change security object {name}",
        *shown[2:-4],
        "create seed documents fruit_v1.0",
        "create seed documents place_v1.2",
        "create seed documents stand_v1.0",
        "create seed documents without a model",
    ]
    assert sorted(shown[2:-4]) == [f"create design document _design/{each}" for each in EVERYTHING]
    for line in (name, "create   database", "(admins: roles gardener)", "_design/fruit_by_color", "(2 of 2)"):
        assert line in plan.text
    assert "password" not in json.dumps(plan.as_json())
    assert not await couch[name].exists()


async def test_everything_is_installed_once(couch: Couch, name: str, folders: dict[str, Path]) -> None:
    """And running again finds nothing to do."""
    done = await everything(couch, name, folders).install()
    assert done[0] == f"created database {name}"
    assert await design_ids(couch[name]) == EVERYTHING
    count = (await couch[name].info())["doc_count"]
    assert count == len(EVERYTHING) + 5
    plan = await everything(couch, name, folders).plan()
    assert not plan
    assert plan.text.endswith("nothing to do")
    assert await everything(couch, name, folders).install() == []
    assert (await couch[name].info())["doc_count"] == count


async def test_ten_at_once_install_everything_once(couch: Couch, name: str, folders: dict[str, Path]) -> None:
    """Each thing is done by one of them; none fails, and nothing is there twice."""
    done = await asyncio.gather(*(everything(couch, name, folders).install() for _ in range(10)))
    together = [each for some in done for each in some if not each.startswith("stored")]
    assert len(together) == len(set(together)) == len(EVERYTHING) + 1
    assert await design_ids(couch[name]) == EVERYTHING
    assert (await couch[name].info())["doc_count"] == len(EVERYTHING) + 5
    assert not await everything(couch, name, folders).plan()
    conflicts = await couch[name].all_docs(include_docs=True, conflicts=True)
    assert [row.id for row in conflicts.rows if row.doc and "_conflicts" in row.doc] == []


async def test_what_is_installed_works(couch: Couch, name: str, folders: dict[str, Path]) -> None:
    """Views of models and of the folder, signed and protected seed documents, and the database's own check."""
    await everything(couch, name, folders).install()
    database = couch[name]
    assert [(row.key, row.value) for row in (await database.view("by_length", "by_length", group=True)).rows] == [
        (3, 1),
        (5, 1),
    ]
    assert [row.value for row in (await database.view("sized", "sized")).rows] == [3]
    store = Store(database, signer=RING, crypter=RING)
    assert [each.color for each in (await store.find(Fruit, by="color")).items] == ["green", "red"]
    place = (await store.find(Place, by="owner", key="ann")).items[0]
    assert await store.verify(place, "pin", "one two three")
    assert (await store.get(Stand, "a/b")).price == 2
    assert (await store.get(Fruit, "f1")).created_on is not None
    assert "tornado_couch_signature" in await database.get("note")
    assert "one two three" not in json.dumps((await database.all_docs(include_docs=True)).rows)
    with pytest.raises(Forbidden, match="fruit /color: minLength"):
        await database.put({"_id": "x", "type": "fruit_v1.0", "fruit_id": "x", "color": ""})


async def test_seed_documents_are_left_as_they_became(couch: Couch, name: str, folders: dict[str, Path]) -> None:
    """A changed one stays changed; one that was deleted is missing, and comes back."""
    await everything(couch, name, folders).install()
    store = Store(couch[name], signer=RING, crypter=RING)

    def paint(fruit: Fruit) -> None:
        fruit.color = "blue"

    await store.update(Fruit, "f1", paint)
    await store.delete(Place, "here")
    await couch[name].delete("note", (await couch[name].get("note"))["_rev"])
    done = await everything(couch, name, folders).install()
    assert done == ["stored 1 seed documents of place_v1.2", "stored 1 other seed documents"]
    assert (await store.get(Fruit, "f1")).color == "blue"
    assert (await store.get(Place, "here")).size == 3
    assert not await everything(couch, name, folders).plan()


async def test_a_seed_document_that_was_stored_under_another_id_is_there(
    couch: Couch, name: str, tmp_path: Path
) -> None:
    """It is known by its natural key: one that came by the API, or from tor-async-couchdb."""
    await install(couch, name, [Fruit, Place])
    await couch[name].put({"_id": "old", "type": "fruit_v1.0", "fruit_id": "f1", "color": "red"})
    await Store(couch[name], crypter=RING).create(Place(name="here"))
    seeds = write(
        tmp_path,
        a__json=[{"type": "fruit_v1.0", "fruit_id": "f1", "color": "red"}, {"type": "place_v1.2", "name": "here"}],
    )
    assert await Installer(couch, database=name, models=[Fruit, Place], seeds=seeds, crypter=RING).install() == []


class Reading(Model, type="reading_v1.0", key="reading_id", partition="sensor"):
    reading_id: Key
    sensor: str


class Sensor(Model, type="sensor_v1.0", key="serial", partition="site"):
    serial: str
    site: str


async def test_seed_documents_belong_to_their_partitions(couch: Couch, name: str, tmp_path: Path) -> None:
    """By their ids: those that the installer makes, and those that a generated key brings along."""
    reading = {"type": "reading_v1.0", "reading_id": "s1:a", "sensor": "s1"}
    write(tmp_path, a__json=[reading, {"type": "sensor_v1.0", "serial": "s1", "site": "roof"}])
    installer = Installer(couch, database=name, models=[Reading, Sensor], seeds=tmp_path, validate=True)
    await installer.install()
    rows = (await couch[name].all_docs(endkey="_design")).rows + (await couch[name].all_docs(startkey="a")).rows
    assert [row.id for row in rows] == ["roof:sensor:s1", "s1:a"]
    assert not await installer.plan()
    with pytest.raises(Forbidden, match="/site: cannot change"):
        await couch[name].put({**await couch[name].get("roof:sensor:s1"), "site": "cellar"})
    write(tmp_path, a__json={**reading, "sensor": "s2"})
    with pytest.raises(InstallError, match=r"a\.json.*/sensor"):
        await installer.plan()


BAD_SEEDS: dict[str, Any] = {
    "no JSON": "{",
    "no object": [1],
    "no type": {"color": "red"},
    "no model": {"type": "pear_v1.0"},
    "no key": {"type": "fruit_v1.0", "color": "red"},
    "invalid": {"type": "fruit_v1.0", "fruit_id": "x", "color": ""},
    "unknown property": {"type": "fruit_v1.0", "fruit_id": "x", "color": "red", "colour": "red"},
    "another version": {"type": "fruit_v9.0", "fruit_id": "x", "color": "red"},
    "twice": [{"type": "fruit_v1.0", "fruit_id": "x", "color": "red"}] * 2,
    "twice by id": [{"_id": "x"}, {"_id": "x", "a": 1}],
    "a revision": {"_id": "x", "_rev": "1-a"},
    "a design document": {"_id": "_design/x", "views": {}},
    "too deep": "[" * 5000,
}


@pytest.mark.parametrize("fault", BAD_SEEDS)
async def test_wrong_seed_documents_are_told_before_anything_is_done(
    couch: Couch, name: str, tmp_path: Path, fault: str
) -> None:
    """With the file's name; and not with what stands in it."""
    seeds = write(tmp_path, wrong__json=BAD_SEEDS[fault])
    with pytest.raises(InstallError, match=r"wrong\.json"):
        await Installer(couch, database=name, models=[Fruit], seeds=seeds).install()
    assert not await couch[name].exists()


BAD_DESIGNS: dict[str, dict[str, Any]] = {
    "no JSON": {"wrong__json": "{"},
    "no object": {"wrong__json": []},
    "neither view nor design document": {"wrong__json": {"color": "red"}},
    "another name": {"wrong__json": {"_id": "_design/other", "views": {}}},
    "nothing": {"wrong__js": " \n"},
    "two files": {"wrong__js": "function (doc) {}", "wrong__json": {"map": "function (doc) {}"}},
    "a reduce alone": {"wrong__reduce__js": "_count"},
    "ours": {"tornado_couch_wrong__js": "function (doc) {}"},
    "of a model": {"fruit_by_color__js": "function wrong (doc) {}"},
}


@pytest.mark.parametrize("fault", BAD_DESIGNS)
async def test_wrong_design_documents_are_told_before_anything_is_done(
    couch: Couch, name: str, tmp_path: Path, fault: str
) -> None:
    """With the file's name, or the document's where another one has the same."""
    folder = write(tmp_path / "design", **BAD_DESIGNS[fault])
    with pytest.raises(InstallError, match=r"wrong|_design/fruit_by_color"):
        await Installer(couch, database=name, models=[Fruit], design_docs=folder).install()
    assert not await couch[name].exists()


async def test_folders_that_are_not_there_are_told(couch: Couch, name: str, tmp_path: Path) -> None:
    """Rather than taken for empty."""
    for option in ("design_docs", "seeds"):
        with pytest.raises(InstallError, match="nowhere"):
            await Installer(couch, database=name, **{option: tmp_path / "nowhere"}).plan()  # type: ignore[arg-type]


@pytest.mark.parametrize("bad", ["Orchard", "_orchard", "", "1a", "a b", "../_users"])
async def test_a_wrong_name_of_a_database_is_told(couch: Couch, bad: str) -> None:
    """By ourselves, or as CouchDB says it."""
    with pytest.raises(InstallError, match=r"name|Name"):
        await Installer(couch, database=bad).install()


# ---- the database


async def test_a_database_has_the_shape_that_is_asked_for(couch: Couch, name: str) -> None:
    """Shards, copies and partitions; of one that is there, what differs is told."""
    await Installer(couch, database=name, q=3, n=1, partitioned=True, models=[Fruit]).install()
    info = await couch[name].info()
    assert info["props"] == {"partitioned": True}
    q = info["cluster"]["q"]
    assert q in (3, 1)  # the embedded server has one shard, whatever it is asked for
    await couch[name].put({"_id": "p:1", "type": "fruit_v1.0", "fruit_id": "p:1", "color": "red"})
    # The views of models are of the whole database all the same.
    store = Store(couch[name])
    assert [each.color for each in (await store.find(Fruit, by="color")).items] == ["red"]
    plan = await Installer(couch, database=name, q=4, models=[Fruit]).plan()
    assert not plan
    assert plan.warnings == (f"the database has q={q} instead of q=4; only a new database can have that",)


async def test_a_database_can_be_deleted_first(couch: Couch, name: str) -> None:
    """With everything in it; alone where nothing is to be created."""
    await install(couch, name, [Fruit])
    await couch[name].put({"_id": "old"})
    installer = Installer(couch, database=name, models=[Fruit], delete=True)
    assert (await installer.plan()).steps[0].detail == "5 documents"
    assert (await installer.install())[:2] == [f"deleted database {name}", f"created database {name}"]
    with pytest.raises(NotFound):
        await couch[name].get("old")
    only = Installer(couch, database=name, models=[Fruit], delete=True, create=False)
    assert await only.install() == [f"deleted database {name}"]
    assert await only.install() == []
    with pytest.raises(InstallError, match="does not exist"):
        await Installer(couch, database=name, create=False).install()


async def test_lists_of_the_security_object_are_set_and_others_stay(couch: Couch, database: Database) -> None:
    """And setting them again does nothing."""
    await database.set_security({"admins": {"names": ["ann"], "roles": ["a"]}, "members": {"roles": ["b"]}, "x": 1})
    declared = {"admins": {"roles": ["gardener"]}, "members": {"names": ["bob"]}}
    await Installer(couch, database=database.name, security=declared).install()
    assert await database.security() == {
        "admins": {"names": ["ann"], "roles": ["gardener"]},
        "members": {"roles": ["b"], "names": ["bob"]},
        "x": 1,
    }
    assert await Installer(couch, database=database.name, security=declared).install() == []


@pytest.mark.parametrize("wrong", [{"owners": {}}, {"admins": {"groups": []}}, {"admins": []}])
async def test_a_wrong_security_object_is_told(couch: Couch, name: str, wrong: dict[str, Any]) -> None:
    """Before anything is done."""
    with pytest.raises(InstallError, match="admins and members"):
        await Installer(couch, database=name, security=wrong).install()
    assert not await couch[name].exists()


@pytest.fixture
async def user(couch: Couch) -> AsyncIterator[ApplicationUser]:
    """A user that is not there, and not afterwards either."""
    found = ApplicationUser(f"app-{uuid.uuid4().hex}", "secret")
    yield found
    document_id = f"org.couchdb.user:{found.name}"
    revision = await couch["_users"].revision(document_id)
    if revision is not None:
        await couch["_users"].delete(document_id, revision)


async def test_the_applications_user_can_change_documents_and_nothing_else(
    couch: Couch, name: str, user: ApplicationUser
) -> None:
    """It is a member of its own database; making it again does nothing."""
    installer = Installer(couch, database=name, models=[Fruit], user=user)
    assert user.password not in (await installer.plan()).text
    assert f"created the user {user.name}" in await installer.install()
    assert not await installer.plan()
    async with Couch(couch.url, auth=BasicAuth(user.name, "secret")) as client:
        assert (await client.session())["userCtx"]["roles"] == [name]
        store = Store(client[name])
        fruit = await store.create(Fruit(color="red"))
        await store.delete(Fruit, fruit.fruit_id)
        attempts: list[Callable[[], Awaitable[Any]]] = [
            lambda: client[name].put({"_id": "_design/x"}),
            lambda: client[name].set_security({}),
            lambda: client.delete_database(name),
            lambda: Installer(client, database=f"{name}-two").install(),
        ]
        for attempt in attempts:
            # CouchDB answers 500 where one who is no admin sets a security object.
            with pytest.raises((Unauthorized, Forbidden, Unavailable)):
                await attempt()
    assert (await couch[name].security())["members"]["roles"][-1] == name
    async with Couch(couch.url) as nobody:
        if (await nobody.session())["userCtx"]["roles"] != ["_admin"]:  # an embedded server has no admin
            with pytest.raises(Refused):
                await nobody[name].info()


async def test_several_at_once_make_the_user_once(couch: Couch, name: str, user: ApplicationUser) -> None:
    """And the database's security object, whoever is faster."""
    installers = [Installer(couch, database=name, user=user, security={"admins": {"roles": ["a"]}}) for _ in range(4)]
    done = await asyncio.gather(*(each.install() for each in installers))
    assert [each for some in done for each in some].count(f"created the user {user.name}") == 1
    security = await couch[name].security()
    assert (security["admins"]["roles"], security["members"]["roles"][-1]) == (["a"], name)
    assert not await installers[0].plan()


async def test_a_user_is_given_what_it_lacks(couch: Couch, name: str, user: ApplicationUser) -> None:
    """The role and the password that is declared; its other roles are told, and stay."""
    await Installer(couch, database=name, user=user).install()
    other = ApplicationUser(user.name, "changed", role="picker")
    plan = await Installer(couch, database=name, user=other).plan()
    assert [each.detail for each in plan.steps if each.kind == "user"] == [
        "adds the role picker; sets another password"
    ]
    assert plan.warnings == (f"the user {user.name} has other roles too: {name}",)
    await Installer(couch, database=name, user=other).apply(plan)
    assert not await Installer(couch, database=name, user=other).plan()
    async with Couch(couch.url, auth=BasicAuth(user.name, "changed")) as client:
        assert (await client.session())["userCtx"]["roles"] == [name, "picker"]
    # Without a password what is there stays.
    assert not await Installer(couch, database=name, user=ApplicationUser(user.name, role="picker")).plan()


async def test_a_user_needs_a_password_to_be_made(couch: Couch, name: str) -> None:
    """Nothing is done without it."""
    with pytest.raises(InstallError, match="no password"):
        await Installer(couch, database=name, user=ApplicationUser(f"app-{uuid.uuid4().hex}")).install()
    assert not await couch[name].exists()


# ---- design documents that are no longer wanted


class Renamed(Model, type="fruit_v1.1", key="fruit_id"):
    fruit_id: Key
    taste: Annotated[str, Indexed()] = ""


async def test_what_is_no_longer_wanted_goes_when_that_is_said(
    couch: Couch, name: str, folders: dict[str, Path]
) -> None:
    """What came from these models and this folder; never what others wrote."""
    design = folders["design_docs"]
    await Installer(couch, database=name, models=[Fruit, Place], design_docs=design).install()
    await couch[name].put({"_id": "_design/fruit_by_hand", "views": {"x": {"map": "function (doc) {}"}}})
    (design / "sized.json").unlink()
    stale = ["_design/fruit_by_color", "_design/fruit_by_color_and_created_on", "_design/sized"]
    plan = await Installer(couch, database=name, models=[Renamed], design_docs=design).plan()
    assert [each.split()[0] for each in plan.warnings] == stale
    assert [(each.action, each.name) for each in plan.steps] == [("create", "_design/fruit_by_taste")]
    done = await Installer(couch, database=name, models=[Renamed], design_docs=design, prune=True).install()
    assert done == ["wrote _design/fruit_by_taste", *(f"removed {each}" for each in stale)]
    kept = ["by_length", "checks", "conflicts", "fruit_by_fruit_id", "fruit_by_hand", "fruit_by_taste"]
    assert await design_ids(couch[name]) == [*kept, "place_by_name", "place_by_owner", "place_count_by_size"]


async def test_design_documents_that_were_there_are_taken_over(couch: Couch, name: str) -> None:
    """Those that an older installer wrote stay as they are but for saying where they are from; no index is built."""
    await couch.create_database(name)
    for document in design_documents(Fruit):
        await couch[name].put(document)
    plan = await Installer(couch, database=name, models=[Fruit]).plan()
    assert {each.action for each in plan.steps if "fruit" in each.name} == {"change"}


async def test_of_two_versions_of_a_type_the_later_one_has_the_views(couch: Couch, name: str) -> None:
    """Views show documents of every version."""
    await Installer(couch, database=name, models=[Renamed, Fruit]).install()
    assert not await Installer(couch, database=name, models=[Fruit, Renamed]).plan()


# ---- the check of writes


class Strict(Model, type="fruit_v1.0", key="fruit_id"):
    fruit_id: Key
    color: Annotated[str, Field(pattern=r"^\w+$")]
    word: Annotated[str | None, Field(json_schema_extra={"pattern": r"\bx"})] = None


async def test_the_check_of_writes_is_kept_as_it_was_chosen(couch: Couch, name: str) -> None:
    """Off until it is said; then kept up to date; and removed when that is said."""
    database, bad = couch[name], {"_id": "x", "type": "fruit_v1.0", "fruit_id": "x", "color": "no word"}
    await Installer(couch, database=name, models=[Fruit]).install()
    assert VALIDATION_DOCUMENT.removeprefix("_design/") not in await design_ids(database)
    await Installer(couch, database=name, models=[Fruit], validate=True).install()
    written = await database.put(bad)
    done = await Installer(couch, database=name, models=[Strict]).install()
    assert f"wrote {VALIDATION_DOCUMENT}" in done
    with pytest.raises(Forbidden):
        await database.put({**bad, "_rev": written.rev})
    done = await Installer(couch, database=name, models=[Strict], validate=False).install()
    assert done == [f"removed {VALIDATION_DOCUMENT}"]
    await database.put({**bad, "_rev": written.rev})


async def test_what_the_check_leaves_out_is_told(couch: Couch, name: str) -> None:
    """As a warning of the plan."""
    plan = await Installer(couch, database=name, models=[Strict], validate=True).plan()
    assert [each.partition("/word")[0] for each in plan.warnings] == ["the database does not check this: fruit_v1.0 "]


async def test_another_services_check_is_not_taken_away_unsaid(couch: Couch, name: str) -> None:
    """Where two services share a database, one that does not ask for checks leaves those of the other."""
    await Installer(couch, database=name, models=[Fruit, Place], validate=True).install()
    plan = await Installer(couch, database=name, models=[Fruit]).plan()
    assert plan.warnings == (f"{VALIDATION_DOCUMENT} also checks place, so it is left as it is",)
    plan = await Installer(couch, database=name, models=[Fruit], validate=True).plan()
    assert plan.warnings == (f"{VALIDATION_DOCUMENT} no longer checks place",)


async def test_a_server_that_is_not_there_is_an_outage() -> None:
    """Nothing else is made of it."""
    async with Couch("http://127.0.0.1:9") as couch:
        with pytest.raises(Unavailable):
            await Installer(couch, database="orchard", models=[Fruit]).plan()


async def test_a_server_that_computes_revisions_otherwise_is_refused_for_v3(
    couch: Couch, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before any document is signed; the message says what to do, and scheme v2 works there."""

    async def installed(**options: Any) -> list[str]:
        return await Installer(couch, database=database.name, models=[Fruit], **options).install()

    assert await installed(signer=RING)
    assert await installed(signer=RING) == []
    monkeypatch.setattr("tornado_couch.store.protection.signatures.revision_of", lambda *_: "1-other")
    with pytest.raises(InstallError, match="--scheme v2"):
        await installed(signer=RING)
    assert await installed(signer=RING, scheme=Scheme.V2) == []
    assert await installed() == []
