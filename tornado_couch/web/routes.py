"""`resource(…)`: mount a model with one call."""

from __future__ import annotations

import re
from typing import Any

from tornado.routing import URLSpec

from ..models import Model
from ..store import Store
from .actions import (
    BulkHandler,
    ConflictsHandler,
    CreateMixin,
    DestroyMixin,
    ListMixin,
    PatchMixin,
    ReductionHandler,
    ReplaceMixin,
    RetrieveMixin,
    VersionsHandler,
)
from .handler import ResourceHandler
from .resources import M, Resource

__all__ = ["CollectionHandler", "DocumentHandler", "resource"]


class CollectionHandler(ListMixin[M], CreateMixin[M]):
    """A collection: list and create."""


class DocumentHandler(RetrieveMixin[M], ReplaceMixin[M], PatchMixin[M], DestroyMixin[M]):
    """A document: retrieve, replace, patch and delete."""


def resource(
    path: str,
    model: type[Model],
    store: Store,
    *,
    collection: type[ResourceHandler] | None = None,
    document: type[ResourceHandler] | None = None,
    reduction: type[ReductionHandler] = ReductionHandler,
    bulk: type[ResourceHandler] | None = BulkHandler,
    versions: type[ResourceHandler] | None = None,
    conflicts: type[ResourceHandler] | None = None,
    **options: Any,
) -> list[URLSpec]:
    """The routes of a model: its collection at `path`, each document at `path/{key}`.

    Each reduced view that the model declares is at `path/{name}`, which is therefore no document's key.

        app = Application([*resource("/v1.0/fruits", Fruit, store)], policy=Authenticated(…))

    Args:
        path: of the collection.
        model: what it holds.
        store: where it is kept.
        collection: the handler class of the collection, for routes with fewer or other actions; without it that is
            `CollectionHandler`.
        document: the handler class of a document; without it that is `DocumentHandler`.
        reduction: the handler class of a reduced view.
        bulk: the handler class of `path/_bulk`; None mounts none. `BulkHandler` offers the operations that
            `collection` and `document` have, and calls their `perform_…` hooks.
        versions: the handler class of `path/{key}/versions`, where the model keeps its history. Without it that is
            `VersionsHandler`, where `document` is not given: another class may show less.
        conflicts: the handler class of `path/{key}/conflicts`. Without it that is `ConflictsHandler`, where
            neither `collection` nor `document` is given: it does not call their `perform_…` hooks.
        **options: the further attributes of `Resource`, such as `require_if_match=True`.

    Returns:
        URL specifications; their order matters.

    Raises:
        ModelDefinitionError: the model has no type.
        ValueError: the options contradict each other or the model.
    """
    mounted = {"resource": Resource(path, model, store, collection=collection, **options)}
    names = mounted["resource"].info.reductions
    if document is None:
        conflicts = conflicts or (ConflictsHandler if collection is None else None)
        versions = versions or VersionsHandler
    classes = {"collection": collection or CollectionHandler, "document": document or DocumentHandler}
    if mounted["resource"].info.history:
        conflicts = None  # a version is never rewritten, so there is nothing to decide
    else:
        versions = None
    return [
        URLSpec(re.escape(path), classes["collection"], mounted),
        *_bulk_routes(bulk, mounted, classes),
        *(URLSpec(f"{re.escape(path)}/{re.escape(name)}", reduction, {**mounted, "name": name}) for name in names),
        *([URLSpec(f"{re.escape(path)}/([^/]+)/versions", versions, mounted)] if versions else []),
        # One segment, still percent-encoded, so that a key may hold any character, slashes too.
        URLSpec(re.escape(path) + "/([^/]+)", classes["document"], mounted),
        *([URLSpec(re.escape(path) + "/([^/]+)/conflicts", conflicts, mounted)] if conflicts else []),
    ]


def _bulk_routes(
    bulk: type[ResourceHandler] | None, mounted: dict[str, Resource[Any]], classes: dict[str, type[ResourceHandler]]
) -> list[URLSpec]:
    """The route of bulk requests, where there is an operation that they could have."""
    if bulk is None:
        return []
    path = f"{re.escape(mounted['resource'].path)}/_bulk"
    if not issubclass(bulk, BulkHandler):
        return [URLSpec(path, bulk, mounted)]
    return [URLSpec(path, bulk, {**mounted, **classes})] if bulk.operations(**classes) else []
