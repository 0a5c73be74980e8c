"""Pages of a service that has a database for each tenant: health, metrics and the API document."""

from __future__ import annotations

from typing import Any

import pytest

from tests.faults import Fault, FaultProxy, answer_status
from tests.web.callers import ByHeader
from tests.web.conftest import Serve
from tests.web.models import Place
from tests.web.tenants.conftest import As, Make, application
from tornado_couch import (
    AllowAny,
    Application,
    Couch,
    Store,
    Tenants,
    health_routes,
    metrics_routes,
    openapi_document,
    openapi_routes,
    resource,
)  # fmt: skip
from tornado_couch.telemetry.prometheus import Metrics
from tornado_couch.web import Authenticated


async def test_metrics_are_those_of_the_callers_tenant(make: Make, serve: Serve) -> None:
    """Those for Prometheus name no tenant: there is no end to them."""
    tenants, metrics = make(models=[Place]), Metrics()
    ask = await serve(only_places(tenants, *metrics_routes(tenants, metrics), observers=[metrics]))
    alice, bob = As(ask, "alice"), As(ask, "bob")
    await alice("PUT", "/places/x", {"size": 1})
    counts = [(await user("GET", "/_metrics")).json["database"]["docCount"] for user in (alice, bob)]
    assert counts[0] == counts[1] + 1
    text = (await alice("GET", "/metrics")).text.decode()
    assert "tornado_couch_couchdb_exchange_seconds" in text
    assert "616c696365" not in text


async def test_metrics_can_have_the_tenant_in_their_path(make: Make, serve: Serve) -> None:
    """As the resources have; who may not use the tenant has 404."""
    tenants = make(Tenants.by_path("/t/{tenant}"), models=[Place], allow=lambda caller, name: name == "a")
    ask = await serve(only_places(tenants, *metrics_routes(tenants, prefix="/t/{tenant}")))
    assert [(await As(ask, "alice")("GET", f"/t/{name}/_metrics")).status for name in ("a", "b")] == [200, 404]


def only_places(tenants: Any, *routes: Any, **settings: Any) -> Any:
    return Application(
        [*resource("/places", Place, tenants, create_by_put=True), *routes],
        policy=Authenticated(ByHeader()),
        **settings,
    )


async def test_health_asks_the_server(proxy: FaultProxy, serve: Serve) -> None:
    """Whether it accepts requests, since there is no database that every tenant needs."""
    async with Couch(proxy.url) as couch:
        tenants = Tenants(couch, models=[Place])
        ask = await serve(only_places(tenants, *health_routes(tenants, [Place], max_age=0.0001)))
        ask.described = None
        assert (await ask("GET", "/_ready")).status == 200
        proxy.faults.append(Fault(answer_status(404, "nope"), path="/_up", times=None))
        assert (await ask("HEAD", "/_health?quick=false")).status == 503
        assert (await ask("GET", "/_live")).status == 200


async def test_health_of_a_plain_function_is_refused(store: Store) -> None:
    """Nobody knows which server its stores are on."""
    with pytest.raises(ValueError, match=r"pass Tenants\(…\)"):
        health_routes(lambda _: store)


async def test_the_api_document_has_the_tenant_in_the_path(make: Make, serve: Serve) -> None:
    """With its answers; the document itself belongs to no tenant."""
    tenants = make(Tenants.by_path("/t/{tenant}"), allow=lambda *_: True)
    app = application(tenants, *openapi_routes(), path="/t/{tenant}", policy=AllowAny())
    paths = openapi_document(app)["paths"]
    operation = paths["/t/{tenant}/places/{key}"]["get"]
    assert [each["name"] for each in operation["parameters"] if each.get("in") == "path"] == ["tenant", "key"]
    assert {"401", "404", "429", "503"} <= operation["responses"].keys()
    assert (await (await serve(app))("GET", "/openapi.json")).status == 200
