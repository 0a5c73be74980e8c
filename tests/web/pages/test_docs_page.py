"""The docs page: its files, its Content-Security-Policy, and that it is this service's alone."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.web.conftest import Client, Serve
from tornado_couch import AllowAny, Application, Store, docs_routes, openapi_routes
from tornado_couch.web import Authenticated, BasicAccounts
from tornado_couch.web.pages import docs as docs_page


@pytest.fixture
async def ask(serve: Serve) -> Client:
    """A client of a service with nothing but its documentation."""
    return await serve(Application([*openapi_routes(), *docs_routes(title="<Orchard>")], policy=AllowAny()))


def policy_of(field: str) -> dict[str, list[str]]:
    return {name: sources for name, *sources in (part.split() for part in field.split(";"))}


async def test_the_page_has_a_strict_policy(ask: Client) -> None:
    """No inline script or style, no eval, nothing of another origin, nothing that is not listed; in no frame."""
    found = await ask("GET", "/docs")
    assert found.status == 200
    assert found.headers["Content-Type"] == "text/html; charset=utf-8"
    policy = policy_of(found.headers["Content-Security-Policy"])
    assert policy["default-src"] == policy["base-uri"] == policy["frame-ancestors"] == ["'none'"]
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == ["'self'"]
    assert policy["img-src"] == ["'self'", "data:"]
    assert found.headers["X-Content-Type-Options"] == "nosniff"
    assert found.headers["Referrer-Policy"] == "no-referrer"


async def test_the_page_obeys_its_own_policy(ask: Client) -> None:
    """No script or style in it, no handler attribute; the title is text."""
    text = (await ask("GET", "/docs")).text.decode()
    assert re.findall(r"<script(?![^>]*\bsrc=)|<style|\bstyle=|\bon\w+=|javascript:", text) == []
    assert "<title>&lt;Orchard&gt;</title>" in text


async def test_everything_it_loads_is_there_and_of_this_service(ask: Client) -> None:
    """Each address in the page, relative to it; none names an origin, neither does the script that starts it."""
    text = (await ask("GET", "/docs")).text.decode()
    addresses = re.findall(r'(?:src|href|data-document)="([^"]*)"', text)
    assert len(addresses) == 7
    for each in addresses:
        assert not re.match(r"[a-z]+:|//|/", each)
        assert (await ask("GET", f"/{each}")).status == 200
    assert b"//" not in re.sub(rb"^ *//.*$", b"", (await ask("GET", "/docs/start.js")).text, flags=re.MULTILINE)


@pytest.mark.parametrize(
    ("name", "media_type"),
    [
        ("swagger-ui.css", "text/css; charset=utf-8"),
        ("swagger-ui-bundle.js", "text/javascript; charset=utf-8"),
        ("start.js", "text/javascript; charset=utf-8"),
        ("page.css", "text/css; charset=utf-8"),
        ("favicon-32x32.png", "image/png"),
    ],
)
async def test_files_are_cached_and_packed(ask: Client, name: str, media_type: str) -> None:
    """An entity tag, 304, gzip for who takes it, and the media type that nosniff needs."""
    plain = await ask("GET", f"/docs/{name}")
    assert plain.headers["Content-Type"] == media_type
    assert (await ask("GET", f"/docs/{name}", If_None_Match=plain.headers["ETag"])).status == 304
    packed = await ask("GET", f"/docs/{name}", Accept_Encoding="gzip")
    assert packed.text == plain.text  # the client unpacks it
    assert packed.headers.get("Content-Encoding") == "gzip"


@pytest.mark.parametrize(
    "name",
    ["index.html", "..%2Fapp.py", "%2Fetc%2Fpasswd", "..", "start.js%00", "swagger-ui.css.map", "../../setup.cfg"],
)
async def test_there_are_no_other_files(ask: Client, name: str) -> None:
    """A name that is none of the five is 404, whatever it would be a path to."""
    assert (await ask("GET", f"/docs/{name}")).status == 404


async def test_the_page_has_a_policy_like_everything(store: Store, serve: Serve) -> None:
    """401 for the page and its files; without any policy it does not mount."""
    ask = await serve(Application(docs_routes(), policy=Authenticated(BasicAccounts(store))))
    assert [(await ask("GET", path)).status for path in ("/docs", "/docs/start.js", "/docs/nope")] == [401] * 3
    with pytest.raises(ValueError, match=r"^/docs has no policy"):
        Application(docs_routes())


def test_the_document_and_the_start_are_found_from_any_path() -> None:
    """By a relative address, so that a proxy may put the service below another path."""
    for path, document, relative, home in (
        ("/docs", "/openapi.json", "openapi.json", "."),
        ("/v1/docs", "/v1/openapi.json", "openapi.json", ".."),
        ("/a/b/docs", "/openapi.json", "../../openapi.json", "../.."),
    ):
        (page, _) = docs_routes(path=path, document=document, home="/")
        text = page.kwargs["viewer"]._pages[""].body.decode()
        assert f'data-document="{relative}"' in text
        assert f'<a href="{home}">' in text


def test_without_a_viewer_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """The extra, or the folder."""
    monkeypatch.setattr(docs_page, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"pip install 'tornado-couch\[viewer\]'"):
        docs_routes()


async def test_a_folder_of_ones_own_is_served(serve: Serve, tmp_path: Path) -> None:
    """Such as that of npm's swagger-ui-dist."""
    for name in ("swagger-ui.css", "swagger-ui-bundle.js", "favicon-32x32.png"):
        (tmp_path / name).write_text(name)
    ask = await serve(Application(docs_routes(assets=tmp_path), policy=AllowAny()))
    assert (await ask("GET", "/docs/swagger-ui.css")).text == b"swagger-ui.css"
