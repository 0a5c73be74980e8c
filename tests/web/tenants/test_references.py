"""References where each tenant has a database: they never lead to another tenant's documents."""

from __future__ import annotations

from typing import Annotated

import pytest

from tests.web.callers import ByHeader
from tests.web.conftest import Serve, path
from tests.web.tenants.conftest import As, Make
from tornado_couch import Application, Indexed, Key, Model, Reference, assigned, resource
from tornado_couch.web import Authenticated


class Client(Model, type="client_v1.0", key="name", unique=True):
    name: str


class Letter(Model, type="letter_v1.0", key="letter_id"):
    letter_id: Key = assigned()
    client_id: Annotated[str, Reference(Client, on_delete="cascade"), Indexed()]


@pytest.fixture
async def both(make: Make, serve: Serve) -> tuple[As, As]:
    """Alice and Bob, each with a database, and collections of clients and of their letters."""
    tenants = make(models=[Client, Letter])
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
