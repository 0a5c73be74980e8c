"""What holds for every request holds for files: policies, hooks, limits, nested collections, deletion, history."""

from __future__ import annotations

import asyncio
import hashlib
import uuid
from typing import Annotated, Any

import pytest

from tests.web.attachments.conftest import PDF, PNG, Order, application, put
from tests.web.attachments.test_writing import FORM, form, problem
from tests.web.callers import ByHeader
from tests.web.conftest import Serve
from tornado_couch import (
    AllowAny,
    Application,
    Attachment,
    Attachments,
    Couch,
    Database,
    Indexed,
    Key,
    MaxItems,
    Model,
    Observer,
    Problem,
    ReadOnly,
    Reference,
    Store,
    Tenants,
    WriteOnly,
    assigned,
    install,
    resource,
)
from tornado_couch.web import Authenticated, Event, Hooks, Owner, RateLimit, Roles
from tornado_couch.web import ReadOnly as ReadOnlyPolicy

ADA, BOB = {"X_Name": "ada"}, {"X_Name": "bob"}


async def test_a_file_belongs_to_the_owner_of_its_document(store: Store, serve: Serve) -> None:
    """To others neither the document nor its files exist, and nothing of what they send is read."""
    ask = await serve(Application(resource("/orders", Order, store), policy=Owner("owner", ByHeader())))
    order = (await ask("POST", "/orders", {}, **ADA)).headers["Location"]
    path = f"{order}/photos/a.png"
    assert (await put(ask, path, PNG, **ADA)).status == 201
    assert (await ask("GET", path, **ADA)).text == PNG
    for reply in (
        await ask("GET", path, **BOB),
        await ask("GET", f"{order}/photos", **BOB),
        await put(ask, path, b"no picture", **BOB),
        await ask("POST", f"{order}/photos", data=PNG, Content_Type="image/png", **BOB),
        await ask("DELETE", path, **BOB),
    ):
        assert reply.status == 404
    assert (await ask("GET", path)).status == 401
    assert (await put(ask, path, PNG)).status == 401
    assert (await ask("GET", path, **ADA)).text == PNG


async def test_roles_say_who_writes_files(store: Store, serve: Serve) -> None:
    """Whoever may retrieve the document may read its files, and whoever may patch it may write them."""
    policy = Roles({"retrieve": None, "create": None, "patch": {"editor"}}, ByHeader())
    ask = await serve(application(store, policy=policy))
    order = (await ask("POST", "/orders", {}, **ADA)).headers["Location"]
    assert (await put(ask, f"{order}/photos/a.png", PNG, **ADA)).status == 403
    assert (await put(ask, f"{order}/photos/a.png", PNG, X_Role="editor", **ADA)).status == 201
    assert (await ask("GET", f"{order}/photos/a.png", **BOB)).status == 200
    assert (await ask("DELETE", f"{order}/photos/a.png", **BOB)).status == 403


async def test_a_read_only_resource_offers_no_writes_of_files(store: Store, serve: Serve) -> None:
    """405 with `Allow`, as for the document itself; likewise where the document's class has no writes."""
    ask = await serve(application(store, policy=ReadOnlyPolicy() | Authenticated(ByHeader())))
    order = (await ask("POST", "/orders", {}, **ADA)).headers["Location"]
    await put(ask, f"{order}/photos/a.png", PNG, **ADA)
    closed = await serve(Application(resource("/orders", Order, store), policy=ReadOnlyPolicy()))
    reply = await put(closed, f"{order}/photos/a.png", PNG)
    assert (reply.status, reply.headers["Allow"]) == (405, "GET, HEAD, OPTIONS")
    assert (await closed("GET", f"{order}/photos/a.png")).text == PNG


class Scanned(Hooks):
    """Reads what has arrived, as a virus scanner does, and notes what it is called with."""

    def __init__(self) -> None:
        self.seen: list[tuple[Any, ...]] = []

    async def before(self, event: Event, model: Any = None, current: Any = None) -> Any:
        if event.file is not None and event.file.upload is not None:
            content = b"".join([part async for part in event.file.chunks()])
            assert hashlib.sha256(content).digest() == event.file.sha256
            if b"EICAR" in content:
                raise Problem(422, detail="This file has a virus.")
            model.customer = f"has {event.file.name}"
        self.seen.append(("before", event.action, event.writes, event.file and event.file.name, current is not None))

    async def after(self, event: Event, model: Any, shown: Any) -> None:
        self.seen.append(("after", event.action, event.file and event.file.length, shown is not None))
        if shown is not None and event.file is not None:
            shown["scanned"] = True


async def test_hooks_see_the_file_before_it_is_stored(store: Store, serve: Serve) -> None:
    """Name, type, length and bytes; they can refuse it, and change the document that it goes with."""
    hooks = Scanned()
    ask = await serve(application(store, hooks=hooks))
    order = (await ask("POST", "/orders", {})).headers["Location"]
    hooks.seen.clear()
    stored = await put(ask, f"{order}/photos/a.png", PNG)
    assert (stored.status, stored.json["scanned"]) == (201, True)
    assert (await ask("GET", order)).json["customer"] == "has photos/a.png"
    refused = await put(ask, f"{order}/photos/b.png", PNG + b"EICAR")
    assert (refused.status, refused.json["detail"]) == (422, "This file has a virus.")
    assert (await ask("GET", f"{order}/photos/b.png")).status == 404
    assert (await ask("DELETE", f"{order}/photos/a.png")).status == 204
    assert [each for each in hooks.seen if "retrieve" not in each[1]] == [
        ("before", "replace_file", True, "photos/a.png", True),
        ("after", "replace_file", len(PNG), True),
        ("before", "destroy_file", True, "photos/a.png", True),
        ("after", "destroy_file", len(PNG), False),
    ]


async def test_hooks_see_the_files_of_a_new_document(store: Store, serve: Serve) -> None:
    """Each of them, after the document itself; one that is refused refuses the whole."""
    hooks = Scanned()
    ask = await serve(application(store, hooks=hooks))
    files = [("invoice", "i.pdf", "application/pdf", PDF), ("photos", "a.png", "image/png", PNG)]
    created = await ask("POST", "/orders", data=form(*files), Content_Type=FORM)
    assert created.status == 201
    assert [each[1:4] for each in hooks.seen if each[0] == "before"] == [
        ("create", True, None),
        ("add_file", True, "invoice"),
        ("add_file", True, "photos/a.png"),
    ]
    infected = [*files, ("photos", "b.png", "image/png", PNG + b"EICAR")]
    assert (await ask("POST", "/orders", data=form(*infected), Content_Type=FORM)).status == 422
    assert len((await ask("GET", "/orders")).json["items"]) == 1


async def test_requests_for_files_are_counted(store: Store, serve: Serve) -> None:
    """429 once the limit is reached, before anything of the file is read."""
    ask = await serve(application(store, rate_limit=RateLimit(3, 3600)))
    order = (await ask("POST", "/orders", {})).headers["Location"]
    assert (await put(ask, f"{order}/photos/a.png", PNG)).status == 201
    assert (await ask("GET", f"{order}/photos/a.png")).status == 200
    reply = await put(ask, f"{order}/photos/a.png", PNG)
    assert (problem(reply), "Retry-After" in reply.headers) == ((429, "quota-exceeded"), True)


async def test_observers_see_files_under_one_route_each(store: Store, serve: Serve) -> None:
    """Metrics get the template of the address, and never the name of a file."""
    seen: list[tuple[str, str, int | None]] = []

    class Noting(Observer):
        def request_ended(self, route: str, method: str, status: int | None, seconds: float) -> None:
            seen.append((route, method, status))

    ask = await serve(application(store, observers=[Noting()]))
    order = (await ask("POST", "/orders", {})).headers["Location"]
    await put(ask, f"{order}/photos/a.png", PNG)
    await put(ask, f"{order}/photos/b.png", b"")
    await ask("GET", f"{order}/photos/a.png")
    assert seen[1:] == [
        ("/orders/{key}/photos/{name}", "PUT", 201),
        ("/orders/{key}/photos/{name}", "PUT", 415),
        ("/orders/{key}/photos/{name}", "GET", 200),
    ]


class Shop(Model, type="shop_v1.0", key="name", unique=True):
    name: str


class Kept(Model, type="kept_v1.0", key="kept_id", soft_delete=True):
    kept_id: Key = assigned()
    shop_id: Annotated[str, Reference(Shop), Indexed()]
    files: Annotated[Attachments, MaxItems(5)] = assigned()
    seal: Annotated[Attachment | None, ReadOnly()] = None
    secret: Annotated[Attachment | None, WriteOnly()] = None


@pytest.fixture
async def shops(database: Database) -> Store:
    """A store of nested documents that are kept when they are deleted."""
    await install(database.server, database.name, [Shop, Kept])  # type: ignore[arg-type]
    return Store(database)


async def test_files_of_a_nested_collection_are_under_its_address(shops: Store, serve: Serve) -> None:
    """With the prefix of the proxy before it; a file is not there under another parent."""
    routes = [*resource("/shops", Shop, shops), *resource("/shops/{shop_id}/kept", Kept, shops)]
    ask = await serve(Application(routes, policy=AllowAny(), base_url="/api"))
    for name in ("a", "b"):
        await ask("POST", "/shops", {"name": name})
    kept = (await ask("POST", "/shops/a/kept", {})).headers["Location"]
    stored = await put(ask, f"{kept.removeprefix('/api')}/files/x.txt", b"text", "text/plain")
    assert stored.headers["Location"] == f"{kept}/files/x.txt"
    path = stored.headers["Location"].removeprefix("/api")
    assert (await ask("GET", path)).text == b"text"
    assert (await ask("GET", path.replace("/a/", "/b/"))).status == 404
    assert (await put(ask, path.replace("/a/", "/b/"), b"text", "text/plain")).status == 404


async def test_a_deleted_document_takes_its_files_with_it(shops: Store, serve: Serve) -> None:
    """404, but for whoever may see deleted documents; once it is restored, they are back."""
    ask = await serve(Application(resource("/kept", Kept, shops), policy=AllowAny()))
    await shops.create(Shop(name="a"))
    kept = (await ask("POST", "/kept", {"shop_id": "a"})).headers["Location"]
    await put(ask, f"{kept}/files/x", b"text", "text/plain")
    read = (await ask("GET", kept)).json
    assert (await ask("DELETE", kept)).status == 204
    assert (await ask("GET", f"{kept}/files/x")).status == 404
    assert (await put(ask, f"{kept}/files/x", b"other", "text/plain")).status == 404
    shown = (await ask("GET", f"{kept}?deleted=true")).json["files"]["x"]
    assert shown["_href"] == f"{kept}/files/x?deleted=true"
    assert (await ask("GET", shown["_href"])).text == b"text"
    assert (await ask("PUT", kept, read)).status == 201
    assert (await ask("GET", f"{kept}/files/x")).text == b"text"


async def test_a_property_says_what_clients_do_with_its_files(shops: Store, serve: Serve) -> None:
    """What is read-only is not written, and what is write-only not shown."""
    ask = await serve(Application(resource("/kept", Kept, shops), policy=AllowAny()))
    await shops.create(Shop(name="a"))
    kept = (await ask("POST", "/kept", {"shop_id": "a"})).headers["Location"]
    reply = await put(ask, f"{kept}/seal", b"x", "text/plain")
    assert (reply.status, reply.headers["Allow"]) == (405, "GET, HEAD, OPTIONS")
    assert (await put(ask, f"{kept}/secret", b"x", "text/plain")).status == 201
    assert (await ask("GET", f"{kept}/secret")).status == 405
    assert "secret" not in (await ask("GET", kept)).json


def test_two_things_never_have_one_address(store: Store) -> None:
    """A property of files that is called like an action, or like the versions, is refused when it is mounted."""

    class Named(Model, type="named_v1.0", key="named_id"):
        named_id: Key = assigned()
        versions: Attachments = assigned()

    class Acting(Model, type="acting_v1.0", key="acting_id"):
        acting_id: Key = assigned()
        label: Attachments = assigned()

    def label(document: Any) -> None:
        """Label it."""

    with pytest.raises(ValueError, match=r"/named/\{key\}/versions is the address of the versions"):
        resource("/named", Named, store)
    with pytest.raises(ValueError, match=r"/acting/\{key\}/label is the address of an action"):
        resource("/acting", Acting, store, actions={"label": label})


class Record(Model, type="record_v1.0", key="name", unique=True, history=True):
    name: str
    note: str = ""
    scan: Attachment | None = None


async def test_a_version_has_the_files_that_it_had(database: Database, serve: Serve) -> None:
    """`?version=1` of a file is what it was; the addresses in a version lead there."""
    await install(database.server, database.name, [Record])  # type: ignore[arg-type]
    ask = await serve(Application(resource("/records", Record, Store(database)), policy=AllowAny()))
    parts = [("document", None, "", b'{"name": "r"}'), ("scan", "s", "text/plain", b"first")]
    assert (await ask("POST", "/records", data=form(*parts), Content_Type=FORM)).status == 201
    assert (await put(ask, "/records/r/scan", b"second", "text/plain")).status == 200
    assert (await ask("GET", "/records/r/scan")).text == b"second"
    shown = (await ask("GET", "/records/r?version=1")).json["scan"]
    assert shown["_href"] == "/records/r/scan?version=1"
    old = await ask("GET", shown["_href"])
    assert (old.text, old.headers["ETag"]) == (b"first", shown["_etag"])
    listed = (await ask("GET", "/records/r/versions")).json["items"]
    assert [each["scan"]["_href"] for each in listed] == ["/records/r/scan?version=2", "/records/r/scan?version=1"]


async def test_each_tenant_has_files_of_its_own(couch: Couch, serve: Serve) -> None:
    """In its own database: what one has uploaded is not there for another one."""
    prefix = f"t{uuid.uuid4().hex[:12]}-"
    tenants = Tenants(couch, models=[Record], create=True, database=f"{prefix}{{hex}}")
    try:
        policy = Authenticated(ByHeader())
        ask = await serve(Application(resource("/records", Record, tenants), policy=policy))
        parts = [("document", None, "", b'{"name": "r"}'), ("scan", "s", "text/plain", b"of Ada")]
        assert (await ask("POST", "/records", data=form(*parts), Content_Type=FORM, **ADA)).status == 201
        assert (await put(ask, "/records/r/scan", b"second", "text/plain", **ADA)).status == 200
        assert (await ask("GET", "/records/r/scan", **ADA)).text == b"second"
        assert (await ask("GET", "/records/r/scan", **BOB)).status == 404
        assert (await put(ask, "/records/r/scan", b"x", "text/plain", **BOB)).status == 404
    finally:
        await tenants.close()
        await asyncio.gather(*map(couch.delete_database, await couch.databases(prefix=prefix)))
