"""The API document of an application: OpenAPI 3.1, from its routes and models."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import tornado.web

from ..handlers import ResourceHandler
from ..hooks import Hooks
from ..problems import ProblemHandler
from .actions import ACTIONS, describe_common
from .components import Components
from .links import link_operations
from .naming import name_operations, tag_of
from .operation import ApiOperation
from .parameters import key_schema
from .paths import Route, routes
from .security import describe_access

__all__ = ["ApiInfo", "openapi_document"]

_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")


@dataclass(frozen=True)
class ApiInfo:
    """What a document says of the service as a whole.

    Attributes:
        title: the service's name.
        version: of the API, not of OpenAPI.
        description: in Markdown (CommonMark).
        servers: URLs that the paths are below; without any, that which the document is read from.
        more: further members of the Info Object, such as `{"contact": …, "license": …}`.
    """

    title: str = "API"
    version: str = "1.0"
    description: str = ""
    servers: Sequence[str] = ()
    more: Mapping[str, Any] = field(default_factory=dict)

    def replaced(self, **changes: Any) -> ApiInfo:
        """A copy with other values."""
        return replace(self, **changes)


def openapi_document(application: tornado.web.Application, info: ApiInfo | None = None) -> dict[str, Any]:
    """The document.

    Of each mounted resource there are the actions that its handlers have and that its policy lets anybody
    use. Other handlers are part of it where they say themselves what they do: see `ResourceHandler.describe`.
    Each GET can be a HEAD, and OPTIONS is answered everywhere; neither is described.

    Args:
        application: what is mounted, with its settings.
        info: of the service.

    Returns:
        A JSON value, the same each time.
    """
    info = info or ApiInfo()
    components = Components()
    operations = list(_operations(application, components))
    name_operations(operations)
    link_operations(operations)
    paths: dict[str, Any] = {}
    for each in operations:
        paths.setdefault(each.path, {})[each.method.lower()] = each.as_dict()
    found: dict[str, Any] = {"openapi": "3.1.0", "info": _info(info), "paths": paths}
    if info.servers:
        found["servers"] = [{"url": url} for url in info.servers]
    return {**found, "components": components.as_dict(), "tags": _tags(operations)}


def _info(info: ApiInfo) -> dict[str, Any]:
    found = {"title": info.title, "version": info.version, **info.more}
    return {**found, "description": info.description} if info.description else found


def _operations(application: tornado.web.Application, components: Components) -> Iterator[ApiOperation]:
    seen: set[str] = set()
    for route in routes(application):
        if route.path in seen:  # the first of two routes answers
            continue
        seen.add(route.path)
        for method in _METHODS:
            operation = _operation(application, components, route, method)
            if operation is not None:
                yield operation


def _operation(
    application: tornado.web.Application, components: Components, route: Route, method: str
) -> ApiOperation | None:
    handler = route.handler
    if getattr(handler, method.lower(), None) in (None, tornado.web.RequestHandler._unimplemented_method):
        return None
    if not issubclass(handler, ProblemHandler) or not (issubclass(handler, ResourceHandler) or _describes(handler)):
        return None
    resource = route.target.get("resource")
    action = handler._actions.get(method, method.lower()) if issubclass(handler, ResourceHandler) else method.lower()
    operation = ApiOperation(
        method,
        route.path,
        action,
        components=components,
        resource=resource,
        settings=application.settings,
        target=route.target,
    )
    policy = getattr(resource, "policy", None) or route.target.get("policy") or application.settings.get("policy")
    if policy is not None and not policy.offers(action):
        return None
    operation.tag = tag_of(route)
    for name in route.names:
        operation.parameter("path", name, _path_schema(operation, name), "What names the document.")
    if issubclass(handler, ResourceHandler):
        describe_common(operation)
        _describe_settings(operation)
    if action in ACTIONS and resource is not None:
        ACTIONS[action](operation)
    handler.describe(operation)
    if not any(status < 300 for status in operation.answers):
        operation.answers_with(200, "See the service's own documentation.")
    describe_access(operation, policy)
    return operation


def _describes(handler: type[ProblemHandler]) -> bool:
    """Whether a handler says itself what it does."""
    return handler.describe.__func__ is not ProblemHandler.describe.__func__  # type: ignore[attr-defined]


def _path_schema(operation: ApiOperation, name: str) -> dict[str, Any]:
    if name == "key" and operation.resource is not None:
        return key_schema(operation.components, operation.resource.model)
    return {"type": "string", "minLength": 1}


def _describe_settings(operation: ApiOperation) -> None:
    """Describe what a resource's options add to each answer."""
    resource = operation.resource
    if resource.rate_limit is not None or operation.settings.get("rate_limit") is not None:
        operation.problem("quota-exceeded")
        operation.answers[429].fields["Retry-After"] = True
        operation.limited = True
    # A hook of the service's own answers with whatever problem it raises.
    operation.open_ended = type(resource.hooks) is not Hooks


def _tags(operations: Iterable[ApiOperation]) -> list[dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for each in operations:
        tag = found.setdefault(each.tag or "", {"name": each.tag})
        words = (each.resource.model.__doc__ or "").strip() if each.resource is not None else ""
        if words and "description" not in tag:
            tag["description"] = words
    return list(found.values())
