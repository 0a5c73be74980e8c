"""Load generator for a mounted resource: reads and writes in a given mix, as fast as possible or at a given rate.

In the closed loop each connection sends its next request when the last one is answered, so a slow service gets fewer
requests. In the open loop requests are due at fixed times whatever the service does, and the latency of each counts
from when it was due, so a service that stands still cannot hide it.
"""

from __future__ import annotations

import asyncio
import os
import random
import time
from array import array
from base64 import b64encode
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any
from urllib.parse import SplitResult, quote, unquote, urljoin, urlsplit

from .. import _json
from .._version import __version__
from ..errors import TornadoCouchError
from .http_connection import Answer, HTTPConnection

__all__ = ["Load", "LoadFailed", "Measured", "run_load"]

METHODS = ("GET", "PUT", "POST")
_PERCENTILES = (50.0, 90.0, 99.0, 99.9)
_IN_PATHS = "/%:@!$&'()*+,;=~"  # the characters that RFC 3986 allows there, and those of encoded ones
_CONFLICTS = frozenset({HTTPStatus.CONFLICT, HTTPStatus.PRECONDITION_FAILED})


class LoadFailed(TornadoCouchError):
    """The load could not start."""


@dataclass(frozen=True)
class Load:
    """Which load to put on a service.

    Attributes:
        url: the URL of the collection, such as `http://127.0.0.1:8888/v1.0/fruits`.
        bodies: the bodies to create and replace documents with, chosen at random; at least one.
        mix: a weight for each of GET, PUT and POST.
        connections: how many requests may be under way at once.
        seconds: how long the load lasts.
        rate: requests per second, for the open loop; None for the closed one.
        documents: how many documents are created beforehand to be read and replaced; with fewer there are more
            conflicts.
        guarded: whether a PUT names the entity tag last seen of its document, so that a conflict is answered 412.
        headers: sent with every request, such as Authorization.
        timeout: seconds for each request.
        seed: the seed of the random choices.
    """

    url: str
    bodies: Sequence[Any]
    mix: tuple[float, float, float] = (80.0, 20.0, 0.0)
    connections: int = 10
    seconds: float = 10.0
    rate: float | None = None
    documents: int = 50
    guarded: bool = False
    headers: dict[str, str] = field(default_factory=dict)
    timeout: float = 30.0
    seed: int | None = None


class Measured:
    """The outcomes of the requests of one method.

    Attributes:
        seconds: the latencies.
        statuses: how many answers had each status; "failed" if there was no answer.
        at: for each latency, when the request was over, in seconds from the beginning.
    """

    def __init__(self) -> None:
        self.seconds = array("d")
        self.at = array("d")
        self.statuses: Counter[str] = Counter()

    @property
    def conflicts(self) -> int:
        """How many answers were 409 or 412."""
        return sum(self.statuses[str(status.value)] for status in _CONFLICTS)

    @property
    def failures(self) -> int:
        """How many requests had no answer, or an answer of 5xx."""
        return sum(count for status, count in self.statuses.items() if not status.isdecimal() or status >= "500")

    def as_dict(self, duration: float) -> dict[str, Any]:
        """The numbers as a dict; latencies are in milliseconds."""
        ordered = sorted(self.seconds)
        milliseconds = {f"p{each:g}": _percentile(ordered, each) for each in _PERCENTILES}
        return {
            "requests": len(ordered),
            "per_second": round(len(ordered) / duration, 1) if duration else 0.0,
            "milliseconds": {**milliseconds, "max": round(ordered[-1] * 1000, 3) if ordered else None},
            "statuses": dict(sorted(self.statuses.items())),
            "conflicts": self.conflicts,
            "failures": self.failures,
        }


def _percentile(ordered: Sequence[float], percentage: float) -> float | None:
    """A percentile by the nearest rank, in milliseconds."""
    if not ordered:
        return None
    rank = min(len(ordered) - 1, int(len(ordered) * percentage / 100))
    return round(ordered[rank] * 1000, 3)


class _Service:
    """The resource, and the documents that were created in it."""

    def __init__(self, load: Load) -> None:
        self._load = load
        parts = urlsplit(load.url)
        self._path = parts.path or "/"
        self._headers = {
            "Host": parts.netloc.rpartition("@")[2],
            "User-Agent": f"tornado_couch/{__version__}",
            "Accept": "application/json",
            **_authorization(parts),
            **load.headers,
        }
        self.random = random.Random(load.seed)  # noqa: S311 - the choice of a document is not a secret
        self.connections = [HTTPConnection(load.url) for _ in range(load.connections)]
        self.paths: list[str] = []
        self.tags: dict[str, str] = {}

    async def send(self, connection: HTTPConnection, method: str) -> Answer:
        """Send one request of the mix."""
        if method == "POST" or not self.paths:
            return await self._sent(connection, "POST", self._path, self._body())
        path = self.random.choice(self.paths)
        if method == "GET":
            return await self._sent(connection, "GET", path)
        tag = self.tags.get(path) if self._load.guarded else None
        return await self._sent(connection, "PUT", path, self._body(), tag)

    async def create(self) -> None:
        """Create one of the documents that are read and replaced.

        Raises:
            LoadFailed: the service does not create it.
        """
        answer = await self._sent(self.connections[0], "POST", self._path, self._body())
        location = answer.header("Location")
        if answer.status != HTTPStatus.CREATED or not location:
            text = answer.body[:500].decode("utf-8", "replace")
            missing = answer.status in (HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED)
            advice = "name the URL of a collection" if missing else "pass a valid document with --body"
            raise LoadFailed(f"POST was answered {answer.status}; {advice}. {text.rstrip()}")
        path = urlsplit(urljoin(self._load.url, location)).path
        self.paths.append(path)
        self._note(path, answer)

    async def delete(self, path: str) -> None:
        """Delete one of these documents, if it still exists."""
        await self._sent(self.connections[0], "DELETE", path)

    async def _sent(
        self, connection: HTTPConnection, method: str, path: str, body: bytes | None = None, tag: str | None = None
    ) -> Answer:
        fields = self._headers
        if body is not None:
            fields = {"Content-Type": "application/json", **fields, "Content-Length": str(len(body))}
        if tag is not None:
            fields = {**fields, "If-Match": tag}
        head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        request = f"{method} {quote(path, safe=_IN_PATHS)} HTTP/1.1\r\n{head}\r\n".encode() + (body or b"")
        async with asyncio.timeout(self._load.timeout):
            answer = await connection.ask(request)
        if path in self.tags:
            self._note(path, answer)
        return answer

    def _note(self, path: str, answer: Answer) -> None:
        tag = answer.header("ETag")
        if tag:
            self.tags[path] = tag

    def _body(self) -> bytes:
        return _json.dumps(self.random.choice(self._load.bodies))


def _authorization(parts: SplitResult) -> dict[str, str]:
    """The header for the credentials in a URL, if it has any."""
    if parts.username is None:
        return {}
    pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    return {"Authorization": f"Basic {b64encode(pair.encode()).decode()}"}


async def run_load(load: Load, advance: Callable[[int], None] = lambda _count: None) -> dict[str, Any]:
    """Put the load on the service and measure it; the documents created beforehand are deleted afterwards.

    Args:
        load: what to do.
        advance: called after each request.

    Returns:
        `load` as it was given; `seconds` that it took; for each method `requests`, `per_second`, `milliseconds`,
        `statuses`, `conflicts` and `failures`; the same for all methods as `total`; and by `second` what was done
        in each.

    Raises:
        LoadFailed: the service does not accept the documents, or cannot be reached.
        ValueError: a number is out of range, or the URL is not valid.
    """
    _check(load)
    measured = {method: Measured() for method, weight in zip(METHODS, load.mix, strict=True) if weight}
    async with _service(load) as service:
        began = time.monotonic()
        worker = _open if load.rate else _closed
        await worker(load, service, measured, began, advance)
        duration = time.monotonic() - began
    return _result(load, measured, duration)


def _check(load: Load) -> None:
    parts = urlsplit(load.url)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise ValueError(f"{load.url!r} is not an http or https URL of a collection")
    if min(load.mix) < 0 or not sum(load.mix):
        raise ValueError("the weights of the mix must be 0 or more, and at least one must be greater than 0")
    if load.connections < 1 or load.seconds <= 0 or load.documents < 1 or (load.rate is not None and load.rate <= 0):
        raise ValueError("connections, seconds, documents and rate must be greater than 0")
    if not load.bodies:
        raise ValueError("at least one body is needed")


@asynccontextmanager
async def _service(load: Load) -> AsyncIterator[_Service]:
    service = _Service(load)
    try:
        for _ in range(load.documents):
            await service.create()
        yield service
        for path in service.paths:
            await service.delete(path)
    except OSError as error:  # a time limit has no text
        where = urlsplit(load.url).netloc.rpartition("@")[2]
        raise LoadFailed(f"the service cannot be reached at {where}: {_reason(error)}") from None
    finally:
        for connection in service.connections:
            connection.close()


def _reason(error: OSError) -> str:
    """What is wrong with a connection, in the system's own words; asyncio puts the address in their place."""
    return os.strerror(error.errno) if error.errno else str(error) or "it does not answer in time"


async def _closed(
    load: Load, service: _Service, measured: dict[str, Measured], began: float, advance: Callable[[int], None]
) -> None:
    async def work(connection: HTTPConnection) -> None:
        while time.monotonic() - began < load.seconds:
            await _measure(load, service, connection, measured, began, time.monotonic(), advance)

    await _all(map(work, service.connections))


async def _open(
    load: Load, service: _Service, measured: dict[str, Measured], began: float, advance: Callable[[int], None]
) -> None:
    rate = load.rate or 1.0
    due = iter(range(int(rate * load.seconds)))

    async def work(connection: HTTPConnection) -> None:
        for number in due:  # shared: whichever connection is free takes the next request
            moment = began + number / rate
            await asyncio.sleep(max(0.0, moment - time.monotonic()))
            await _measure(load, service, connection, measured, began, moment, advance)

    await _all(map(work, service.connections))


async def _all(work: Any) -> None:
    tasks = [asyncio.ensure_future(each) for each in work]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()


async def _measure(
    load: Load,
    service: _Service,
    connection: HTTPConnection,
    measured: dict[str, Measured],
    began: float,
    due: float,
    advance: Callable[[int], None],
) -> None:
    method = service.random.choices(METHODS, load.mix)[0]
    try:
        status = str((await service.send(connection, method)).status)
    except OSError:  # a TimeoutError as well
        status = "failed"
    ended = time.monotonic()
    of_method = measured[method]
    of_method.seconds.append(ended - due)
    of_method.at.append(ended - began)
    of_method.statuses[status] += 1
    advance(1)


def _result(load: Load, measured: dict[str, Measured], duration: float) -> dict[str, Any]:
    total = Measured()
    for each in measured.values():
        total.seconds.extend(each.seconds)
        total.at.extend(each.at)
        total.statuses.update(each.statuses)
    return {
        # The headers are left out, since they can contain credentials.
        "load": {
            "url": load.url,
            "mix": dict(zip(METHODS, load.mix, strict=True)),
            "connections": load.connections,
            "seconds": load.seconds,
            "rate": load.rate,
            "documents": load.documents,
            "guarded": load.guarded,
        },
        "seconds": round(duration, 3),
        "methods": {method: each.as_dict(duration) for method, each in measured.items()},
        "total": total.as_dict(duration),
        "by_second": _by_second(total),
    }


def _by_second(total: Measured) -> list[dict[str, Any]]:
    seconds: dict[int, list[float]] = {}
    for at, latency in zip(total.at, total.seconds, strict=True):
        seconds.setdefault(int(at), []).append(latency)
    return [
        {
            "second": second,
            "requests": len(latencies),
            **{f"p{each:g}": _percentile(sorted(latencies), each) for each in (50.0, 99.0)},
        }
        for second, latencies in sorted(seconds.items())
    ]
