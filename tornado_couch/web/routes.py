"""`resource(…)`: mount a model with one call."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any, cast
from urllib.parse import quote

from tornado.routing import PathMatches, URLSpec
from tornado.web import RequestHandler

from ..models import Model
from ..store import Store
from .access import StoreOf
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
from .actions.acting import acting
from .actions.many import changing_many
from .actions.own_action import OwnAction, declared_actions
from .handler import ResourceHandler
from .live import ChangesHandler, TicketHandler
from .resources import M, Resource

__all__ = ["CollectionHandler", "DocumentHandler", "resource"]


class _Path(PathMatches):
    """Matches the path of a template, such as "/v1.0/fruits/{key}".

    A key is one segment, still percent-encoded, so that it may hold any character, slashes too.
    """

    def __init__(self, template: str) -> None:
        self.template = template
        super().__init__(_PARAMETER.sub("([^/]+)", re.escape(template)))

    def reverse(self, *args: Any) -> str | None:
        """Return the path with these keys in it; Tornado would leave their slashes as they are."""
        found = super().reverse(*(str(each).replace("/", _SLASH) for each in args))
        return None if found is None else found.replace(quote(_SLASH), "%2F")


def _route(template: str, handler: type[RequestHandler], options: dict[str, Any], name: str) -> URLSpec:
    made = URLSpec("", handler, options, name)
    made.matcher = _Path(template)
    made.regex = made.matcher.regex
    return made


_PARAMETER = re.compile(r"\\\{\w+\\\}")
_SLASH = "\ue002"  # stands for a slash, which no key can be told from otherwise


class CollectionHandler(ListMixin[M], CreateMixin[M]):
    """A collection: list and create."""


class DocumentHandler(RetrieveMixin[M], ReplaceMixin[M], PatchMixin[M], DestroyMixin[M]):
    """A document: retrieve, replace, patch and delete."""


def resource(
    path: str,
    model: type[Model],
    store: Store | StoreOf,
    *,
    collection: type[ResourceHandler] | None = None,
    document: type[ResourceHandler] | None = None,
    reduction: type[ReductionHandler] = ReductionHandler,
    bulk: type[ResourceHandler] | None = BulkHandler,
    versions: type[ResourceHandler] | None = None,
    conflicts: type[ResourceHandler] | None = None,
    many: Collection[str] = (),
    live: bool | None = None,
    actions: Mapping[str, Callable[..., Any] | type[ResourceHandler]] | None = None,
    name: str | None = None,
    **options: Any,
) -> list[URLSpec]:
    """The routes of a model: its collection at `path`, each document at `path/{key}`.

    Each reduced view that the model declares is at `path/{name}`, which is therefore no document's key.

        app = Application([*resource("/v1.0/fruits", Fruit, store)], policy=Authenticated(…))

    Args:
        path: of the collection; segments in braces stand for any text, as in "/customers/{tenant}/orders". One that is
            called like a reference of the model, as in "/customers/{customer_id}/orders", makes it a nested collection:
            the documents with that reference.
        model: what it holds.
        store: where it is kept; or, where each tenant has a database of its own, `Tenants`, or another function that
            returns the store for a `Caller`.
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
        many: what clients can do to every document that a filter selects: "patch", with PATCH of the collection, and
            "destroy", with DELETE. Each document is changed by a handler of the class of a document.
        live: whether clients can follow the changes of the collection, at `path/_changes`. By default they can where
            `collection` is not given, and the policy says which documents each caller sees, as the package's own do.
        actions: the service's own actions by their names: a function, for `POST path/{key}/NAME` or, where the name
            begins with an underscore, `POST path/NAME`; see `action`. Methods of `collection` and `document` that are
            decorated with `@action` are added. A handler class in the place of a function answers the HTTP methods
            that it has, once the policy has let the caller through.
        name: what the routes are called for Tornado's `reverse_url`: `name` the collection, `name/{key}` a document,
            `name/{key}/versions`, and so on, as the paths are below `path`. Without it, `path` takes its place.
        **options: the further attributes of `Resource`, such as `require_if_match=True`.

    Returns:
        URL specifications; their order matters.

    Raises:
        ModelDefinitionError: the model has no type.
        ValueError: the options contradict each other or the model, or an action has a name that is taken.
    """
    classes = {"collection": collection or CollectionHandler, "document": document or DocumentHandler}
    own = {**_declared(path, classes), **(actions or {})}
    options |= {"collection": collection, "document": document, "actions": own}
    kept = cast("Store", store)  # the handler of a request puts the store in the place of the function
    mounted = {"resource": Resource(path, model, kept, **options)}
    parents = [each.member for each in mounted["resource"].parents]
    # Of a nested collection, those reduced views that are grouped by the document that it is under.
    names = [name for name, each in mounted["resource"].info.reductions.items() if parents in ([], list(each.by[:1]))]
    if document is None:
        conflicts = conflicts or (ConflictsHandler if collection is None else None)
        versions = versions or VersionsHandler
    first_class = changing_many(classes["collection"], many, mounted["resource"])
    first_class, files = _with_files(first_class, mounted, classes)
    if mounted["resource"].info.history:
        conflicts = None  # a version is never rewritten, so there is nothing to decide
    else:
        versions = None
    found: list[tuple[str, type[ResourceHandler] | None, dict[str, Any]]] = [
        ("", first_class, mounted),
        *_bulk_routes(bulk, mounted, classes),
        *_live_routes(live, mounted, collection),
        *((f"/{each}", reduction, {**mounted, "name": each}) for each in names),
        *((rest, handler, mounted) for rest, handler in _action_routes(own, model, classes)),
        *files,
        ("/{key}/versions", versions, mounted),
        ("/{key}", classes["document"], mounted),
        ("/{key}/conflicts", conflicts, mounted),
    ]
    first = path if name is None else name
    return [_route(path + rest, handler, kwargs, first + rest) for rest, handler, kwargs in found if handler]


def _with_files(
    collection: type[ResourceHandler], mounted: dict[str, Resource[Any]], classes: dict[str, type[ResourceHandler]]
) -> tuple[type[ResourceHandler], list[Any]]:
    """The class of a collection whose documents can have files, and the routes of these files."""
    if not mounted["resource"].info.attachments:
        return collection, []
    from .attachments import creating_with_files, file_routes  # with libraries that no other resource needs

    found = list(file_routes(mounted, classes["document"]))
    return creating_with_files(collection, mounted["resource"]), found


def _declared(path: str, classes: dict[str, type[ResourceHandler]]) -> dict[str, Callable[..., Any]]:
    """The methods of the handler classes that are actions.

    Raises:
        ValueError: an action is in the class for the others.
    """
    found: dict[str, Callable[..., Any]] = {}
    for role, cls in classes.items():
        for name, function in declared_actions(cls).items():
            if name.startswith("_") != (role == "collection"):
                raise ValueError(
                    f"{path}: the action {name!r} of {cls.__name__} is in the class of the {role}; the name of an"
                    " action of the collection begins with an underscore, that of an action on a document does not"
                )
            found[name] = function
    return found


def _action_routes(
    own: Mapping[str, Any], model: type[Model], classes: dict[str, type[ResourceHandler]]
) -> Iterator[tuple[str, type[ResourceHandler]]]:
    """The routes of the service's own actions."""
    for name, each in own.items():
        of_collection = name.startswith("_")
        rest = f"/{name}" if of_collection else f"/{{key}}/{name}"
        if isinstance(each, type) and issubclass(each, ResourceHandler):
            yield rest, type(each.__name__, (each,), {"__doc__": each.__doc__, "QUESTION": name})
            continue
        base = classes["collection" if of_collection else "document"]
        method = declared_actions(base).get(name) is each
        yield rest, acting(base, OwnAction.of(name, each, model, method=method))


def _live_routes(
    live: bool | None, mounted: dict[str, Resource[Any]], collection: type[ResourceHandler] | None
) -> list[tuple[str, type[ResourceHandler] | None, dict[str, Any]]]:
    """The routes of the changes.

    Raises:
        ValueError: they were asked for, and cannot be told.
    """
    fault = _unfollowable(mounted["resource"], collection)
    if live and fault:
        raise ValueError(f"{mounted['resource'].path}: its changes cannot be followed: {fault}")
    if live is False or fault or (live is None and collection is not None):
        return []
    classes: list[type[ResourceHandler]] = [ChangesHandler, TicketHandler]
    if collection is not None:  # what it shows, and whom it lets do so
        classes = [type(each.__name__, (each, collection), {}, actions=each._actions.values()) for each in classes]
    return [("/_changes", classes[0], mounted), ("/_changes/tickets", classes[1], mounted)]


_LISTING = ("list", "perform_list", "get_query")


def _unfollowable(mounted: Resource[Any], collection: type[ResourceHandler] | None) -> str:
    """Why nobody could say who sees which change; empty if that is clear."""
    policy, scopes = mounted.policy, mounted.info.scopes
    if policy is not None and policy.judges:
        return "its policy judges single documents; limit lists by `restriction` instead"
    if policy is not None and not policy.limits(mounted.model) <= scopes:
        return f"declare `Scope()` for {', '.join(sorted(policy.limits(mounted.model) - scopes))}"
    if missing := {each.member for each in mounted.parents} - scopes:
        return f"declare `Scope()` for {', '.join(sorted(missing))}, which its address fixes"
    if collection is not None:
        own = [name for name in _LISTING if getattr(collection, name, None) is not getattr(ListMixin, name)]
        return f"{collection.__name__} has its own {', '.join(own)}" if own else ""
    return ""


def _bulk_routes(
    bulk: type[ResourceHandler] | None, mounted: dict[str, Resource[Any]], classes: dict[str, type[ResourceHandler]]
) -> list[tuple[str, type[ResourceHandler] | None, dict[str, Any]]]:
    """The route of bulk requests, where there is an operation that they could have."""
    if bulk is None or not issubclass(bulk, BulkHandler):
        return [("/_bulk", bulk, mounted)]
    return [("/_bulk", bulk, {**mounted, **classes})] if bulk.operations(**classes) else []
