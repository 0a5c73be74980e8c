"""REST over CouchDB for Tornado: declare a model once, mount it with one call."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ._version import __version__

if TYPE_CHECKING:
    from .couch import BasicAuth, BearerAuth, CookieAuth, Couch, Database, GroupLimits, Observer, ProxyAuth, Timeout
    from .errors import (
        ActionRefused,
        AttachmentMismatch,
        AttachmentNotFound,
        AttachmentRefused,
        CouchError,
        DocumentExists,
        DocumentNotFound,
        NoIndex,
        OutcomeUnknown,
        RetriesExhausted,
        RevisionMismatch,
        TornadoCouchError,
    )
    from .installation import ApplicationUser, Installer, install
    from .models import (
        Attachment,
        Attachments,
        Classification,
        Computed,
        Count,
        CreatedOn,
        Encrypted,
        Hashed,
        Indexed,
        Key,
        MaxBytes,
        MaxItems,
        MediaTypes,
        Merge,
        Model,
        Public,
        ReadOnly,
        Reference,
        Scope,
        Stats,
        Sum,
        Timestamp,
        UpdatedOn,
        WriteOnly,
        assigned,
        upgrade,
    )
    from .service import Configuration, Tenants, serve
    from .store import Bounds, Consumer, DocumentChange, Page, Query, ReadCache, Reconciler, Retry, Store, Upload
    from .web import (
        AllowAny,
        ApiInfo,
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
        ReductionHandler,
        ReplaceMixin,
        ResourceHandler,
        RetrieveMixin,
        action,
        docs_routes,
        health_routes,
        metrics_routes,
        openapi_document,
        openapi_routes,
        resource,
    )

__all__ = [
    "ActionRefused",
    "AllowAny",
    "ApiInfo",
    "Application",
    "ApplicationUser",
    "Attachment",
    "AttachmentMismatch",
    "AttachmentNotFound",
    "AttachmentRefused",
    "Attachments",
    "BasicAuth",
    "BearerAuth",
    "Bounds",
    "Classification",
    "CollectionHandler",
    "Computed",
    "Configuration",
    "Consumer",
    "CookieAuth",
    "Couch",
    "CouchError",
    "Count",
    "CreateMixin",
    "CreatedOn",
    "Database",
    "DestroyMixin",
    "DocumentChange",
    "DocumentExists",
    "DocumentHandler",
    "DocumentNotFound",
    "Encrypted",
    "GroupLimits",
    "Hashed",
    "Hooks",
    "Indexed",
    "Installer",
    "Key",
    "ListMixin",
    "MaxBytes",
    "MaxItems",
    "MediaTypes",
    "Merge",
    "Model",
    "NoIndex",
    "Observer",
    "OutcomeUnknown",
    "Page",
    "PatchMixin",
    "Policy",
    "Problem",
    "ProblemHandler",
    "ProxyAuth",
    "Public",
    "Query",
    "ReadCache",
    "ReadOnly",
    "Reconciler",
    "ReductionHandler",
    "Reference",
    "ReplaceMixin",
    "ResourceHandler",
    "RetriesExhausted",
    "RetrieveMixin",
    "Retry",
    "RevisionMismatch",
    "Scope",
    "Stats",
    "Store",
    "Sum",
    "Tenants",
    "Timeout",
    "Timestamp",
    "TornadoCouchError",
    "UpdatedOn",
    "Upload",
    "WriteOnly",
    "__version__",
    "action",
    "assigned",
    "docs_routes",
    "health_routes",
    "install",
    "metrics_routes",
    "openapi_document",
    "openapi_routes",
    "resource",
    "serve",
    "upgrade",
]

# Names are imported when they are first used (PEP 562), so that the command line and the embedded
# server, which need few of them, start fast.
_HOME = {
    "couch": "BasicAuth BearerAuth CookieAuth Couch Database GroupLimits Observer ProxyAuth Timeout",
    "errors": (
        "ActionRefused AttachmentMismatch AttachmentNotFound AttachmentRefused CouchError DocumentExists"
        " DocumentNotFound NoIndex OutcomeUnknown RetriesExhausted RevisionMismatch TornadoCouchError"
    ),
    "models": (
        "Attachment Attachments Classification Computed Count CreatedOn Encrypted Hashed Indexed Key MaxBytes MaxItems"
        " MediaTypes Merge Model Public ReadOnly Reference Scope Stats Sum Timestamp UpdatedOn WriteOnly assigned"
        " upgrade"
    ),
    "installation": "ApplicationUser Installer install",
    "service": "Configuration Tenants serve",
    "store": "Bounds Consumer DocumentChange Page Query ReadCache Reconciler Retry Store Upload",
    "web": (
        "AllowAny ApiInfo Application CollectionHandler CreateMixin DestroyMixin DocumentHandler Hooks ListMixin"
        " PatchMixin Policy Problem ProblemHandler ReductionHandler ReplaceMixin"
        " ResourceHandler RetrieveMixin action docs_routes health_routes metrics_routes openapi_document openapi_routes"
        " resource"
    ),
}
_MODULES = {name: module for module, names in _HOME.items() for name in names.split()}


# `from tornado_couch import async_model_actions`, as with the package that this one continues.
_CLASSIC = frozenset({"async_model_actions", "installer", "model", "retry_strategy", "tamper"})


def __getattr__(name: str) -> Any:
    if name in _CLASSIC:
        return import_module(f".classic.{name}", __name__)
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f".{_MODULES[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
