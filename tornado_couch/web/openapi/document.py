"""The API document of an application: OpenAPI 3.1, from its routes and models."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import tornado.web

from ..admission import AdmissionMixin
from ..handlers import ResourceHandler
from ..hooks import Hooks
from ..pages import PageHandler
from ..policies import Policy
from ..problems import ProblemHandler
from .actions import ACTIONS, describe_common
from .asking import describe_head, describe_options, describe_other_methods
from .components import Components
from .links import link_operations
from .naming import name_operations, tag_of
from .operation import ApiOperation
from .parameters import key_schema
from .paths import Route, routes
from .security import describe_access

__all__ = ["ApiInfo", "openapi_document"]

_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
_NO_METHOD = tornado.web.RequestHandler._unimplemented_method


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

    Args:
        application: what is mounted, with its settings.
        info: of the service.

    Returns:
        A JSON value, the same each time.
    """
    info = info or ApiInfo()
    components = Components()
    operations = list(_Describer(application, components).operations())
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


class _Describer:
    """Describes what is mounted in an application."""

    def __init__(self, application: tornado.web.Application, components: Components) -> None:
        self._application = application
        self._settings = application.settings
        self._components = components

    def operations(self) -> Iterator[ApiOperation]:
        """Every operation, in the order of the routes."""
        seen: set[str] = set()
        for route in routes(self._application):
            if route.path in seen or not _describes(route.handler):  # of two routes the first answers
                continue
            seen.add(route.path)
            found = [each for method in _METHODS for each in self._operation(route, method)]
            yield from found
            if found and _has(route.handler, "OPTIONS"):
                yield self._options(route, [each.method for each in found])

    def _started(self, route: Route, method: str) -> ApiOperation:
        operation = ApiOperation(
            method,
            route.path,
            _action(route.handler, method),
            components=self._components,
            resource=route.target.get("resource"),
            settings=self._settings,
            target=route.target,
        )
        operation.tag = tag_of(route)
        for name in route.names:
            operation.parameter("path", name, _path_schema(operation, name), "What names the document.")
        return operation

    def _options(self, route: Route, methods: list[str]) -> ApiOperation:
        """What OPTIONS does, which nobody is asked for credentials for."""
        operation = self._started(route, "OPTIONS")
        describe_options(operation, methods, getattr(route.handler, "BODY_TYPES", {}))
        describe_other_methods(operation)
        _deprecate(operation)
        return operation

    def _operation(self, route: Route, method: str) -> Iterator[ApiOperation]:
        """What a method does, if there is one and the policy lets anybody use it."""
        if not _has(route.handler, method):
            return
        # A handler describes HEAD as GET, and so need not know of it.
        handler, operation = route.handler, self._started(route, "GET" if method == "HEAD" else method)
        resource = operation.resource
        policy = getattr(resource, "policy", None) or route.target.get("policy") or self._settings.get("policy")
        judged = "retrieve" if issubclass(handler, PageHandler) else operation.action
        if policy is not None and not policy.offers(judged):
            return
        self._describe(operation, handler)
        if issubclass(handler, AdmissionMixin):
            self._describe_limits(operation)
            describe_access(operation, policy or Policy(), judged)
        if method == "HEAD":
            describe_head(operation)
        yield operation

    def _describe(self, operation: ApiOperation, handler: Any) -> None:
        resource = operation.resource
        if resource is not None:
            describe_common(operation)
            # A hook of the service's own answers with whatever problem it raises.
            operation.open_ended = type(resource.hooks) is not Hooks
            if operation.action in ACTIONS:
                ACTIONS[operation.action](operation)
        handler.describe(operation)
        if not any(status < 300 for status in operation.answers):
            operation.answers_with(200, "See the service's own documentation.")
        if issubclass(handler, PageHandler):  # whatever it shows, and whoever says so
            operation.answers[200].fields.setdefault("ETag")
        _deprecate(operation)

    def _describe_limits(self, operation: ApiOperation) -> None:
        own = getattr(operation.resource, "rate_limit", None)
        if own is not None or self._settings.get("rate_limit") is not None:
            operation.problem("quota-exceeded")
            operation.answers[429].fields["Retry-After"] = True
            operation.limited = True


def _has(handler: type[Any], method: str) -> bool:
    # Tornado's own class has all methods, each of which answers 405.
    return getattr(handler, method.lower(), _NO_METHOD) is not _NO_METHOD


def _deprecate(operation: ApiOperation) -> None:
    """Say that an operation should no longer be used, where its resource should not."""
    deprecation = getattr(operation.resource, "deprecation", None)
    if deprecation is not None:
        operation.deprecated = True
        for answer in operation.answers.values():
            answer.fields |= dict.fromkeys(deprecation.headers)


def _action(handler: type[Any], method: str) -> str:
    actions: dict[str, str] = handler._actions if issubclass(handler, ResourceHandler) else {}
    return actions.get(method, method.lower())


def _describes(handler: type[tornado.web.RequestHandler]) -> bool:
    """Whether it is known what a handler does: it is a resource's, or says so itself."""
    if not issubclass(handler, ProblemHandler):
        return False
    silent = (ProblemHandler.describe.__func__, PageHandler.describe.__func__)  # type: ignore[attr-defined]
    own = handler.describe.__func__  # type: ignore[attr-defined]
    return issubclass(handler, ResourceHandler) or own not in silent


def _path_schema(operation: ApiOperation, name: str) -> dict[str, Any]:
    # What can be done is the same for every key, and so is told for those that no document has.
    if name == "key" and operation.resource is not None and operation.method != "OPTIONS":
        return key_schema(operation.components, operation.resource.model)
    return {"type": "string", "minLength": 1}


def _tags(operations: Iterable[ApiOperation]) -> list[dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for each in operations:
        tag = found.setdefault(each.tag or "", {"name": each.tag})
        words = (each.resource.model.__doc__ or "").strip() if each.resource is not None else ""
        if words and "description" not in tag:
            tag["description"] = words
    return list(found.values())
