"""One end of a replication: a database on any server, used over HTTP."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, unquote, urlencode, urlsplit, urlunsplit

from tornado.httpclient import AsyncHTTPClient, HTTPClientError, HTTPRequest, HTTPResponse
from tornado.simple_httpclient import SimpleAsyncHTTPClient

from tornado_couch.embedded.jsontext import dumps, loads
from tornado_couch.embedded.problems import Problem

__all__ = ["Endpoint", "EndpointFailure"]

_SECONDS = 60.0
_LARGEST = 1 << 30


class EndpointFailure(Exception):
    """An end of a replication did not do what was asked.

    Attributes:
        status: its HTTP status; 0 if it could not be reached.
    """

    def __init__(self, status: int, error: str, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.error = error

    def problem(self) -> Problem:
        """The answer to the client that asked for the replication."""
        return Problem(500, self.error, str(self))


class Endpoint:
    """A database by its URL.

    Args:
        value: a URL, or an object with `url`, `headers` and `auth`, as in CouchDB's replication documents.
        kind: "source" or "target", for errors.

    Raises:
        Problem: the value is neither.
    """

    def __init__(self, value: Any, kind: str) -> None:
        members = value if isinstance(value, dict) else {"url": value}
        text = members.get("url")
        if not isinstance(text, str):
            raise Problem(500, "error", "Missing replicator database")
        parts = urlsplit(text)
        if not parts.scheme and "/" not in text:
            raise Problem(500, "error", "local_endpoints_not_supported")
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise Problem(400, "invalid_replication", f"{kind} endpoint has an invalid url")
        self.headers = {str(name): str(item) for name, item in dict(members.get("headers") or {}).items()}
        host = parts.netloc.rpartition("@")[2]
        login = _login(members, parts.username, parts.password)
        if login is not None:
            self.headers["Authorization"] = "Basic " + base64.b64encode(":".join(login).encode()).decode()
        self.url = urlunsplit((parts.scheme, host, parts.path.rstrip("/"), "", ""))
        self.shown = self.url + "/"

    async def _fetch(self, method: str, path: str, body: Any = None, timeout: float = _SECONDS) -> HTTPResponse:
        """Send a request and return the answer, whatever its status.

        Raises:
            EndpointFailure: there was no answer.
        """
        client: AsyncHTTPClient = SimpleAsyncHTTPClient(
            force_instance=True, max_body_size=_LARGEST, max_buffer_size=_LARGEST
        )
        request = HTTPRequest(
            self.url + path, method, {"Accept": "application/json", "Content-Type": "application/json", **self.headers},
            None if body is None else dumps(body).encode(), request_timeout=timeout, connect_timeout=10,
            allow_nonstandard_methods=True, follow_redirects=False, decompress_response=True,
        )  # fmt: skip
        try:
            return await client.fetch(request, raise_error=False)
        except (OSError, HTTPClientError) as error:
            raise EndpointFailure(0, "error", f"{method} {self.url}{path.partition('?')[0]} failed: {error}") from None
        finally:
            client.close()

    async def _json(self, method: str, path: str, body: Any = None, timeout: float = _SECONDS) -> Any:
        """Send a request and return the JSON of a successful answer.

        Raises:
            EndpointFailure: there was no successful answer.
        """
        response = await self._fetch(method, path, body, timeout)
        if response.code >= 400 or response.code == 599:
            reason = f"{method} {self.url}{path.partition('?')[0]} answered {response.code}"
            if response.code == 599 and response.error is not None:
                reason = f"{method} {self.url}{path.partition('?')[0]} failed: {response.error}"
            raise EndpointFailure(response.code, "error", reason)
        return loads(response.body)

    async def must_exist(self) -> None:
        """Check that the database exists.

        Raises:
            EndpointFailure: it does not exist.
        """
        try:
            await self._json("GET", "")
        except EndpointFailure as failure:
            if failure.status == 404:
                raise EndpointFailure(404, "db_not_found", f"could not open {self.shown}") from None
            if failure.status in (401, 403):
                raise EndpointFailure(
                    failure.status, "unauthorized", f"unauthorized to access or create database {self.shown}"
                ) from None
            raise

    async def create(self) -> None:
        """Create the database, unless it exists."""
        response = await self._fetch("PUT", "", {})
        if response.code >= 400 and response.code != 412:
            raise EndpointFailure(response.code, "unauthorized", f"could not create {self.shown}")

    async def local(self, log_id: str) -> dict[str, Any]:
        """Read a local document; empty if it does not exist."""
        try:
            found = await self._json("GET", f"/_local/{quote(log_id, safe='')}")
        except EndpointFailure as failure:
            if failure.status != 404:
                raise
            return {}
        return dict(found)

    async def write_local(self, log_id: str, document: dict[str, Any], rev: str | None) -> str:
        """Write a local document and return its new revision."""
        body = document if rev is None else {**document, "_rev": rev}
        return str((await self._json("PUT", f"/_local/{quote(log_id, safe='')}", body))["rev"])

    async def changes(self, query: Mapping[str, str], body: Any, timeout: float = _SECONDS) -> dict[str, Any]:
        """Read one answer of `_changes`."""
        path = f"/_changes?{urlencode(query)}"
        return dict(await self._json("GET" if body is None else "POST", path, body, timeout))

    async def post(self, path: str, body: Any, query: Mapping[str, str] | None = None) -> dict[str, Any]:
        """Send a POST below the database and return the JSON object of the answer."""
        found = await self._json("POST", f"/{path}" + (f"?{urlencode(query)}" if query else ""), body)
        return dict(found)

    async def write(self, docs: list[dict[str, Any]]) -> int:
        """Write revisions as they are and return how many were refused."""
        if not docs:
            return 0
        try:
            refused = await self._json("POST", "/_bulk_docs", {"new_edits": False, "docs": docs})
        except EndpointFailure as failure:
            # One document that is too large must not keep the others of its batch from being copied.
            if failure.status != 413:
                raise
            if len(docs) == 1:
                return 1
            return sum([await self.write([doc]) for doc in docs])
        # With `new_edits` false, CouchDB lists only the documents that it refused.
        return len([row for row in refused if "error" in row])


def _login(members: Mapping[str, Any], name: str | None, password: str | None) -> tuple[str, str] | None:
    """The name and password in `auth.basic`, or in the URL."""
    basic = (members.get("auth") or {}).get("basic") if isinstance(members.get("auth"), dict) else None
    if isinstance(basic, dict):
        return str(basic.get("username", "")), str(basic.get("password", ""))
    if name is None:
        return None
    return unquote(name), unquote(password or "")
