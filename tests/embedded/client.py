"""A small client for tests of the embedded server: one request, one answer, nothing hidden."""

from __future__ import annotations

import base64
import http.client
import json
from typing import Any, NamedTuple
from urllib.parse import quote, urlsplit

__all__ = ["Answer", "Client"]


class Answer(NamedTuple):
    """What came back."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Client:
    """Sends requests to one server, a new connection for each.

    Args:
        url: where it is; credentials in it are used.
    """

    def __init__(self, url: str, auth: str | None = None) -> None:
        parts = urlsplit(url)
        self.host, self.port, self.base = parts.hostname or "", parts.port or 80, parts.path.rstrip("/")
        login = auth or (f"{parts.username}:{parts.password}" if parts.username else None)
        self.login = {} if login is None else {"Authorization": "Basic " + base64.b64encode(login.encode()).decode()}

    def ask(self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None,
            timeout: float = 60) -> Answer:  # fmt: skip
        """One exchange; a body that is not bytes is sent as JSON."""
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        sent = {**self.login, **({"Content-Type": "application/json"} if data is not None else {}), **(headers or {})}
        connection = http.client.HTTPConnection(self.host, self.port, timeout=timeout)
        try:
            connection.request(method, self.base + path, body=data, headers=sent)
            answer = connection.getresponse()
            return Answer(answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read())
        finally:
            connection.close()

    def get(self, path: str, **headers: str) -> Answer:
        return self.ask("GET", path, headers={name.replace("_", "-"): value for name, value in headers.items()})

    def put(self, path: str, body: Any = None, headers: dict[str, str] | None = None) -> Answer:
        return self.ask("PUT", path, body, headers)

    def post(self, path: str, body: Any = None, headers: dict[str, str] | None = None) -> Answer:
        return self.ask("POST", path, body, headers)

    def delete(self, path: str) -> Answer:
        return self.ask("DELETE", path)

    def save(self, doc_id: str, document: dict[str, Any]) -> str:
        """Write a document below this client's URL; its revision."""
        answer = self.put("/" + quote(doc_id, safe="/"), document)
        assert answer.status in (200, 201), answer
        return str(answer.json["rev"])

    def within(self, name: str) -> Client:
        """A client below a path."""
        made = Client.__new__(Client)
        made.host, made.port, made.login, made.base = self.host, self.port, self.login, f"{self.base}/{name}"
        return made
