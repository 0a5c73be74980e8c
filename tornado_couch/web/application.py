"""`Application`: a Tornado application with settings that all its resources share, and with observers."""

from __future__ import annotations

import contextvars
import logging
import re
import string
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from typing import Any, TypeVar
from urllib.parse import quote

import tornado.web
from tornado.httputil import (
    HTTPConnection,
    HTTPHeaders,
    HTTPMessageDelegate,
    HTTPServerRequest,
    RequestStartLine,
    ResponseStartLine,
)
from tornado.log import access_log
from tornado.routing import PathMatches, Rule, RuleRouter, URLSpec
from tornado.web import RequestHandler

from ..couch import Observer, Observers
from ..store import Consumer, Room
from .access import Policy
from .bodiless import AtOnce, Ignored, LimitedBody, NotFoundHandler, RefusingHandler
from .http import ServerTiming, TimingObserver, content_length, too_large
from .problems import Problem
from .proxies import checked_base, checked_networks
from .relations import check_relations
from .resources import Resource, mounted_resources, rules
from .unread import Unread

__all__ = ["Application", "RequestWatch", "route_pattern"]


_OVERRIDES = ("PUT", "PATCH", "DELETE", "POST")  # methods that a POST can stand for

MAX_BODY = 1024 * 1024
"""Bytes of a body that a handler of the service's own takes, where neither its class nor a setting says otherwise."""


class Application(tornado.web.Application):
    """A Tornado application whose errors are problem details and whose resources all have a policy.

        Application([*resource("/v1.0/fruits", Fruit, store)], policy=Authenticated(…))

    It takes what `tornado.web.Application` takes, and in addition: the settings `policy`, `rate_limit` and
    `cors`, which apply to each resource that does not have its own; `observers`, a list of `Observer`s that
    follow every request and every exchange between a resource and CouchDB; and `server_timing=True`, for clients
    that ask with `Prefer: server-timing` where the time of an answer went. Tornado's own class works too: pass it
    `default_handler_class=NotFoundHandler`; a resource without a policy then fails at its first request.

    A handler of the service's own gets a body of at most `MAX_BODY` bytes, an attribute of its class. For classes
    without it the setting `max_body` counts, which is 1 MiB by default. A class with `stream_request_body` limits
    its bodies itself.

    An answer that its client does not read is given up, and the connection closed, after the `unread_seconds`, 30
    by default, and a further second for each 32 KiB. Where such answers have more than `max_unread` bytes together,
    128 MiB by default, the oldest of them is given up at once.

    The documents of all requests that are in progress have at most `max_prepared` bytes together, 64 MiB by default;
    single documents of less than 64 KiB are not counted. A request waits until there is room for it; after
    `prepare_seconds`, 10 by default, it is answered with 503 and `Retry-After`.

    The setting `consumers` lists `Consumer`s, and other work with a `start()` and an async `stop()` such as a
    `Reconciler`, that `serve` starts with each process and stops at its end. The readiness check reports those that
    are too far behind.

    A caller may have `max_streams` streams of changes open in each process; by default, any number. Callers without a
    name are counted by their addresses.

    Behind a proxy that strips a part of the path, `base_url` says which: all addresses in answers then begin with it.
    Of the proxies whose networks `trusted_proxies` lists, `X-Forwarded-Prefix` says the same and goes first.

    With `trailing_slash=True` an address may end with a slash that it does not need. With `method_override=True` a POST
    whose `X-HTTP-Method-Override` names PUT, PATCH or DELETE counts as that, for clients whose proxies let nothing but
    GET and POST through. With Tornado's `xsrf_cookies=True` a write needs the value of the cookie, unless it has
    credentials that no browser sends by itself: a bearer token, or a header field with an API key.

    Raises:
        ValueError: a resource has no policy and `debug` is off, or its policy does not fit its model; its store does
            not know where the documents are that it refers to; a setting is not of the form that it needs.
    """

    def __init__(self, handlers: list[Any] | None = None, *arguments: Any, **settings: Any) -> None:
        settings.setdefault("default_handler_class", NotFoundHandler)
        settings["base_url"] = checked_base(settings.get("base_url", ""))
        settings["trusted_proxies"] = checked_networks(settings.get("trusted_proxies", ()))
        observers = [*settings.get("observers", ()), *([TimingObserver()] if settings.get("server_timing") else ())]
        named: dict[int, tuple[Policy, set[str]]] = {}
        addresses: dict[str, str] = {}
        for rule in handlers or []:
            options = getattr(rule, "kwargs", None) or {}
            mounted = options.get("resource")
            if isinstance(mounted, Resource):
                _check_address(rule, addresses)
                policy = _check_policy(mounted, settings)
                if policy is not None:
                    names = [*mounted.actions, getattr(rule.handler_class, "QUESTION", "")]
                    named.setdefault(id(policy), (policy, set()))[1].update(names)
                for observer in observers:
                    _observe(mounted.store, observer)
            elif isinstance(rule, URLSpec) and hasattr(rule.handler_class, "admission"):
                _check_said(rule, options.get("policy") or settings.get("policy"), settings)
        for policy, own in named.values():
            policy.check_named(own)
        _check_consumers(settings.get("consumers", ()), observers)
        self._watch: RequestWatch | None = None
        self.unread = Unread(settings.get("unread_seconds", 30.0), settings.get("max_unread", 128 * 1024 * 1024))
        self.room = Room(settings.get("max_prepared", 64 * 1024 * 1024), settings.get("prepare_seconds", 10.0))
        super().__init__(handlers, *arguments, **settings)
        check_relations(mounted_resources(self.default_router))
        if settings.get("trailing_slash") or settings.get("method_override"):
            self.find_handler = self._find_leniently  # type: ignore[method-assign]  # others pay nothing for it
        if observers:
            self._watch = RequestWatch(Observers(*observers), self.default_router)
        if settings.get("server_timing"):
            self.add_transform(ServerTiming)

    def start_request(self, server_conn: object, request_conn: HTTPConnection) -> HTTPMessageDelegate:
        """Return the delegate that receives the next request of a connection; see `tornado.web.Application`."""
        stream = getattr(request_conn, "stream", None)
        if stream is not None and stream.closed():
            return Ignored()
        return super().start_request(server_conn, request_conn)

    def request_refused(self, method: str, status: int) -> None:
        """Notify the observers of a request that is not valid, which the server has answered itself."""
        if self._watch:
            self._watch.refused(method, status)

    def _find_leniently(self, request: HTTPServerRequest, **options: Any) -> Any:
        """Return what receives a request whose method or path may stand for others; see `find_handler`."""
        if self.settings.get("method_override") and request.method == "POST":
            method = request.headers.get("X-HTTP-Method-Override", "POST").upper()
            if method not in _OVERRIDES:
                detail = f"X-HTTP-Method-Override must be one of {', '.join(_OVERRIDES)}."
                return super().get_handler_delegate(request, RefusingHandler, {"problem": Problem(400, detail=detail)})
            request.method = method
        if self.settings.get("trailing_slash") and request.path.endswith("/") and len(request.path) > 1:
            found = self.default_router.find_handler(request)
            if found is not None:
                return found
            request.path = request.path[:-1]
        return super().find_handler(request, **options)

    def get_handler_delegate(  # type: ignore[override]  # Tornado only needs what this return type promises
        self, request: HTTPServerRequest, target_class: type[RequestHandler], *arguments: Any, **named: Any
    ) -> HTTPMessageDelegate:
        """Return the delegate that receives a request, wrapped for the observers; see `tornado.web.Application`."""
        inner = self._receiver(request, target_class, *arguments, **named)
        kwargs = named.get("target_kwargs", arguments[0] if arguments else None)
        return self._watch.delegate(inner, request, target_class, kwargs) if self._watch else inner

    def _receiver(
        self, request: HTTPServerRequest, target: type[RequestHandler], *arguments: Any, **named: Any
    ) -> HTTPMessageDelegate:
        """Return what receives a request: its handler, or one that refuses its body."""
        coded = "Transfer-Encoding" in request.headers
        if coded and request.version == "HTTP/1.0":
            # RFC 9112 §6.1: the framing is faulty, and where the body ends is not certain.
            problem = Problem(400, detail="HTTP/1.0 has no `Transfer-Encoding`.", headers={"Connection": "close"})
            return super().get_handler_delegate(request, RefusingHandler, {"problem": problem, "at_once": True})
        inner = super().get_handler_delegate(request, target, *arguments, **named)
        if getattr(target, "_stream_request_body", False):  # it takes the body itself, part by part
            return inner if coded or request.headers.get("Content-Length", "0") != "0" else AtOnce(inner)
        limit: int = getattr(target, "MAX_BODY", self.settings.get("max_body", MAX_BODY))
        fits = content_length(request.headers) <= limit
        if fits and not coded:
            return inner
        refusal = {"problem": too_large(limit), "limit": limit}
        refuse = partial(super().get_handler_delegate, request, RefusingHandler, refusal)
        return LimitedBody(inner, limit, refuse) if fits else refuse()

    def log_request(self, handler: RequestHandler) -> None:
        """Log an answered request, notify the observers, and see to it that the answer is read."""
        if self._watch:
            self._watch.answered(handler)
        stream = getattr(handler.request.connection, "stream", None)
        if stream is not None:
            self.unread.follow(stream, int(handler._headers.get("Content-Length", 0)))
        # Tornado formats the line even if nobody reads it.
        quiet = handler.get_status() < 400 and not access_log.isEnabledFor(logging.INFO)
        if not quiet or "log_function" in self.settings:
            uri = handler.request.uri or ""
            if not uri.isascii():
                # The bytes of an address as they came; some terminals obey those from 0x80 to 0x9f.
                handler.request.uri = quote(uri, safe=string.punctuation, encoding="latin-1")
            super().log_request(handler)


def _check_address(rule: Any, addresses: dict[str, str]) -> None:
    """Refuse a second thing with one name below a document, such as an action and a nested collection.

    Likewise a second route with one name for `reverse_url`, which would find the last one only.
    """
    pattern = rule.matcher.regex.pattern
    if pattern in addresses and "([^/]+)/" in pattern:
        raise ValueError(f"{route_pattern(rule)} is the address of two things; give one of them another name")
    addresses[pattern] = pattern
    if addresses.setdefault(rule.name or pattern, pattern) != pattern:
        raise ValueError(f"{route_pattern(rule)}: another route is called {rule.name!r} already; give another `name=`")


def _observe(store: Any, observer: Observer) -> None:
    """Add an observer of the server that a store is on; which one a plain function will name is not known."""
    server = getattr(store, "server", None) if callable(store) else store.database.server
    if server is not None:
        server.observe(observer)


def _check_consumers(consumers: Iterable[Any], observers: Iterable[Observer]) -> None:
    names = [each.name for each in consumers if isinstance(each, Consumer)]
    if len(names) != len(set(names)):
        raise ValueError("two consumers have one name; each needs its own, since its place is kept under it")
    for each in consumers:
        for observer in observers if isinstance(each, Consumer) else ():
            _observe(each.store, observer)


def _check_policy(mounted: Resource[Any], settings: dict[str, Any]) -> Policy | None:
    policy: Policy | None = mounted.policy or settings.get("policy")
    if policy is not None:
        policy.check(mounted.model)
    elif not settings.get("debug"):
        raise _unsaid(mounted.path, "resource()")
    return policy


def _check_said(rule: URLSpec, policy: Policy | None, settings: dict[str, Any]) -> None:
    if policy is None and not settings.get("debug"):
        raise _unsaid(rule.regex.pattern.rstrip("$").replace("\\", ""), "it")


def _unsaid(path: str, where: str) -> ValueError:
    return ValueError(
        f"{path} has no policy, so it is not clear who may use it. Pass policy=… to {where} or to"
        " the application: for example Authenticated(…), or AllowAny() if everybody may do everything."
    )


T = TypeVar("T")

_WATCHED = "tornado_couch_watched"  # the attribute of a request that holds its `_Watched`
_PIECE = re.compile(r"\\.|\((?:\?P<(\w+)>|\?:)?|\)|[^\\()]+", re.DOTALL)


class RequestWatch:
    """Follows each request from its header until it is answered.

    Args:
        observer: the observer to notify.
        routers: the routers that hold the routes.
    """

    def __init__(self, observer: Observer, *routers: RuleRouter) -> None:
        self._observer = observer
        self._routers = routers
        self._rules: dict[tuple[Any, int], list[Rule]] | None = None

    def delegate(
        self, inner: HTTPMessageDelegate, request: HTTPServerRequest, target: type[RequestHandler], kwargs: Any
    ) -> HTTPMessageDelegate:
        """Return a delegate that receives the request and passes it on to `inner`."""
        watched = _Watched(inner, request, self._route(request, target, kwargs), self._observer)
        setattr(request, _WATCHED, watched)
        return watched

    def refused(self, method: str, status: int) -> None:
        """Notify the observer of a request that the server has answered itself."""
        context = contextvars.copy_context()
        context.run(self._observer.request_began, "", method, HTTPHeaders())
        context.run(self._observer.request_ended, "", method, status, 0.0)

    def answered(self, handler: RequestHandler) -> None:
        """Notify the observer that a request has been answered."""
        watched: _Watched | None = getattr(handler.request, _WATCHED, None)
        if watched is not None:
            watched.end(handler.get_status())

    def _route(self, request: HTTPServerRequest, target: type[RequestHandler], kwargs: Any) -> str:
        if self._rules is None:
            self._rules = {}
            for rule in rules(*self._routers):
                self._rules.setdefault(_identity(rule.target, rule.target_kwargs), []).append(rule)
        candidates = self._rules.get(_identity(target, kwargs), [])
        if len(candidates) > 1:  # one class at several routes, with no arguments to tell them apart
            candidates = [rule for rule in candidates if rule.matcher.match(request) is not None]
        return route_pattern(candidates[0]) if candidates else ""


class _Watched(HTTPMessageDelegate):
    """Passes a request on to its handler in a context of its own."""

    def __init__(self, inner: HTTPMessageDelegate, request: HTTPServerRequest, route: str, observer: Observer) -> None:
        self._inner = inner
        self._request = request
        self._route = route
        self._observer = observer
        self._context = contextvars.copy_context()
        self._ended = False

    def _run(self, function: Callable[..., T], *arguments: Any) -> T:
        return self._context.run(function, *arguments)

    def headers_received(
        self, start_line: RequestStartLine | ResponseStartLine, headers: HTTPHeaders
    ) -> Awaitable[None] | None:
        method = self._request.method or ""
        self._run(self._observer.request_began, self._route, method, headers)
        return self._run(self._inner.headers_received, start_line, headers)

    def data_received(self, chunk: bytes) -> Awaitable[None] | None:
        return self._inner.data_received(chunk)

    def finish(self) -> None:
        # Tornado creates the handler's task here or above, and a task copies the context that it is created in.
        self._run(self._inner.finish)

    def on_connection_close(self) -> None:
        try:
            self._inner.on_connection_close()
        finally:
            # Our own server says so where it has answered for the handler, such as a body that is not valid HTTP.
            self.end(getattr(self._request.connection, "refused", None))

    def end(self, status: int | None) -> None:
        """Notify the observer, once, that the request is over."""
        if not self._ended:
            self._ended = True
            told = self._route, self._request.method or "", status, self._request.request_time()
            # A copy: the handler may have answered while the context itself is entered.
            self._context.copy().run(self._observer.request_ended, *told)


def _identity(target: Any, kwargs: Any) -> tuple[Any, int]:
    # Tornado passes the route's own dictionary on, unless it is empty.
    return target, id(kwargs) if kwargs else 0


def route_pattern(rule: Rule) -> str:
    """A route's pattern as people and labels write it, such as "/v1.0/fruits/{key}"; empty if it has no path."""
    if not isinstance(rule.matcher, PathMatches):
        return ""
    if template := getattr(rule.matcher, "template", None):
        return str(template)
    unnamed = "key" if isinstance((rule.target_kwargs or {}).get("resource"), Resource) else "argument"
    parts, depth = [], 0
    for piece in _PIECE.finditer(rule.matcher.regex.pattern.removesuffix("$")):
        text = piece[0]
        if text.startswith("("):
            if depth == 0:
                parts.append(f"{{{piece[1] or unnamed}}}")
            depth += 1
        elif text == ")":
            depth -= 1
        elif depth == 0:
            # An escaped letter is a class of characters, such as `\d`.
            parts.append(text[1:] if text.startswith("\\") and not text[1:].isalnum() else text)
    return "".join(parts)
