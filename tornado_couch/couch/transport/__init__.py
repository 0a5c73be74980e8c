"""How requests travel to CouchDB: the interface, aiohttp behind it, failover between nodes, and a fake."""

from __future__ import annotations

from .base import DEFAULT_TIMEOUT, FakeTransport, Reply, Request, Timeout, Transport
from .default import AiohttpTransport
from .failover import FailoverTransport

__all__ = [
    "DEFAULT_TIMEOUT",
    "AiohttpTransport",
    "FailoverTransport",
    "FakeTransport",
    "Reply",
    "Request",
    "Timeout",
    "Transport",
]
