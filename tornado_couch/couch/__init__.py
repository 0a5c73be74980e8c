"""CouchDB over HTTP: an async client that knows no models and is good by itself."""

from .auth import Auth, BasicAuth, BearerAuth, CookieAuth, NoAuth, ProxyAuth
from .bulk import BulkResult, BulkResults, Leaf
from .changes import Change, Changes
from .client import Couch
from .database import Database, WriteResult
from .failover import FailoverTransport
from .mango import FindResult, IndexCreated
from .measuring import DatabaseMetrics, Sizes, ViewMetrics, all_view_metrics, database_metrics, view_metrics
from .observing import Observer, Observers
from .server import Server
from .transport import AiohttpTransport, FakeTransport, Reply, Request, Timeout, Transport
from .views import UNSET, Row, Unset, ViewQuery, ViewResult

__all__ = [
    "UNSET",
    "AiohttpTransport",
    "Auth",
    "BasicAuth",
    "BearerAuth",
    "BulkResult",
    "BulkResults",
    "Change",
    "Changes",
    "CookieAuth",
    "Couch",
    "Database",
    "DatabaseMetrics",
    "FailoverTransport",
    "FakeTransport",
    "FindResult",
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
    "Sizes",
    "Timeout",
    "Transport",
    "Unset",
    "ViewMetrics",
    "ViewQuery",
    "ViewResult",
    "WriteResult",
    "all_view_metrics",
    "database_metrics",
    "view_metrics",
]
