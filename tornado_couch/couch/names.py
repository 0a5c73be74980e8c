"""Quotes ids, names and query strings into the paths that CouchDB understands; no other module does.

CouchDB splits the path at `/` and then unquotes each segment, so a name goes into one segment whatever it contains.
Each path comes with its template, such as `/{db}/{id}`, which is all that is ever logged of it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import quote, unquote, urlsplit

__all__ = [
    "LONG_TEXT",
    "Address",
    "Base",
    "attachment",
    "base",
    "check_id",
    "database",
    "design",
    "design_info",
    "document",
    "index",
    "node",
    "query",
    "quote_segment",
    "server",
    "view",
]

LONG_TEXT = 1000
"""The greatest length of a text that goes into an address, in characters.

Proxies commonly accept URLs of up to 4,000 or 8,000 characters, and quoting can turn one character into several.
"""

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_UNRESERVED = re.compile(r"[A-Za-z0-9_~-][A-Za-z0-9_.~-]*")  # RFC 3986 §2.3, without the segments `.` and `..`
_NODE = re.compile(r"[A-Za-z0-9_-]+@[A-Za-z0-9._-]+")
# Of the names that begin with an underscore only these are databases; `/_all_dbs` and the like are endpoints.
_SYSTEM_DATABASES = frozenset({"_dbs", "_global_changes", "_nodes", "_replicator", "_users"})


@dataclass(frozen=True, slots=True)
class Address:
    """The address of a request.

    Attributes:
        path: the quoted path, from the server's root.
        template: the path with names in braces in place of the caller's values; safe to log.
    """

    path: str
    template: str


@dataclass(frozen=True, slots=True)
class Base:
    """The parts of a server's URL.

    Attributes:
        url: scheme, host, port and path prefix, without a trailing slash and without credentials.
        credentials: the user and password, if the URL contains them.
    """

    url: str
    credentials: tuple[str, str] | None


def base(url: str) -> Base:
    """Split a server's URL into its parts.

    Raises:
        ValueError: it is not an http or https URL, or has a query or fragment.
    """
    try:
        parts = urlsplit(url)
        host = parts.hostname
    except ValueError:
        # Not chained: the original message may quote the password.
        raise ValueError("the CouchDB URL is not valid") from None
    try:
        port = parts.port
    except ValueError:
        raise ValueError("the port in the CouchDB URL must be a number up to 65535") from None
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


@lru_cache(maxsize=1024)
def database(name: str, *rest: str) -> Address:
    """The address of a database, or of one of its endpoints.

    Args:
        name: the database's name.
        rest: path segments that follow it, such as `_bulk_docs`; they are not quoted.

    Raises:
        ValueError: the name is not a text that CouchDB accepts, or is one of its own endpoints.
    """
    _check(name, "a database name")
    if _CONTROL.search(name):
        raise ValueError("a database name must hold no control characters")
    if name.startswith("_") and name not in _SYSTEM_DATABASES:
        raise ValueError(f"{name!r} is not a database name: only CouchDB's system databases begin with an underscore")
    tail = "".join(f"/{word}" for word in rest)
    return Address(f"/{quote_segment(name)}{tail}", f"/{{db}}{tail}")


def node(name: str) -> Address:
    """The address of a cluster's node, whose name has the form NAME@HOST.

    Raises:
        ValueError: this is not the name of a node.
    """
    if not _NODE.fullmatch(name):
        raise ValueError(f"{name!r} is not a node name: use NAME@HOST, such as couchdb@couchdb2.example")
    return Address(f"/_node/_local/_nodes/{quote_segment(name)}", "/_node/_local/_nodes/{node}")


def document(database_name: str, document_id: str) -> Address:
    """The address of a document, design document or local document of a database.

    Raises:
        ValueError: the id is empty, holds lone surrogates, or begins with an underscore without being of
            a kind that CouchDB has.
    """
    _check(document_id, "a document id")
    parent = database(database_name)
    if not document_id.startswith("_"):
        return Address(f"{parent.path}/{quote_segment(document_id)}", f"{parent.template}/{{id}}")
    # CouchDB routes `_design/` and `_local/` by that first segment, so only their slash stays a slash.
    for prefix, word in (("_design/", "ddoc"), ("_local/", "id")):
        if document_id.startswith(prefix) and len(document_id) > len(prefix):
            rest = quote_segment(document_id[len(prefix) :])
            return Address(f"{parent.path}/{prefix}{rest}", f"{parent.template}/{prefix}{{{word}}}")
    raise ValueError("a document id that begins with an underscore must be _design/NAME or _local/NAME")


def attachment(database_name: str, document_id: str, name: str) -> Address:
    """The address of a file of a document.

    Raises:
        ValueError: a document cannot have this id, or a file this name.
    """
    _check(name, "the name of a file")
    if name.startswith("_"):
        raise ValueError("the name of a file must not begin with an underscore")
    parent = document(database_name, document_id)
    # CouchDB joins what follows the id again. A proxy could take a quoted slash for another one.
    return Address(f"{parent.path}/{'/'.join(map(quote_segment, name.split('/')))}", f"{parent.template}/{{file}}")


def check_id(document_id: str) -> None:
    """Refuse a text that cannot be the id of a normal document, that is not a design or local document.

    Raises:
        ValueError: it is empty, begins with an underscore, or holds lone surrogates.
    """
    _check(document_id, "a document id")
    if document_id.startswith("_"):
        raise ValueError("ids that begin with an underscore are reserved for design and local documents")


def design(name: str) -> str:
    """The id of a design document, from its name with or without `_design/`."""
    return name if name.startswith("_design/") else f"_design/{name}"


def view(database_name: str, design_name: str, view_name: str, partition: str | None = None) -> Address:
    """The address of a view, or of one partition's part of it; the design document is named with or without `_design/`.

    Raises:
        ValueError: a name is not a text that CouchDB accepts.
    """
    _check(view_name, "a view name")
    parent = document(database_name, design(design_name))
    found = Address(f"{parent.path}/_view/{quote_segment(view_name)}", f"{parent.template}/_view/{{view}}")
    if partition is None:
        return found
    _check(partition, "a partition")
    whole, part = database(database_name), database(database_name, "_partition")
    return Address(
        f"{part.path}/{quote_segment(partition)}{found.path.removeprefix(whole.path)}",
        f"{part.template}/{{partition}}{found.template.removeprefix(whole.template)}",
    )


def design_info(database_name: str, design_name: str) -> Address:
    """The address of the information about a design document's index; its name may begin with `_design/`.

    Raises:
        ValueError: the name is not a text that CouchDB accepts.
    """
    parent = document(database_name, design(design_name))
    return Address(f"{parent.path}/_info", f"{parent.template}/_info")


def index(database_name: str, design_name: str, index_name: str) -> Address:
    """The address of a JSON index of Mango; its design document is named with or without `_design/`.

    Raises:
        ValueError: a name is not a text that CouchDB accepts.
    """
    _check(design_name, "a design document's name")
    _check(index_name, "an index name")
    parent = database(database_name)
    rest = f"{quote_segment(design_name.removeprefix('_design/'))}/json/{quote_segment(index_name)}"
    return Address(f"{parent.path}/_index/{rest}", f"{parent.template}/_index/{{ddoc}}/json/{{index}}")


def query(parameters: Mapping[str, str]) -> str:
    """A query string with its question mark, or an empty text if there are no parameters."""
    if not parameters:
        return ""
    return "?" + "&".join([f"{_quoted(name)}={_quoted(text)}" for name, text in parameters.items()])


def _quoted(text: str) -> str:
    return text if _UNRESERVED.fullmatch(text) else quote(text, safe="")


def _check(text: str, what: str) -> None:
    if not isinstance(text, str) or not text:
        raise ValueError(f"{what} must be a text that is not empty")
    if text.isascii() and text.isprintable():
        return  # as nearly all are
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise ValueError(f"{what} must not contain lone surrogates") from None


def quote_segment(text: str) -> str:
    """A text as a segment of a path."""
    if _UNRESERVED.fullmatch(text):  # as nearly all are; `quote` takes ten times as long to say so
        return text
    # RFC 3986 §5.2.4 removes the segments `.` and `..`, so their dots are quoted.
    if text in (".", ".."):
        return text.replace(".", "%2E")
    return quote(text, safe="")
