"""A service behind other people's proxies: the base path that they strip, and what they change on the way."""

from __future__ import annotations

import gzip
import json
import re
from pathlib import Path
from typing import Any

import pytest

import example_app
from tests.web.conftest import Client, Reply, Serve, application
from tests.web.models import Fruit
from tornado_couch import AllowAny, Application, Store, docs_routes, health_routes, openapi_routes
from tornado_couch.web.action_table import JSON, NDJSON
from tornado_couch.web.openapi.document import ApiInfo

BASE = "/orchard/api"


def addresses(reply: Reply) -> list[str]:
    """Every address in an answer: of header fields, items, links and problems."""
    found = [reply.headers[name] for name in ("Location", "Content-Location") if name in reply.headers]
    found += re.findall(r"<([^>]+)>", reply.headers.get("Link", ""))
    if reply.text:
        body = reply.json
        found += [body[name] for name in ("next", "prev", "instance") if name in body]
        found += [each["_href"] for each in body.get("items", ())]
    return found


async def walk(ask: Client, *, prefix: str, **headers: str) -> list[str]:
    """Create, list, page and miss documents as behind a proxy that strips a prefix; return all addresses."""
    found = []
    for color in ("red", "green", "blue"):
        created = await ask("POST", "/fruits", {"color": color}, **headers)
        found += addresses(created)
        assert (await ask("GET", created.headers["Location"].removeprefix(prefix), **headers)).status == 200
    page = await ask("GET", "/fruits?limit=2&sort=color", **headers)
    found += addresses(page)
    following = await ask("GET", page.json["next"].removeprefix(prefix), **headers)
    assert [each["color"] for each in following.json["items"]] == ["red"]
    found += addresses(following)
    for path in ("/fruits/nothing", "/nowhere"):
        found += addresses(await ask("GET", path, **headers))
    found += addresses(await ask("POST", "/fruits", [{"color": "red"}], **headers))
    deletion = {"action": "delete", "key": "missing"}
    failed = await ask("POST", "/fruits/_bulk", {"operations": [deletion]}, **headers)
    return [*found, failed.json["items"][0]["problem"]["instance"]]


@pytest.mark.parametrize("base", [BASE, "https://fruits.example/v1"])
async def test_every_address_in_an_answer_begins_with_the_base_url(store: Store, serve: Serve, base: str) -> None:
    """Location, `_href`, `next`, Link and a problem's `instance`, in answers to one and to many."""
    ask = await serve(application(store, base_url=base))
    found = await walk(ask, prefix=base)
    assert len(found) > 12
    assert [each for each in found if not each.startswith(f"{base}/")] == []


async def test_the_prefix_of_a_trusted_proxy_goes_before_the_base_url(store: Store, serve: Serve) -> None:
    """Each request has the addresses that its own client uses."""
    ask = await serve(application(store, base_url="/other", trusted_proxies=["127.0.0.0/8"]))
    found = await walk(ask, prefix=BASE, X_Forwarded_Prefix=f"{BASE}/")
    assert [each for each in found if not each.startswith(f"{BASE}/")] == []
    assert (await ask("GET", "/fruits/nothing")).json["instance"] == "/other/fruits/nothing"


@pytest.mark.parametrize(
    ("settings", "given"),
    [
        ({}, BASE),
        ({"trusted_proxies": ["10.0.0.0/8", "::1"]}, BASE),
        ({"trusted_proxies": ["127.0.0.1"]}, "//evil.example"),
        ({"trusted_proxies": ["127.0.0.1"]}, "https://evil.example"),
        ({"trusted_proxies": ["127.0.0.1"]}, '/a"<script>'),
        ({"trusted_proxies": ["127.0.0.1"]}, "/evil,/orchard"),
        ({"trusted_proxies": ["127.0.0.1"]}, "/orchard/%2E./evil"),
    ],
)
async def test_a_prefix_of_anybody_else_or_that_is_no_path_is_ignored(
    store: Store, serve: Serve, settings: dict[str, Any], given: str
) -> None:
    """Otherwise a client could make the service name another host in its answers."""
    ask = await serve(application(store, **settings))
    assert (await ask("GET", "/fruits/nothing", X_Forwarded_Prefix=given)).json["instance"] == "/fruits/nothing"


@pytest.mark.parametrize("base", ["orchard", "/orchard/", "//orchard", "/a b", "/a/..", "ftp://fruits.example"])
def test_a_base_url_that_is_no_path_or_url_is_refused(base: str) -> None:
    """With a sentence that shows the forms."""
    with pytest.raises(ValueError, match="must be a path such as"):
        Application([], policy=AllowAny(), base_url=base)


def test_trusted_proxies_are_a_list_of_networks() -> None:
    """A single text, whose letters would be taken for networks, is refused."""
    with pytest.raises(ValueError, match="must be a list"):
        Application([], policy=AllowAny(), trusted_proxies="10.0.0.0/8")
    with pytest.raises(ValueError, match="does not appear to be"):
        Application([], policy=AllowAny(), trusted_proxies=["proxy.example"])


async def test_the_api_document_and_health_name_the_base_url(store: Store, serve: Serve) -> None:
    """The document as its server, unless the service names servers itself."""
    own = openapi_routes(ApiInfo(servers=("https://own.example",)), path="/own.json")
    pages = [*openapi_routes(), *own, *health_routes(store.database, [Fruit])]
    ask = await serve(application(store, *pages, base_url=BASE, trusted_proxies=["127.0.0.1"]))
    assert (await ask("GET", "/openapi.json")).json["servers"] == [{"url": BASE}]
    assert (await ask("GET", "/openapi.json", X_Forwarded_Prefix="/b")).json["servers"] == [{"url": "/b"}]
    assert (await ask("GET", "/own.json")).json["servers"] == [{"url": "https://own.example"}]
    ask.described = None  # the field that Tornado adds is not described
    health = (await ask("GET", "/_health?quick=true")).json
    assert health["links"]["self"]["href"] == f"{ask.url}{BASE}/_health?quick=true"


async def test_the_pages_for_people_name_no_path_from_the_root(store: Store, serve: Serve) -> None:
    """The docs page and that of the example work below every prefix, since their addresses are relative."""
    ask = await serve(application(store, *docs_routes(home="/"), base_url=BASE))
    pages = [(await ask("GET", "/docs")).text.decode()]
    pages += [each.read_text() for each in (Path(example_app.__file__).parent / "static").glob("*.[hj]*")]
    assert len(pages) > 5
    assert [found for text in pages for found in re.findall(r'["\'`(]/(?:static|docs|v1)[^"\'`)]*', text)] == []




# ---------------------------------------------------------------- what proxies do to entity tags and bodies


def changed(tag: str, suffix: str) -> str:
    """An entity tag as a proxy changes it that adds something inside of the quotes."""
    return f'{tag[:-1]}{suffix}"'


SUFFIXES = ["-gzip", "-br", "-zstd", ";gzip", "-gzip;gzip"]


@pytest.mark.parametrize("suffix", SUFFIXES)
async def test_a_tag_that_a_proxy_changed_is_recognised(ask: Client, fruit: Reply, suffix: str) -> None:
    """As Apache does it, by reads and by writes; and the weak form, where the RFC lets a reader send it."""
    path, tag = fruit.headers["Location"], changed(fruit.headers["ETag"], suffix)
    assert (await ask("GET", path, If_None_Match=tag)).status == 304
    assert (await ask("GET", path, If_None_Match=f"W/{tag}")).status == 304
    assert (await ask("PUT", path, {"color": "blue"}, If_Match=tag)).status == 200
    assert (await ask("PUT", path, {"color": "green"}, If_Match=tag)).status == 412
    assert (await ask("GET", path, If_None_Match=tag)).status == 200


async def test_a_changed_tag_of_a_page_or_a_part_is_recognised(ask: Client, fruit: Reply) -> None:
    """The digest of a page has 32 digits too; a part has its variant before what the proxy adds."""
    for path in ("/fruits", f"{fruit.headers['Location']}?fields=color"):
        tag = (await ask("GET", path)).headers["ETag"]
        assert (await ask("GET", path, If_None_Match=changed(tag, "-gzip"))).status == 304
    whole = (await ask("GET", fruit.headers["Location"])).headers["ETag"]
    assert (await ask("GET", path, If_None_Match=changed(whole, "-gzip"))).status == 200


@pytest.mark.parametrize("suffix", ["-deflate", "gzip", "-gzip-gzip", "-gzipped"])
async def test_no_other_suffix_is_taken_off(ask: Client, fruit: Reply, suffix: str) -> None:
    """What is not on the list is a part of the tag."""
    path, tag = fruit.headers["Location"], changed(fruit.headers["ETag"], suffix)
    assert (await ask("GET", path, If_None_Match=tag)).status == 200
    assert (await ask("PUT", path, {"color": "blue"}, If_Match=tag)).status == 412


async def test_a_whole_tag_that_is_the_revision_goes_before_a_shorter_one(ask: Client, store: Store) -> None:
    """A revision may end like a proxy's suffix, if other programs have replicated it."""
    odd = f"1-{'a' * 32}-gzip"
    body = {"_id": "note:odd", "_rev": odd, "type": "note_v1.0", "text": "a"}
    assert not await store.database.bulk_docs([body], new_edits=False)
    found = await ask("GET", "/notes/note:odd")
    assert found.headers["ETag"] == f'"{odd}"'
    assert (await ask("GET", "/notes/note:odd", If_None_Match=f'"{odd}"')).status == 304
    assert (await ask("PUT", "/notes/note:odd", {"text": "b"}, If_Match=f'"{odd}"')).status == 200


async def test_a_weak_tag_in_if_match_is_412_that_says_what_to_do(ask: Client, fruit: Reply) -> None:
    """RFC 9110 §13.1.1 demands strong ones; for a tag of another revision there is nothing to say of it."""
    path, tag = fruit.headers["Location"], fruit.headers["ETag"]
    for method, body in (("PUT", {"color": "blue"}), ("DELETE", None), ("GET", None)):
        refused = await ask(method, path, body, If_Match=f"W/{tag}")
        assert (refused.status, refused.headers["ETag"]) == (412, tag)
        assert "without `W/`" in refused.json["detail"]
    assert "W/" not in (await ask("DELETE", path, If_Match=f'W/"{"1-" + "0" * 32}"')).json["detail"]
    key = path.rpartition("/")[2]
    deletion = {"action": "delete", "key": key, "if_match": f"W/{tag}"}
    item = (await ask("POST", "/fruits/_bulk", {"operations": [deletion]})).json["items"][0]
    assert (item["status"], item["_etag"]) == (412, tag)
    assert (await ask("DELETE", path, If_Match=f'W/{tag}, "{tag[1:-1]}"')).status == 204


async def test_a_gzip_body_of_several_members_is_read_whole(ask: Client) -> None:
    """A proxy or a client may have compressed it in pieces (RFC 1952 §2.2)."""
    parts = [gzip.compress(each) for each in (b'{"color": ', b"", b'"red"}')]
    created = await ask("POST", "/fruits", data=b"".join(parts), Content_Type=JSON, Content_Encoding="gzip")
    assert (created.status, created.json["color"]) == (201, "red")
    lines = gzip.compress(b'{"color": "red"}\n') + gzip.compress(b'{"color": "blue"}\n')
    stored = await ask("POST", "/fruits", data=lines, Content_Type=NDJSON, Content_Encoding="gzip")
    assert [json.loads(each)["status"] for each in stored.text.splitlines()] == [201, 201]


@pytest.mark.parametrize("garbage", [b"x", bytes(8), gzip.compress(b" ", mtime=0)[:-1]])
async def test_what_follows_a_gzip_body_is_400(ask: Client, garbage: bytes) -> None:
    """It is neither dropped nor guessed at."""
    data = gzip.compress(b'{"color": "red"}') + garbage
    refused = await ask("POST", "/fruits", data=data, Content_Type=JSON, Content_Encoding="gzip")
    assert refused.status == 400
    assert (await ask("GET", "/fruits")).json["items"] == []


async def test_a_body_of_too_many_gzip_members_is_400(ask: Client) -> None:
    """Each costs time, though it holds nothing."""
    data = gzip.compress(b"") * 1000 + gzip.compress(b'{"color": "red"}')
    refused = await ask("POST", "/fruits", data=data, Content_Type=JSON, Content_Encoding="gzip")
    assert (refused.status, "1000 members" in refused.json["detail"]) == (400, True)
