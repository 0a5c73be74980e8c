"""Load for a mounted resource: reads and writes in a given mix, as fast as they go or at a given rate.

Closed loop: each connection sends its next request when the last one is answered, so a slow service gets fewer. Open
loop: requests are due at fixed times whatever the service does, and each one's latency counts from when it was due,
so that a service that stands still cannot hide it.
"""

from __future__ import annotations

import asyncio
import random
import time
from array import array
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any
from urllib.parse import urljoin, urlsplit

from .. import _json
from ..couch import AiohttpTransport, Reply, Request, Timeout
from ..errors import CouchError, TornadoCouchError

__all__ = ["Load", "LoadFailed", "Measured", "run_load"]

METHODS = ("GET", "PUT", "POST")
_PERCENTILES = (50.0, 90.0, 99.0, 99.9)
_CONFLICTS = frozenset({HTTPStatus.CONFLICT, HTTPStatus.PRECONDITION_FAILED})


class LoadFailed(TornadoCouchError):
    """The load could not begin."""


@dataclass(frozen=True)
class Load:
    """What to do to a service.

    Attributes:
        url: the collection's, such as `http://127.0.0.1:8888/v1.0/fruits`.
        bodies: what documents are created with and replaced by, chosen at random; at least one.
        mix: a weight for each of GET, PUT and POST.
        connections: how many requests there may be at once.
        seconds: how long.
        rate: requests a second, for the open loop; None for the closed one.
        documents: how many are created beforehand to be read and replaced; the fewer, the more conflicts.
        guarded: a PUT names the entity tag last seen of its document, so that a conflict is answered 412.
        headers: sent with every request, such as Authorization.
        timeout: seconds for each request.
        seed: of the random choices.
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
    """What became of the requests of one method.

    Attributes:
        seconds: the latencies.
        statuses: how many answers of each status; "failed" where there was none.
        at: for each latency, when it was over, in seconds from the beginning.
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
        """How many had no answer, or one of 5xx."""
        return sum(count for status, count in self.statuses.items() if not status.isdecimal() or status >= "500")

    def as_dict(self, duration: float) -> dict[str, Any]:
        """The numbers, latencies in milliseconds."""
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
    """The nearest rank, in milliseconds."""
    if not ordered:
        return None
    rank = min(len(ordered) - 1, int(len(ordered) * percentage / 100))
    return round(ordered[rank] * 1000, 3)


class _Service:
    """The resource, and the documents that were made in it."""

    def __init__(self, load: Load, transport: AiohttpTransport) -> None:
        self._load = load
        self._transport = transport
        self._path = urlsplit(load.url).path
        self._timeout = Timeout(total=load.timeout, read=load.timeout, connect=load.timeout, pool=None)
        self.random = random.Random(load.seed)  # noqa: S311 - which document is no secret
        self.paths: list[str] = []
        self.tags: dict[str, str] = {}

    async def send(self, method: str) -> Reply:
        """One request of the mix."""
        if method == "POST" or not self.paths:
            return await self._sent("POST", self._path, self._body())
        path = self.random.choice(self.paths)
        if method == "GET":
            return await self._sent("GET", path)
        tag = self.tags.get(path) if self._load.guarded else None
        return await self._sent("PUT", path, self._body(), {"If-Match": tag} if tag else {})

    async def create(self) -> None:
        """Make one of the documents that are read and replaced.

        Raises:
            LoadFailed: the service does not create it.
        """
        try:
            reply = await self._sent("POST", self._path, self._body())
        except CouchError as error:
            where = urlsplit(self._load.url).netloc.rpartition("@")[2]
            raise LoadFailed(f"the service cannot be reached at {where}: {_without_method(error)}") from None
        location = reply.headers.get("Location")
        if reply.status != HTTPStatus.CREATED or not location:
            text = reply.body[:500].decode("utf-8", "replace")
            raise LoadFailed(f"POST was answered {reply.status}; give --body what the resource takes. {text}")
        path = urlsplit(urljoin(self._load.url, location)).path
        self.paths.append(path)
        self._note(path, reply)

    async def delete(self, path: str) -> None:
        """Delete one of them again, if it is still there."""
        await self._sent("DELETE", path)

    async def _sent(
        self, method: str, path: str, body: bytes | None = None, more: dict[str, str] | None = None
    ) -> Reply:
        content = {"Content-Type": "application/json"} if body is not None else {}
        headers = {"Accept": "application/json", **content, **(more or {}), **self._load.headers}
        request = Request(method, path, f"the service's {method}", headers, body, self._timeout)
        async with asyncio.timeout(self._load.timeout):
            reply = await self._transport.send(request)
        if path in self.tags:
            self._note(path, reply)
        return reply

    def _note(self, path: str, reply: Reply) -> None:
        tag = reply.headers.get("ETag")
        if tag:
            self.tags[path] = tag

    def _body(self) -> bytes:
        return _json.dumps(self.random.choice(self._load.bodies))


async def run_load(load: Load, advance: Callable[[int], None] = lambda _count: None) -> dict[str, Any]:
    """Put the load on the service and measure it; the documents made beforehand are deleted afterwards.

    Args:
        load: what to do.
        advance: is told of each request that is over.

    Returns:
        `load` as it was; `seconds` it took; for each method `requests`, `per_second`, `milliseconds`, `statuses`,
        `conflicts` and `failures`; the same for all of them as `total`; and by `second` what was done in each.

    Raises:
        LoadFailed: the service does not take the documents, or cannot be reached.
        ValueError: a number is out of range, or the URL is none.
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
        raise ValueError(f"{load.url!r} is no http or https URL of a collection")
    if min(load.mix) < 0 or not sum(load.mix):
        raise ValueError("the mix has weights of 0 or more, and one more than 0")
    if load.connections < 1 or load.seconds <= 0 or load.documents < 1 or (load.rate is not None and load.rate <= 0):
        raise ValueError("connections, seconds, documents and rate are more than 0")
    if not load.bodies:
        raise ValueError("there is at least one body")


@asynccontextmanager
async def _service(load: Load) -> AsyncIterator[_Service]:
    parts = urlsplit(load.url)
    transport = AiohttpTransport(f"{parts.scheme}://{parts.netloc}", max_connections=load.connections)
    service = _Service(load, transport)
    try:
        for _ in range(load.documents):
            await service.create()
        yield service
        for path in service.paths:
            await service.delete(path)
    finally:
        await transport.close()


async def _closed(
    load: Load, service: _Service, measured: dict[str, Measured], began: float, advance: Callable[[int], None]
) -> None:
    async def connection() -> None:
        while time.monotonic() - began < load.seconds:
            await _measure(load, service, measured, began, time.monotonic(), advance)

    await _all(connection() for _ in range(load.connections))


async def _open(
    load: Load, service: _Service, measured: dict[str, Measured], began: float, advance: Callable[[int], None]
) -> None:
    rate = load.rate or 1.0
    due = iter(range(int(rate * load.seconds)))

    async def connection() -> None:
        for number in due:  # shared: the next request is whichever connection's that is free
            moment = began + number / rate
            await asyncio.sleep(max(0.0, moment - time.monotonic()))
            await _measure(load, service, measured, began, moment, advance)

    await _all(connection() for _ in range(load.connections))


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
    measured: dict[str, Measured],
    began: float,
    due: float,
    advance: Callable[[int], None],
) -> None:
    method = service.random.choices(METHODS, load.mix)[0]
    try:
        status = str((await service.send(method)).status)
    except (TimeoutError, CouchError):
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
        # Not the headers: they can hold credentials.
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


def _without_method(error: CouchError) -> str:
    return str(error).partition(": ")[2] or str(error)
