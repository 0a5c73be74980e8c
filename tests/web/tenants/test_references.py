"""References where each tenant has a database: they never lead to another tenant's documents."""

from __future__ import annotations

from typing import Annotated

import pytest

from tests.web.callers import ByHeader
from tests.web.conftest import Serve, path
from tests.web.tenants.conftest import As, Make
from tornado_couch import Application, Indexed, Key, Model, Reference, Tenants, assigned, resource
from tornado_couch.web import Authenticated


class Client(Model, type="client_v1.0", key="name", unique=True):
    name: str


class Letter(Model, type="letter_v1.0", key="letter_id"):
    letter_id: Key = assigned()
    client_id: Annotated[str, Reference(Client, on_delete="cascade"), Indexed()]


class Stamp(Model, type="stamp_v1.0", key="stamp_id"):
    stamp_id: Key = assigned()
    letter_id: Annotated[str, Reference(Letter, on_delete="refuse"), Indexed()]


@pytest.fixture
async def both(make: Make, serve: Serve) -> tuple[As, As]:
    """Alice and Bob, each with a database, and collections of clients and of their letters."""
    tenants = make(models=[Client, Letter, Stamp])
    routes = [
        *resource("/clients", Client, tenants),
        *resource("/letters", Letter, tenants),
        *resource("/clients/{client_id}/letters", Letter, tenants),
    ]
    ask = await serve(Application(routes, policy=Authenticated(ByHeader())))
    return As(ask, "alice"), As(ask, "bob")


async def test_a_reference_leads_to_the_same_tenant(both: tuple[As, As]) -> None:
    """Another tenant's document is not there: not to refer to, not to embed, and not to nest under."""
    alice, bob = both
    assert (await alice("POST", "/clients", {"name": "x"})).status == 201
    letter = await alice("POST", "/letters", {"client_id": "x"})
    assert letter.status == 201
    assert (await bob("POST", "/letters", {"client_id": "x"})).status == 422
    assert (await bob("POST", "/clients/x/letters", {})).status == 404
    assert (await alice("POST", "/clients/x/letters", {})).status == 201
    shown = (await alice("GET", f"{path(letter)}?include=client")).json
    assert shown["client"]["name"] == "x"
    assert len((await alice("GET", "/clients/x/letters?include=client")).json["items"]) == 2


async def test_a_deletion_stays_with_its_tenant(both: tuple[As, As]) -> None:
    """It takes the documents of its own tenant with it, and none of another."""
    alice, bob = both
    for each in both:
        await each("POST", "/clients", {"name": "x"})
        assert (await each("POST", "/letters", {"client_id": "x"})).status == 201
    assert (await alice("DELETE", "/clients/x")).status == 204
    assert (await alice("GET", "/letters")).json["items"] == []
    assert len((await bob("GET", "/letters")).json["items"]) == 1


async def test_nested_collections_go_with_tenants_in_the_path(make: Make, serve: Serve) -> None:
    """Addresses have both, those of embedded documents and of what a refusal names too."""
    tenants = make(Tenants.by_path("/t/{tenant}"), way="name", allow=lambda *_: True, models=[Client, Letter, Stamp])
    routes = [
        *resource("/t/{tenant}/clients", Client, tenants),
        *resource("/t/{tenant}/clients/{client_id}/letters", Letter, tenants),
        *resource("/t/{tenant}/stamps", Stamp, tenants),
    ]
    alice = As(await serve(Application(routes, policy=Authenticated(ByHeader()))), "alice")
    assert path(await alice("POST", "/t/one/clients", {"name": "a/b"})) == "/t/one/clients/a%2Fb"
    letter = path(await alice("POST", "/t/one/clients/a%2Fb/letters", {}))
    assert letter.startswith("/t/one/clients/a%2Fb/letters/")
    assert (await alice("GET", letter.replace("/one/", "/two/"))).status == 404
    assert (await alice("GET", f"{letter}?include=client")).json["client"]["_href"] == "/t/one/clients/a%2Fb"
    stamp = await alice("POST", "/t/one/stamps", {"letter_id": letter.rpartition("/")[2]})
    assert (await alice("GET", f"{path(stamp)}?include=letter")).json["letter"]["_href"] == letter
    assert (await alice("DELETE", letter)).json["references"] == [path(stamp)]
    assert (await alice("DELETE", "/t/one/clients/a%2Fb")).json["references"] == [path(stamp)]
