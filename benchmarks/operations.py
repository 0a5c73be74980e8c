"""The operations that are measured: the requests for each, and what a right answer is."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, unquote, urlsplit

__all__ = ["OPERATIONS", "Dataset", "Operation", "Target", "http_request"]


@dataclass(frozen=True)
class Dataset:
    """The contents of the database.

    Attributes:
        ids: the ids of the fruits.
        codes: the keys of the places.
    """

    ids: list[str]
    codes: list[str]


@dataclass(frozen=True)
class Target:
    """Where the requests go.

    Attributes:
        name: the peer's name.
        url: its URL.
        database: the database's name if it is CouchDB itself, otherwise empty.
        authorization: the value of the header field, if there is one.
    """

    name: str
    url: str
    database: str = ""
    authorization: str = ""

    @classmethod
    def couchdb(cls, url: str, database: str) -> Target:
        """The target for CouchDB itself."""
        parts = urlsplit(url)
        field = ""
        if parts.username is not None:
            secret = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            field = "Basic " + base64.b64encode(secret.encode()).decode()
        return cls("couchdb", f"http://{parts.hostname}:{parts.port or 80}", database, field)


def http_request(target: Target, method: str, path: str, body: object = None, **fields: str) -> str:
    """Write one HTTP/1.1 request."""
    lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", "Accept: application/json"]
    if target.authorization:
        lines.append(f"Authorization: {target.authorization}")
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in fields.items()]
    text = "" if body is None else json.dumps(body, separators=(",", ":"))
    if body is not None:
        lines += ["Content-Type: application/json", f"Content-Length: {len(text.encode())}"]
    return "\r\n".join(lines) + "\r\n\r\n" + text


Requests = list[list[str]]


@dataclass(frozen=True)
class Operation:
    """One operation that is measured.

    Attributes:
        name: its name.
        requests: returns the requests of each connection, for a target, the data and a number of connections.
        status: the statuses that are right.
        is_right: whether the body of an answer is right.
        paths: the paths of the documents whose entity tags the connections begin with; empty if they need none.
    """

    name: str
    requests: Callable[[Target, Dataset, int], Requests]
    status: tuple[int, ...]
    is_right: Callable[[Any], bool]
    paths: Callable[[Target, Dataset, int], list[str]] | None = None


def _fruit(target: Target, key: str) -> str:
    return f"/{target.database}/{key}" if target.database else f"/fruits/{key}"


def _place(target: Target, code: str) -> str:
    if not target.database:
        return f"/places/{code}"
    key = quote(json.dumps(code), safe="")
    return (
        f"/{target.database}/_design/place_by_code/_view/place_by_code?key={key}&include_docs=true&limit=1&reduce=false"
    )


def _by_id(target: Target, data: Dataset, _: int) -> Requests:
    return [[http_request(target, "GET", _fruit(target, key)) for key in data.ids]]


def _by_key(target: Target, data: Dataset, _: int) -> Requests:
    return [[http_request(target, "GET", _place(target, code)) for code in data.codes]]


def _first_paths(target: Target, data: Dataset, connections: int) -> list[str]:
    return [_fruit(target, data.ids[n % len(data.ids)]) for n in range(connections)]


def _conditional(target: Target, data: Dataset, connections: int) -> Requests:
    paths = _first_paths(target, data, connections)
    return [[http_request(target, "GET", path, If_None_Match="@ETAG@")] for path in paths]


WRITTEN = {"color": "green", "notes": "n" * 100, "weight": 7}
TIMES = {"created_on": "2026-02-01T10:00:00.123456+00:00", "updated_on": "2026-02-01T10:00:00.123456+00:00"}


def _post(target: Target, _: Dataset, __: int) -> Requests:
    if target.database:
        return [[http_request(target, "POST", f"/{target.database}", {"type": "fruit_v1.0", **WRITTEN, **TIMES})]]
    return [[http_request(target, "POST", "/fruits", WRITTEN)]]


def _put(target: Target, data: Dataset, connections: int) -> Requests:
    found = []
    for n in range(connections):
        key = data.ids[n % len(data.ids)]
        kept = {"type": "fruit_v1.0", "fruit_id": key, **TIMES} if target.database else {}
        bodies = [{**kept, **WRITTEN, "color": color} for color in ("green", "brown")]
        found.append([http_request(target, "PUT", _fruit(target, key), each, If_Match="@ETAG@") for each in bodies])
    return found


def _page(target: Target, _: Dataset, __: int) -> Requests:
    view = "/_design/fruit_by_fruit_id/_view/fruit_by_fruit_id?include_docs=true&limit=50&reduce=false"
    return [[http_request(target, "GET", f"/{target.database}{view}" if target.database else "/fruits?limit=50")]]


def _is_document(body: Any) -> bool:
    document = body["rows"][0]["doc"] if "rows" in body else body
    return bool(document.get("color")) and len(document["notes"]) >= 1


def _is_page(body: Any) -> bool:
    items: Sequence[Any] = body.get("items") or [row["doc"] for row in body["rows"]]
    return len(items) == 50 and all(each["color"] for each in items)


def _is_written(body: Any) -> bool:
    return bool(body.get("ok")) or body.get("color") in ("green", "brown")


OPERATIONS = {
    each.name: each
    for each in (
        Operation("GET by id", _by_id, (200,), _is_document),
        Operation("GET by key", _by_key, (200,), _is_document),
        Operation("GET, not changed (304)", _conditional, (304,), lambda body: body is None, _first_paths),
        Operation("page of 50", _page, (200,), _is_page),
        # The writing operations come last, so that the others do not meet what they write.
        Operation("POST", _post, (201, 202), _is_written),
        Operation("PUT with If-Match", _put, (200, 201, 202), _is_written, _first_paths),
    )
}
