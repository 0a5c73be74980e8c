"""Makes the API document of an application: OpenAPI 3.1, from its routes and models."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import tornado.web
from tornado.routing import PathMatches, Rule, RuleRouter
from tornado.web import Application, RequestHandler

from ..access import Policy
from ..action_table import Action
from ..handler import ResourceHandler
from ..page import PageHandler
from ..problems import ProblemHandler
from ..resources import Hooks, mounted_resources
from .components import Components
from .descriptions import describe_common
from .methods import describe_head, describe_options, describe_other_methods, link_operations
from .operation import ApiOperation
from .parameters import key_schema
from .schemas import property_schema
from .security import describe_access

__all__ = ["ApiInfo", "Route", "name_operations", "openapi_document", "routes", "tag_of"]

_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
_NO_METHOD = tornado.web.RequestHandler._unimplemented_method


@dataclass(frozen=True)
class ApiInfo:
    """General information about a service, for its API document.

    Attributes:
        title: the service's name.
        version: the version of the API, not of OpenAPI.
        description: in Markdown (CommonMark).
        servers: URLs that the paths are relative to; if empty, the server from which the document is read.
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
    """Make the API document of an application.

    For each mounted resource it describes the actions that its handlers have and that its policy allows to anybody.
    Other handlers are included if they describe themselves: see `ResourceHandler.describe`.

    Args:
        application: the application, with its routes and settings.
        info: general information about the service.

    Returns:
        A JSON value, which is the same each time.
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
        self._mounted = mounted_resources(application.default_router)

    def operations(self) -> Iterator[ApiOperation]:
        """All operations, in the order of the routes."""
        for route in self.routes():
            yield from self.of(route)

    def routes(self) -> Iterator[Route]:
        """The routes whose operations are described."""
        seen: set[str] = set()
        for route in routes(self._application):
            if route.path not in seen and _describes(route.handler):  # the first of two such routes answers
                seen.add(route.path)
                yield route

    def of(self, route: Route) -> Iterator[ApiOperation]:
        """The operations of one route."""
        found = [each for method in _METHODS for each in self._operation(route, method)]
        yield from found
        if found and _has(route.handler, "OPTIONS"):
            yield self._options(route, [each.method for each in found if each.row and each.row.takes])

    def _started(self, route: Route, method: str) -> ApiOperation:
        operation = ApiOperation(
            method,
            route.path,
            _action(route.handler, method),
            row=_row(route.handler, method),
            components=self._components,
            resource=route.target.get("resource"),
            settings=self._settings,
            target=route.target,
            mounted=self._mounted,
        )
        operation.tag = tag_of(route)
        for name in route.names:
            words = "The document's key." if name == "key" else "A part of the path."
            operation.parameter("path", name, _path_schema(operation, name), words)
        return operation

    def _options(self, route: Route, methods: list[str]) -> ApiOperation:
        """Describe OPTIONS, which needs no credentials."""
        operation = self._started(route, "OPTIONS")
        describe_options(operation, methods)
        describe_other_methods(operation)
        _deprecate(operation)
        return operation

    def _operation(self, route: Route, method: str) -> Iterator[ApiOperation]:
        """Describe a method, if it exists and the policy allows it to anybody."""
        if not _has(route.handler, method):
            return
        # A handler describes HEAD as GET, so it does not have to deal with it.
        handler, operation = route.handler, self._started(route, "GET" if method == "HEAD" else method)
        resource = operation.resource
        policy = getattr(resource, "policy", None) or route.target.get("policy") or self._settings.get("policy")
        judged = "retrieve" if issubclass(handler, PageHandler) else operation.action
        if policy is not None and not policy.offers(judged):
            return
        self._describe(operation, handler)
        if issubclass(handler, ResourceHandler | PageHandler):
            self._describe_limits(operation)
            describe_access(operation, policy or Policy(), judged)
        if method == "HEAD":
            describe_head(operation)
        yield operation

    def _describe(self, operation: ApiOperation, handler: Any) -> None:
        resource = operation.resource
        if resource is not None:
            describe_common(operation)
            if operation.path == f"{resource.path}/{{key}}" and not (resource.info.key and resource.info.key.generated):
                operation.fails(405, fields=["Allow"])  # the key can be a name below the collection, such as `_bulk`
            # A hook of the service, or a method of its own, can answer with any problem that it raises.
            operation.open_ended = type(resource.hooks) is not Hooks or operation.row is None
        handler.describe(operation)
        if not any(status < 300 for status in operation.answers):
            operation.answers_with(200, "See the service's own documentation.")
        if issubclass(handler, PageHandler):  # also if it describes itself
            operation.answers[200].fields.setdefault("ETag")
        _deprecate(operation)

    def _describe_limits(self, operation: ApiOperation) -> None:
        own = getattr(operation.resource, "rate_limit", None)
        tenants = callable(getattr(operation.resource, "store", operation.target.get("database")))
        if tenants and operation.method != "OPTIONS":
            operation.problem("authentication-required", "no-such-tenant", "tenants-busy", "tenants-full")
        if tenants or own is not None or self._settings.get("rate_limit") is not None:
            operation.problem("quota-exceeded")
            operation.answers[429].fields["Retry-After"] = True
            operation.limited = True


def _has(handler: type[Any], method: str) -> bool:
    # Tornado's base class has all methods, each of which answers 405.
    return getattr(handler, method.lower(), _NO_METHOD) is not _NO_METHOD


def _deprecate(operation: ApiOperation) -> None:
    """Mark an operation as deprecated if its resource is."""
    deprecation = getattr(operation.resource, "deprecation", None)
    if deprecation is not None:
        operation.deprecated = True
        for answer in operation.answers.values():
            answer.fields |= dict.fromkeys(deprecation.headers)


def _action(handler: type[Any], method: str) -> str:
    row = _row(handler, method)
    own = handler.QUESTION if issubclass(handler, ResourceHandler) else ""
    return row.name if row else own or method.lower()


def _row(handler: type[Any], method: str) -> Action | None:
    return handler._actions.get(method) if issubclass(handler, ResourceHandler) else None


def _describes(handler: type[tornado.web.RequestHandler]) -> bool:
    """Whether it is known what a handler does: it is a resource's, or says so itself."""
    if issubclass(handler, ResourceHandler):
        return True
    silent = (ProblemHandler.describe.__func__, PageHandler.describe.__func__)  # type: ignore[attr-defined]
    own = getattr(getattr(handler, "describe", None), "__func__", None)
    return issubclass(handler, ProblemHandler) and own not in silent


def _path_schema(operation: ApiOperation, name: str) -> dict[str, Any]:
    # OPTIONS answers the same for every key, also for keys that no document has.
    if operation.resource is None or operation.method == "OPTIONS":
        return {"type": "string", "minLength": 1}
    if name == "key":
        return key_schema(operation.components, operation.resource)
    if name in (each.member for each in operation.resource.parents):
        return {"minLength": 1, **property_schema(operation.components, operation.resource.model, name)}
    return {"type": "string", "minLength": 1}


def _tags(operations: Iterable[ApiOperation]) -> list[dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for each in operations:
        tag = found.setdefault(each.tag or "", {"name": each.tag})
        words = (each.resource.model.__doc__ or "").strip() if each.resource is not None else ""
        if words and "description" not in tag:
            tag["description"] = words
    return list(found.values())


class Route(NamedTuple):
    """A mounted handler.

    Attributes:
        path: its template, such as "/v1.0/fruits/{key}".
        names: the names of the template's parameters.
        handler: the class.
        target: the arguments that the route passes to `initialize`.
    """

    path: str
    names: tuple[str, ...]
    handler: type[RequestHandler]
    target: dict[str, Any]


def routes(application: Application) -> Iterator[Route]:
    """The routes, in the order in which Tornado tries them; routes whose path is unknown are left out."""
    yield from _of(application.default_router)


def _of(router: RuleRouter) -> Iterator[Route]:
    for rule in router.rules:
        if isinstance(rule.target, RuleRouter):
            yield from _of(rule.target)
        elif isinstance(rule.target, type) and issubclass(rule.target, RequestHandler):
            target = dict(rule.target_kwargs or {})
            parents = tuple(each.member for each in getattr(target.get("resource"), "parents", ()))
            found = _template(rule, (*parents, *getattr(rule.target, "URL_NAMES", ("key",))))
            if found is not None:
                yield Route(*found, rule.target, target)


def _template(rule: Rule, names: tuple[str, ...]) -> tuple[str, tuple[str, ...]] | None:
    """The path with names in the place of groups; None if the pattern is more than a path with groups."""
    if not isinstance(rule.matcher, PathMatches):
        return None
    if template := getattr(rule.matcher, "template", None):
        return template, tuple(re.findall(r"\{(\w+)\}", template))
    pattern = rule.matcher.regex
    by_number = {number: name for name, number in pattern.groupindex.items()}
    given = dict(enumerate(names, 1))
    found = tuple(
        by_number.get(number) or given.get(number) or f"part{number}" for number in range(1, pattern.groups + 1)
    )
    try:
        # Tornado quotes what it inserts, so a template's braces are inserted afterwards.
        path = rule.matcher.reverse(*(f"\ue000{number}\ue001" for number in range(len(found))))
    except (ValueError, AssertionError):
        return None
    if path is None:
        return None
    for number, name in enumerate(found):
        path = path.replace(_quoted(number), f"{{{name}}}")
    return path, found


def _quoted(number: int) -> str:
    return f"%EE%80%80{number}%EE%80%81"


_VERSION = re.compile(r"v\d+(\.\d+)*")

# English plurals; a word of another language stays as it is, or loses an "s".
_PLURALS = ((re.compile(r"ies$"), "y"), (re.compile(r"(ss|sh|ch|x|z)es$"), r"\1"), (re.compile(r"(?<=[^su])s$"), ""))


def tag_of(route: Route) -> str:
    """The name of a resource for people: the words of its path, without a version."""
    words = _words(getattr(route.target.get("resource"), "path", route.path))
    return "/".join(words).replace("_", " ").strip() or "/"


def name_operations(operations: Iterable[ApiOperation]) -> None:
    """Give each operation a unique id."""
    operations = list(operations)
    taken: set[str | None] = {each.id for each in operations if each.id}
    for each in operations:
        if each.id is None:
            each.id = _free(each, taken)
            taken.add(each.id)


def _free(operation: ApiOperation, taken: set[str | None]) -> str:
    asking = operation.method in ("HEAD", "OPTIONS")  # HEAD has the action of GET
    row = operation.row
    verb = operation.method.lower() if asking else (row and row.verb) or operation.action
    words = _words(operation.path)
    if row and row.own:  # its address ends with its name
        words = words[:-1]
    if words and (operation.path.endswith("}") if asking else row and row.of_one):
        words[-1] = _singular(words[-1])
    # A version is left out of the name unless another version needs the same name.
    short, whole = _identifier("_".join([verb, *words])), _identifier(f"{verb}_{operation.path}")
    candidates = [short, whole, *(f"{whole}_{number}" for number in range(2, len(taken) + 3))]
    return next(each for each in candidates if each not in taken)


def _words(path: str) -> list[str]:
    return [each for each in path.split("/") if each and not each.startswith("{") and not _VERSION.fullmatch(each)]


def _singular(word: str) -> str:
    for plural, ending in _PLURALS:
        if plural.search(word):
            return plural.sub(ending, word)
    return word


def _identifier(text: str) -> str:
    return re.sub(r"\W+", "_", text.replace("/_", "/"), flags=re.ASCII).strip("_").replace("__", "_")
