"""docs/shop.md: its Python is run, and its requests are sent, one after the other."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.web.conftest import Client, Serve, serve  # noqa: F401 - a fixture
from tornado_couch import Couch, Database, Store, openapi_document
from tornado_couch.web import create_account

TEXT = (Path(__file__).parents[2] / "docs" / "shop.md").read_text()
BLOCKS = re.findall(r"^```(python|text)\n(.*?)^```", TEXT, re.DOTALL | re.MULTILINE)
CODE = [text for language, text in BLOCKS if language == "python" and "async def prepare" not in text]
REQUESTS = [text for language, text in BLOCKS if language == "text"]
PASSWORDS = {"ann": "correct horse battery staple", "carl": "a clerk has a long password", "bob": "another customer's"}


def run(blocks: list[str], name: str) -> dict[str, Any]:
    """Run the page's Python, with a database of this name; return what it defines."""
    names: dict[str, Any] = {"__name__": "shop"}
    exec(compile("\n".join(blocks).replace('"shop"', repr(name)), "docs/shop.md", "exec", dont_inherit=True), names)
    return names


class Shop:
    """The service as the page makes it, for its users."""

    def __init__(self, ask: Client) -> None:
        self.ask = ask
        self.order_id = ""

    async def __call__(self, user: str, method: str, path: str, body: Any = None, **fields: str) -> Any:
        credentials = aiohttp.encode_basic_auth(user, PASSWORDS[user])
        reply = await self.ask(
            method, path.replace("{order_id}", self.order_id), body, Authorization=credentials, **fields
        )
        found = reply.json if reply.text else {}
        self.order_id = found.get("order_id", self.order_id)
        return reply


@pytest.fixture
async def shop(couch: Couch, database: Database, serve: Serve) -> Shop:  # noqa: F811
    """The shop, with its two accounts and another customer's."""
    more = [text.removesuffix("await prepare(couch)\n") for language, text in BLOCKS if "async def prepare" in text]
    names = run([*CODE, *more], database.name)
    await names["prepare"](couch)
    await create_account(Store(database), "bob", PASSWORDS["bob"])
    return Shop(await serve(names["make_app"](couch)))


def fits(shown: Any, found: Any) -> bool:
    """Whether an answer has what the page shows of it."""
    if isinstance(shown, dict) and isinstance(found, dict):
        return all(name in found and fits(value, found[name]) for name, value in shown.items())
    if isinstance(shown, list) and isinstance(found, list):
        return len(shown) == len(found) and all(map(fits, shown, found))
    return bool(shown == found)


async def test_every_request_of_the_page_is_answered_as_it_shows(shop: Shop) -> None:
    """In order, as ann; what the page leaves out of an answer may be anything."""
    for text in REQUESTS:
        asked, answered = text.split("\n\n")
        (line, *body), (status, *shown) = asked.splitlines(), answered.splitlines()
        method, path = line.split()
        reply = await shop("ann", method, path, json.loads("".join(body)) if body else None)
        assert (line, reply.status) == (line, int(status.split()[0]))
        assert fits(json.loads("".join(shown)), reply.json), (line, reply.json)
    assert len(REQUESTS) > 5


async def test_each_customer_sees_what_is_theirs_and_clerks_see_everything(shop: Shop) -> None:
    """Lists by customer, date and status; the documents of others are not there, for actions either."""
    tea = {"lines": [{"product": "tea", "price": 5}]}
    for user in ("ann", "bob"):
        assert (await shop(user, "POST", "/customers", {"name": f"{user}'s"})).status == 201
        assert (await shop(user, "POST", "/orders", tea)).status == 201
    since = "placed_on[gte]=2026-01-01T00:00:00Z&placed_on[lt]=2126-01-01T00:00:00Z"
    searches = (since, "status=open", f"status=open&{since}", f"customer_id=bob&{since}", "customer_id=bob&status=open")
    for query in searches:
        seen = (await shop("bob", "GET", f"/orders?{query}")).json["items"]
        assert [each["customer_id"] for each in seen] == ["bob"]
    for query, owners in zip(searches, (["ann", "bob"],) * 3 + (["bob"],) * 2, strict=True):
        seen = (await shop("carl", "GET", f"/orders?{query}")).json["items"]
        assert [each["customer_id"] for each in seen] == owners
    assert (await shop("carl", "GET", "/customers?name[prefix]=bo")).json["items"][0]["customer_id"] == "bob"
    assert (await shop("ann", "GET", "/orders?customer_id=bob")).json["items"] == []
    assert (await shop("ann", "GET", "/customers/bob/orders")).status == 404
    made = await shop("carl", "POST", "/customers/bob/orders", tea)
    assert (made.status, made.json["customer_id"]) == (201, "bob")
    assert (await shop("carl", "POST", "/orders", tea)).json["errors"][0]["pointer"] == "/customer_id"
    assert (await shop("ann", "POST", "/customers/bob/orders", tea)).status == 404
    assert (await shop("ann", "POST", "/orders/{order_id}/pay")).status == 404
    assert (await shop("bob", "POST", "/orders/{order_id}/pay", Idempotency_Key="p")).status == 200
    assert (await shop("carl", "POST", "/orders/{order_id}/send")).json["status"] == "sent"
    assert (await shop("bob", "POST", "/orders/{order_id}/cancel", {"reason": "x"})).status == 409
    assert (await shop("bob", "DELETE", "/orders/{order_id}")).status == 409


async def test_of_sending_and_cancelling_at_once_one_is_refused(shop: Shop) -> None:
    """Whichever comes second sees what the first has done."""
    await shop("ann", "POST", "/customers", {"name": "Ann's"})
    await shop("ann", "POST", "/orders", {"lines": [{"product": "tea", "price": 5}]})
    await shop("ann", "POST", "/orders/{order_id}/pay")
    sending = shop("carl", "POST", "/orders/{order_id}/send")
    cancelling = shop("ann", "POST", "/orders/{order_id}/cancel", {"reason": "x"})
    replies = await asyncio.gather(sending, cancelling)
    assert sorted(each.status for each in replies) == [200, 409]


async def test_the_example_is_short(couch: Couch) -> None:
    """Fewer than 120 lines, and everything in it is in the API document."""
    lines = [line for text in CODE for line in text.splitlines()]
    assert len(lines) < 120
    paths = openapi_document(run(CODE, "shop")["make_app"](couch))["paths"]
    assert {f"/orders/{{key}}/{name}" for name in ("pay", "send", "cancel")} <= paths.keys()
