"""CouchDB over HTTP: an async client that does not depend on models and can be used by itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .auth import Auth, BasicAuth, BearerAuth, CookieAuth, NoAuth, ProxyAuth
from .bulk import BulkResult, BulkResults, Leaf, live
from .changes import Change, Changes
from .client import Couch
from .database import Database, WriteResult
from .grouping.access import Access, Grouped, Single, access
from .grouping.reads import ConflictNoticed
from .mango import FindResult, IndexCreated
from .observer import Observer, Observers
from .scheduler import GroupLimits
from .server import Server
from .sizes import DatabaseMetrics, Sizes, ViewMetrics, all_view_metrics, database_metrics, view_metrics
from .transport.base import FakeTransport, Reply, Request, Timeout, Transport
from .transport.failover import FailoverTransport
from .views import UNSET, Row, Unset, ViewQuery, ViewResult

if TYPE_CHECKING:
    from .transport.default import AiohttpTransport

__all__ = [
    "UNSET",
    "Access",
    "AiohttpTransport",
    "Auth",
    "BasicAuth",
    "BearerAuth",
    "BulkResult",
    "BulkResults",
    "Change",
    "Changes",
    "ConflictNoticed",
    "CookieAuth",
    "Couch",
    "Database",
    "DatabaseMetrics",
    "FailoverTransport",
    "FakeTransport",
    "FindResult",
    "GroupLimits",
    "Grouped",
    "IndexCreated",
    "Leaf",
    "NoAuth",
    "Observer",
    "Observers",
    "ProxyAuth",
    "Reply",
    "Request",
    "Row",
    "Server",
    "Single",
    "Sizes",
    "Timeout",
    "Transport",
    "Unset",
    "ViewMetrics",
    "ViewQuery",
    "ViewResult",
    "WriteResult",
    "access",
    "all_view_metrics",
    "database_metrics",
    "live",
    "view_metrics",
]


def __getattr__(name: str) -> Any:
    if name == "AiohttpTransport":  # importing aiohttp takes long, and it may not be used
        from .transport.default import AiohttpTransport

        return AiohttpTransport
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
