# ruff: noqa: S310, T201  (it asks servers that it started itself, and shows progress)
"""Measures each operation on each peer in turn, in many rounds, so that a disturbance affects all peers."""

from __future__ import annotations

import json
import secrets
import statistics
import sys
import urllib.error
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from .generator import Job
from .operations import Dataset, Operation, Target
from .processes import Cores, Watched, generate

__all__ = ["Figure", "Peer", "check", "measure", "measure_once"]


@dataclass
class Peer:
    """One of the services that are measured.

    Attributes:
        target: where its requests go.
        data: what its database contains.
        process: its process; for CouchDB the same as `couchdb`.
    """

    target: Target
    data: Dataset
    process: Watched


@dataclass
class Figure:
    """The measurements of one operation on one peer with a number of connections; lists have one entry per round.

    Attributes:
        operation: the operation's name.
        peer: the peer's name.
        connections: the number of connections.
        rates: requests per second.
        p50, p99: milliseconds.
        service_cpu: the service's computing time in seconds per 1,000 requests.
        couchdb_cpu: the same for CouchDB.
    """

    operation: str
    peer: str
    connections: int
    rates: list[float] = field(default_factory=list)
    p50: list[float] = field(default_factory=list)
    p99: list[float] = field(default_factory=list)
    service_cpu: list[float] = field(default_factory=list)
    couchdb_cpu: list[float] = field(default_factory=list)

    def median(self, name: str) -> float:
        """The median of one of the lists."""
        values: list[float] = getattr(self, name)
        return statistics.median(values)


def ask(target: Target, request: str) -> tuple[int, str | None, Any]:
    """Send a single request as the load generator would, and return status, entity tag and decoded body."""
    head, _, body = request.partition("\r\n\r\n")
    line, *fields = head.split("\r\n")
    method, path, _ = line.split(" ")
    asked = urllib.request.Request(target.url + path, body.encode() or None, method=method)
    for each in fields:
        name, _, value = each.partition(": ")
        if name != "Content-Length":
            asked.add_header(name, value)
    try:
        with urllib.request.urlopen(asked, timeout=30) as answer:
            text = answer.read()
            return answer.status, answer.headers.get("ETag"), json.loads(text) if text else None
    except urllib.error.HTTPError as error:
        return error.code, error.headers.get("ETag"), None


def tags(peer: Peer, operation: Operation, connections: int) -> list[str]:
    """The entity tags with which the connections begin."""
    if operation.paths is None:
        return []
    found = []
    for path in operation.paths(peer.target, peer.data, connections):
        request = f"GET {path} HTTP/1.1\r\nAccept: application/json"
        if peer.target.authorization:
            request += f"\r\nAuthorization: {peer.target.authorization}"
        _, tag, _ = ask(peer.target, request)
        if tag is None:
            raise RuntimeError(f"{peer.target.name}: {path} has no entity tag")
        found.append(tag)
    return found


def check(peer: Peer, operation: Operation) -> None:
    """Check that a peer does what will be measured.

    Raises:
        RuntimeError: it does not.
    """
    begin = tags(peer, operation, 1) or [""]
    request = operation.requests(peer.target, peer.data, 1)[0][0].replace("@ETAG@", begin[0])
    status, _, body = ask(peer.target, request)
    if status not in operation.status or not operation.is_right(body):
        raise RuntimeError(f"{peer.target.name} answers {operation.name} with {status}: {str(body)[:300]}")


def measure(
    peers: Sequence[Peer],
    operations: Sequence[Operation],
    connections: Sequence[int],
    *,
    rounds: int,
    seconds: float,
    couchdb: Watched,
    cores: Cores,
) -> list[Figure]:
    """Measure every operation on every peer.

    Raises:
        RuntimeError: a peer answered wrongly.
    """
    for operation in operations:
        for peer in peers:
            check(peer, operation)
    figures = []
    for operation in operations:
        for count in connections:
            group = [Figure(operation.name, peer.target.name, count) for peer in peers]
            for _ in range(rounds):
                for peer, figure in zip(peers, group, strict=True):
                    measure_once(peer, operation, figure, seconds, couchdb, cores)
            shown = ", ".join(f"{each.peer} {each.median('rates'):.0f}/s" for each in group)
            print(f"{operation.name}, {count} connections: {shown}", file=sys.stderr, flush=True)
            figures += group
    return figures


def measure_once(
    peer: Peer, operation: Operation, figure: Figure, seconds: float, couchdb: Watched, cores: Cores
) -> None:
    job = Job(
        url=peer.target.url,
        requests=operation.requests(peer.target, peer.data, figure.connections),
        connections=figure.connections,
        seconds=seconds,
        warmup=min(0.3, seconds / 3),
        status=list(operation.status),
        tags=tags(peer, operation, figure.connections),
        prefix=secrets.token_hex(3),
    )
    before = peer.process.cpu_seconds(), couchdb.cpu_seconds()
    try:
        seen = generate(job, cores.others)
    except RuntimeError as error:
        raise RuntimeError(f"{peer.target.name}, {operation.name}, {figure.connections} connections: {error}") from None
    after = peer.process.cpu_seconds(), couchdb.cpu_seconds()
    thousands = max(seen.all_requests, 1) / 1000
    figure.rates.append(seen.requests / seen.seconds)
    figure.p50.append(seen.p50)
    figure.p99.append(seen.p99)
    figure.service_cpu.append((after[0] - before[0]) / thousands)
    figure.couchdb_cpu.append((after[1] - before[1]) / thousands)
