"""What a client of the service is told when the service loses an answer of CouchDB, and what it is never shown."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.faults import Effect, Fault, FaultProxy, lose_answer, lose_request, never_answer, repeat_request
from tests.web.conftest import Client, Serve, application
from tornado_couch import Couch, Retry, Store, Timeout
from tornado_couch.models import WRITE_PROPERTY


@pytest.fixture
async def behind(store: Store, serve: Serve, proxy: FaultProxy) -> AsyncIterator[Client]:
    """A client of a service that reaches CouchDB by way of the proxy."""
    async with Couch(proxy.url) as couch:
        yield await serve(application(Store(couch[store.database.name], retry=Retry(base=0.001))))


@pytest.fixture
async def hasty(store: Store, serve: Serve, proxy: FaultProxy) -> AsyncIterator[Client]:
    """The same, of one that soon gives up."""
    async with Couch(proxy.url, timeout=Timeout(read=0.5)) as couch:
        retry = Retry(base=0.001, patience=0.2)
        yield await serve(application(Store(couch[store.database.name], retry=retry)))


def strike(proxy: FaultProxy, effect: Effect, times: int | None = 1) -> Fault:
    fault = Fault(effect, method="PUT", times=times)
    proxy.faults[:] = [fault]
    return fault


@pytest.mark.parametrize("effect", [lose_answer, repeat_request])
async def test_a_write_that_landed_is_success_with_its_own_etag(
    behind: Client, proxy: FaultProxy, effect: Effect
) -> None:
    """POST, PUT with If-Match, PATCH and DELETE are answered as if nothing had happened, and done once."""
    struck = [strike(proxy, effect)]
    created = await behind("POST", "/fruits", {"color": "red"})
    path = created.headers["Location"]
    assert (created.status, created.headers["ETag"][:3]) == (201, '"1-')
    struck.append(strike(proxy, effect))
    changed = await behind("PUT", path, {"color": "blue"}, If_Match=created.headers["ETag"])
    assert (changed.status, changed.headers["ETag"][:3]) == (200, '"2-')
    struck.append(strike(proxy, effect))
    patched = await behind("PATCH", path, {"weight": 3}, Content_Type="application/merge-patch+json")
    assert (patched.status, patched.headers["ETag"]) == (200, (await behind("GET", path)).headers["ETag"])
    struck.append(strike(proxy, effect))
    assert (await behind("DELETE", path, If_Match=patched.headers["ETag"])).status == 204
    assert [(await behind(method, path)).status for method in ("GET", "DELETE")] == [404, 404]
    assert [fault.hits for fault in struck] == [1, 1, 1, 1]


async def test_who_creates_a_key_that_is_unique_is_told_201_and_every_other_409(
    behind: Client, proxy: FaultProxy
) -> None:
    """Though each loses CouchDB's answer."""
    fault = strike(proxy, lose_answer, times=None)
    assert (await behind("POST", "/places", {"name": "oslo"})).status == 201
    assert (await behind("POST", "/places", {"name": "oslo"})).status == 409
    assert fault.hits > 0


@pytest.mark.parametrize(("effect", "status"), [(lose_request, 503), (never_answer, 504)])
async def test_what_stays_unknown_is_said(hasty: Client, proxy: FaultProxy, effect: Effect, status: int) -> None:
    """503, or 504 where it was time that ran out, with a type of its own and Retry-After; never success."""
    strike(proxy, effect, times=None)
    proxy.faults += [Fault(effect, path=path, times=None) for path in ("_bulk_docs", "revs=true")]
    for reply in (
        await hasty("POST", "/places", {"name": "oslo"}),
        await hasty("POST", "/places", [{"name": "odda"}, {"name": "bergen"}]),
    ):
        assert (reply.status, reply.json["type"]) == (status, "urn:tornado-couch:problem:outcome-unknown")
        assert int(reply.headers["Retry-After"]) > 0


async def test_the_token_of_a_write_never_leaves(ask: Client, store: Store) -> None:
    """Not in a document, a list, a part, an export or an answer to many; nor can a client ask for it or set it."""
    created = await ask("POST", "/fruits", {"color": "red"})
    await ask("POST", "/fruits", [{"color": "blue"}])
    path, key = created.headers["Location"], created.json["fruit_id"]
    token = (await store.database.get(key))[WRITE_PROPERTY]
    shown = [
        created,
        await ask("GET", path),
        await ask("GET", "/fruits"),
        await ask("GET", "/fruits?fields=color"),
        await ask("GET", "/fruits", Accept="application/x-ndjson"),
        await ask("PUT", path, {"color": "green"}),
        await ask("PATCH", path, {"weight": 1}, Content_Type="application/merge-patch+json"),
    ]
    assert [reply.status for reply in shown] == [201, 200, 200, 200, 200, 200, 200]
    for reply in shown:
        assert token.encode() not in reply.text
        assert WRITE_PROPERTY.encode() not in reply.text
    assert (await ask("GET", f"/fruits?fields={WRITE_PROPERTY}")).status == 400
    assert (await ask("GET", f"/fruits?{WRITE_PROPERTY}={token}")).status == 400
    assert (await ask("PUT", path, {"color": "red", WRITE_PROPERTY: "mine"})).status == 422
    patch = [{"op": "test", "path": f"/{WRITE_PROPERTY}", "value": token}]
    assert (await ask("PATCH", path, patch, Content_Type="application/json-patch+json")).status == 409
