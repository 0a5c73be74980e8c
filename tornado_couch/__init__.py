"""REST over CouchDB for Tornado: declare a model once, mount it with one call."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ._version import __version__

if TYPE_CHECKING:
    from .couch import BasicAuth, BearerAuth, CookieAuth, Couch, Database, ProxyAuth, Timeout
    from .errors import (
        CouchError,
        DocumentExists,
        DocumentNotFound,
        RetriesExhausted,
        RevisionMismatch,
        TornadoCouchError,
    )
    from .models import CreatedOn, Indexed, Key, Model, ReadOnly, Timestamp, UpdatedOn, WriteOnly
    from .ops import install
    from .store import Page, Retry, Store
    from .web import (
        AllowAny,
        Application,
        CollectionHandler,
        CreateMixin,
        DestroyMixin,
        DocumentHandler,
        Hooks,
        ListMixin,
        PatchMixin,
        Policy,
        Problem,
        ProblemHandler,
        ReplaceMixin,
        ResourceHandler,
        RetrieveMixin,
        resource,
    )

__all__ = [
    "AllowAny",
    "Application",
    "BasicAuth",
    "BearerAuth",
    "CollectionHandler",
    "CookieAuth",
    "Couch",
    "CouchError",
    "CreateMixin",
    "CreatedOn",
    "Database",
    "DestroyMixin",
    "DocumentExists",
    "DocumentHandler",
    "DocumentNotFound",
    "Hooks",
    "Indexed",
    "Key",
    "ListMixin",
    "Model",
    "Page",
    "PatchMixin",
    "Policy",
    "Problem",
    "ProblemHandler",
    "ProxyAuth",
    "ReadOnly",
    "ReplaceMixin",
    "ResourceHandler",
    "RetriesExhausted",
    "RetrieveMixin",
    "Retry",
    "RevisionMismatch",
    "Store",
    "Timeout",
    "Timestamp",
    "TornadoCouchError",
    "UpdatedOn",
    "WriteOnly",
    "__version__",
    "install",
    "resource",
]

# Names are imported when they are first used (PEP 562), so that the command line and the embedded
# server, which need few of them, start fast.
_HOME = {
    "couch": "BasicAuth BearerAuth CookieAuth Couch Database ProxyAuth Timeout",
    "errors": "CouchError DocumentExists DocumentNotFound RetriesExhausted RevisionMismatch TornadoCouchError",
    "models": "CreatedOn Indexed Key Model ReadOnly Timestamp UpdatedOn WriteOnly",
    "ops": "install",
    "store": "Page Retry Store",
    "web": (
        "AllowAny Application CollectionHandler CreateMixin DestroyMixin DocumentHandler Hooks ListMixin PatchMixin"
        " Policy Problem ProblemHandler ReplaceMixin"
        " ResourceHandler RetrieveMixin resource"
    ),
}
_MODULES = {name: module for module, names in _HOME.items() for name in names.split()}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f".{_MODULES[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
