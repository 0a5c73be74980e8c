"""`Request` and `Reply`: what handlers receive, and what they return."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote, unquote_to_bytes

from tornado.httputil import HTTPHeaders

from tornado_couch.embedded.jsontext import dumps, loads
from tornado_couch.embedded.problems import Problem, bad_content_type, bad_request, query_parse_error
from tornado_couch.embedded.spool import Spool

__all__ = ["Reply", "Request", "User", "json_reply", "parse_query", "split_path", "text_reply"]


@dataclasses.dataclass(slots=True, frozen=True)
class User:
    """The user who makes a request.

    Attributes:
        name: the user's name; None for somebody who has not logged in.
        roles: the user's roles; "_admin" makes a server admin.
        handler: how the user was authenticated: "default" (Basic) or "cookie"; None if not at all.
    """

    name: str | None = None
    roles: tuple[str, ...] = ()
    handler: str | None = None

    @property
    def is_admin(self) -> bool:
        """Whether this is a server admin."""
        return "_admin" in self.roles


@dataclasses.dataclass(slots=True)
class Reply:
    """The answer to a request.

    Attributes:
        status: the HTTP status.
        body: the whole body, if it is available at once.
        headers: headers of its own; the usual ones are added.
        stream: the body in pieces, if it is made while it is sent.
    """

    status: int
    body: bytes = b""
    headers: dict[str, str] = dataclasses.field(default_factory=dict)
    stream: AsyncIterator[bytes] | None = None


class Request:
    """One request, its path and query decoded.

    Attributes:
        method: the HTTP method, in capitals.
        segments: the path's parts, decoded, without empty ones.
        query: the query's pairs, decoded, in their order.
        headers: the headers as they were sent.
        body: the body; empty if it was spooled to `file`.
        file: the body of an attachment.
        user: the user who makes the request.
        host: the host, for `Location`.
    """

    __slots__ = ("body", "file", "headers", "method", "parameters", "query", "segments", "target", "user")

    def __init__(self, method: str, target: str, headers: HTTPHeaders) -> None:
        self.method = method
        self.target = target
        self.headers = headers
        path, _, query = target.partition("?")
        self.segments = split_path(path)
        self.query = parse_query(query) if query else []
        self.parameters = dict(self.query)
        self.body: bytes | bytearray = b""
        self.file: Spool | None = None
        self.user = User()

    def flag(self, name: str, default: bool = False) -> bool:
        """A parameter that is true or false.

        Raises:
            Problem: 400 query_parse_error.
        """
        text = self.parameters.get(name)
        if text is None:
            return default
        if text not in ("true", "false"):
            raise query_parse_error(f"Invalid boolean parameter: {dumps(text)}")
        return text == "true"

    def number(self, name: str, default: int) -> int:
        """A parameter that is a whole number of at least 0.

        Raises:
            Problem: 400 query_parse_error.
        """
        text = self.parameters.get(name)
        if text is None:
            return default
        if not (text.isascii() and text.isdigit() and len(text) < 19):
            raise query_parse_error(f"Invalid value for {name}: {dumps(text)}")
        return int(text)

    def json(self) -> Any:
        """Parse the body as JSON.

        Raises:
            Problem: 400, the body is not JSON.
        """
        return loads(bytes(self.body))

    def json_object(self, reason: str = "Request body must be a JSON object") -> dict[str, Any]:
        """Parse the body as a JSON object.

        Raises:
            Problem: 400, the body is something else.
        """
        value = self.json()
        if not isinstance(value, dict):
            raise bad_request(reason)
        return value

    def need_json_type(self) -> None:
        """Refuse a body that is not declared as JSON, as CouchDB does for POST.

        Raises:
            Problem: 415 bad_content_type.
        """
        kind = self.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        if kind != "application/json":
            raise bad_content_type("Content-Type must be application/json")

    def allow(self, *methods: str) -> None:
        """Refuse every other method; HEAD is allowed if GET is.

        Raises:
            Problem: 405 with `Allow`.
        """
        if self.method not in methods and not (self.method == "HEAD" and "GET" in methods):
            listed = ",".join(methods)
            raise Problem(405, "method_not_allowed", f"Only {listed} allowed", {"Allow": listed})

    def url(self, *segments: str) -> str:
        """The absolute URL of a path on this server."""
        host = self.headers.get("Host", "localhost")
        return f"http://{host}/" + "/".join(quote(segment, safe=":").replace("~", "%7E") for segment in segments)


def _decode(text: str) -> str:
    """Decode a part of a path or query: `%XX` and `+`."""
    if "+" in text:
        text = text.replace("+", " ")
    if "%" not in text and text.isascii():
        return text
    for place in range(len(text)):
        if text[place] == "%" and not _is_hex(text[place + 1 : place + 3]):
            raise bad_request("invalid_url_encoding")
    try:
        return unquote_to_bytes(text.encode("latin-1")).decode("utf-8")
    except UnicodeError:
        raise bad_request("The URL is not UTF-8") from None


def _is_hex(digits: str) -> bool:
    return len(digits) == 2 and all(digit in "0123456789abcdefABCDEF" for digit in digits)


def split_path(path: str) -> list[str]:
    """Split a path into its decoded parts; empty ones are left out, as in CouchDB."""
    return [_decode(part) for part in path.split("/") if part]


def parse_query(query: str) -> list[tuple[str, str]]:
    """Split a query string into its decoded pairs."""
    pairs = []
    for part in query.split("&"):
        if part:
            name, _, value = part.partition("=")
            pairs.append((_decode(name), _decode(value)))
    return pairs


def json_reply(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> Reply:
    """Make a reply of JSON."""
    return text_reply(dumps(value), status, headers)


def text_reply(text: str, status: int = 200, headers: dict[str, str] | None = None) -> Reply:
    """Make a reply of text that is JSON already."""
    return Reply(status, text.encode() + b"\n", headers or {})
