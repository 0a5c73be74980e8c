"""How requests travel to CouchDB: the interface, two libraries behind it, failover between nodes, and a fake."""

from __future__ import annotations

from .base import DEFAULT_TIMEOUT, FakeTransport, Reply, Request, Timeout, Transport
from .failover import FailoverTransport

__all__ = ["DEFAULT_TIMEOUT", "FailoverTransport", "FakeTransport", "Reply", "Request", "Timeout", "Transport"]
