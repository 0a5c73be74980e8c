"""The only place that quotes: ids, names and query strings become the paths that CouchDB understands.

CouchDB splits the path at `/` and then unquotes each segment, so a name goes into one segment whatever it
holds. Each path travels with its template, such as `/{db}/{id}`, which is all that is ever logged of it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote, unquote, urlsplit

__all__ = [
    "LONG_TEXT",
    "Address",
    "Base",
    "base",
    "check_id",
    "database",
    "design",
    "design_info",
    "document",
    "index",
    "node",
    "query",
    "server",
    "view",
]

LONG_TEXT = 1000
"""Characters of which no longer text goes into an address.

Proxies commonly take URLs of up to 4 or 8 thousand characters; quoting can make several of one.
"""

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_NODE = re.compile(r"[A-Za-z0-9_-]+@[A-Za-z0-9._-]+")
# Of the names with an underscore only these are databases: `/_all_dbs` and the like are endpoints.
_SYSTEM_DATABASES = frozenset({"_dbs", "_global_changes", "_nodes", "_replicator", "_users"})


@dataclass(frozen=True, slots=True)
class Address:
    """Where a request goes.

    Attributes:
        path: the quoted path, from the server's root.
        template: the same with names in braces for what is the caller's; fit for a log.
    """

    path: str
    template: str


@dataclass(frozen=True, slots=True)
class Base:
    """What a server's URL says.

    Attributes:
        url: scheme, host, port and path prefix, without a trailing slash and without credentials.
        credentials: user and password where the URL has them.
    """

    url: str
    credentials: tuple[str, str] | None


def base(url: str) -> Base:
    """The parts of a server's URL.

    Raises:
        ValueError: it is not an http or https URL, or has a query or fragment.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        # Not chained: the original message may quote the password.
        raise ValueError("the CouchDB URL cannot be understood") from None
    if parts.scheme not in ("http", "https") or not host:
        raise ValueError("the CouchDB URL must be of the form http://host:port or https://host:port")
    if parts.query or parts.fragment:
        raise ValueError("the CouchDB URL must have neither a query nor a fragment")
    credentials = None
    if parts.username is not None:
        credentials = (unquote(parts.username), unquote(parts.password or ""))
    name = f"[{host}]" if ":" in host else host.encode("idna").decode("ascii")
    authority = name if port is None else f"{name}:{port}"
    return Base(f"{parts.scheme}://{authority}{quote(parts.path.rstrip('/'), safe='/%')}", credentials)


def server(path: str) -> Address:
    """An address of the server itself, such as `/_uuids`."""
    return Address(path, path)


def database(name: str, *rest: str) -> Address:
    """A database, or one of its endpoints.

    Args:
        name: the database's name.
        rest: CouchDB's own words after it, such as `_bulk_docs`; they are not quoted.

    Raises:
        ValueError: the name is not text that CouchDB can take, or is one of its own endpoints.
    """
    _check(name, "a database name")
    if _CONTROL.search(name):
        raise ValueError("a database name must hold no control characters")
    if name.startswith("_") and name not in _SYSTEM_DATABASES:
        raise ValueError(f"{name!r} is no database: only CouchDB's own begin with an underscore")
    tail = "".join(f"/{word}" for word in rest)
    return Address(f"/{_quote(name)}{tail}", f"/{{db}}{tail}")


def node(name: str) -> Address:
    """The entry of a cluster's node, which is called NAME@HOST.

    Raises:
        ValueError: it is no node's name.
    """
    if not _NODE.fullmatch(name):
        raise ValueError(f"{name!r} is no node's name: that is NAME@HOST, such as couchdb@couchdb2.example")
    return Address(f"/_node/_local/_nodes/{_quote(name)}", "/_node/_local/_nodes/{node}")


def document(database_name: str, document_id: str) -> Address:
    """A document, design document or local document of a database.

    Raises:
        ValueError: the id is empty, holds lone surrogates, or begins with an underscore without being of
            a kind that CouchDB has.
    """
    _check(document_id, "a document id")
    parent = database(database_name)
    # CouchDB routes `_design/` and `_local/` by their own segment, so that slash alone stays one.
    for prefix, word in (("_design/", "ddoc"), ("_local/", "id")):
        if document_id.startswith(prefix) and len(document_id) > len(prefix):
            rest = _quote(document_id[len(prefix) :])
            return Address(f"{parent.path}/{prefix}{rest}", f"{parent.template}/{prefix}{{{word}}}")
    if document_id.startswith("_"):
        raise ValueError("a document id beginning with an underscore must be _design/NAME or _local/NAME")
    return Address(f"{parent.path}/{_quote(document_id)}", f"{parent.template}/{{id}}")


def check_id(document_id: str) -> None:
    """Refuse what cannot be the id of a document, design and local documents left aside.

    Raises:
        ValueError: it is empty, begins with an underscore, or holds lone surrogates.
    """
    _check(document_id, "a document id")
    if document_id.startswith("_"):
        raise ValueError("ids beginning with an underscore are those of design and local documents")


def design(name: str) -> str:
    """The id of a design document, from its name with or without `_design/`."""
    return name if name.startswith("_design/") else f"_design/{name}"


def view(database_name: str, design_name: str, view_name: str, partition: str | None = None) -> Address:
    """A view of a design document, which is named with or without `_design/`, or one partition's part of it.

    Raises:
        ValueError: a name is not text that CouchDB can take.
    """
    _check(view_name, "a view name")
    parent = document(database_name, design(design_name))
    found = Address(f"{parent.path}/_view/{_quote(view_name)}", f"{parent.template}/_view/{{view}}")
    if partition is None:
        return found
    _check(partition, "a partition")
    whole, part = database(database_name), database(database_name, "_partition")
    return Address(
        f"{part.path}/{_quote(partition)}{found.path.removeprefix(whole.path)}",
        f"{part.template}/{{partition}}{found.template.removeprefix(whole.template)}",
    )


def design_info(database_name: str, design_name: str) -> Address:
    """What CouchDB says of a design document's index; the document is named with or without `_design/`.

    Raises:
        ValueError: the name is not text that CouchDB can take.
    """
    parent = document(database_name, design(design_name))
    return Address(f"{parent.path}/_info", f"{parent.template}/_info")


def index(database_name: str, design_name: str, index_name: str) -> Address:
    """A JSON index of Mango; its design document is named with or without `_design/`.

    Raises:
        ValueError: a name is not text that CouchDB can take.
    """
    _check(design_name, "a design document's name")
    _check(index_name, "an index name")
    parent = database(database_name)
    rest = f"{_quote(design_name.removeprefix('_design/'))}/json/{_quote(index_name)}"
    return Address(f"{parent.path}/_index/{rest}", f"{parent.template}/_index/{{ddoc}}/json/{{index}}")


def query(parameters: Mapping[str, str]) -> str:
    """A query string with its question mark, or nothing for no parameters."""
    if not parameters:
        return ""
    return "?" + "&".join(f"{quote(name, safe='')}={quote(text, safe='')}" for name, text in parameters.items())


def _check(text: str, what: str) -> None:
    if not isinstance(text, str) or not text:
        raise ValueError(f"{what} must be text and not empty")
    if text.isascii() and text.isprintable():
        return  # as nearly all are
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise ValueError(f"{what} must hold no lone surrogates") from None


def _quote(text: str) -> str:
    # RFC 3986 §5.2.4 takes the segments `.` and `..` away, so their dots must not look like dots.
    if text in (".", ".."):
        return text.replace(".", "%2E")
    return quote(text, safe="")
