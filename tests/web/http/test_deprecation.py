"""Deprecated resources: what each answer says, and the API document."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from openapi_spec_validator import validate

from tests.web.conftest import Serve
from tests.web.models import Fruit
from tornado_couch import AllowAny, Application, Store, openapi_document, resource
from tornado_couch.web import Deprecation

SINCE = datetime(2026, 11, 22, 6, 0, tzinfo=UTC)
OLD = Deprecation(SINCE, SINCE + timedelta(days=100))


async def test_every_answer_says_since_when_and_until_when(store: Store, serve: Serve) -> None:
    """Errors as well; of another resource none does. RFC 9745 §2.1: a date as a structured field. RFC 8594 §3."""
    routes = [*resource("/old", Fruit, store, deprecation=OLD), *resource("/new", Fruit, store)]
    ask = await serve(Application(routes, policy=AllowAny()))
    made = await ask("POST", "/old", {"color": "red"})
    refused = await ask("POST", "/old", {"color": ""})
    missing = await ask("GET", "/old/nope")
    assert [made.status, refused.status, missing.status] == [201, 422, 404]
    for reply in (made, refused, missing):
        assert reply.headers["Deprecation"] == "@1795327200"
        assert reply.headers["Sunset"] == "Tue, 02 Mar 2027 06:00:00 GMT"
    other = await ask("GET", "/new")
    assert (other.status, "Deprecation" in other.headers) == (200, False)


def test_the_api_document_says_so(store: Store) -> None:
    """Of each operation; the fields of each answer."""
    routes = [*resource("/old", Fruit, store, deprecation=Deprecation(SINCE)), *resource("/new", Fruit, store)]
    document = openapi_document(Application(routes, policy=AllowAny()))
    validate(document)
    assert {"/old", "/old/{key}", "/new", "/new/{key}"} <= document["paths"].keys()
    for path, methods in document["paths"].items():
        for operation in methods.values():
            assert operation.get("deprecated", False) is path.startswith("/old")
            for answer in operation["responses"].values():
                assert ("Deprecation" in answer.get("headers", {})) is path.startswith("/old")
                assert "Sunset" not in answer.get("headers", {})


@pytest.mark.parametrize("arguments", [(SINCE.replace(tzinfo=None),), (SINCE, SINCE - timedelta(days=1))])
def test_times_that_cannot_be_are_refused(arguments: tuple[datetime, ...]) -> None:
    """Without a time zone; gone before it is deprecated."""
    with pytest.raises(ValueError, match=r"^Deprecation: "):
        Deprecation(*arguments)
