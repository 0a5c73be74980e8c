"""`Application`: Tornado's, with what a service of resources needs said once."""

from __future__ import annotations

import logging
from typing import Any

import tornado.web
from tornado.httputil import HTTPMessageDelegate, HTTPServerRequest
from tornado.log import access_log
from tornado.routing import URLSpec
from tornado.web import RequestHandler

from ..couch import Observers
from .admission import AdmissionMixin
from .observing import RequestWatch
from .policies import Policy
from .problems import NotFoundHandler
from .resources import Resource
from .server_timing import ServerTiming, TimingObserver

__all__ = ["Application"]


class Application(tornado.web.Application):
    """A Tornado application whose router answers with problems, and whose resources all have a policy.

        Application([*resource("/v1.0/fruits", Fruit, store)], policy=Authenticated(…))

    It takes what `tornado.web.Application` takes, and the settings `policy`, `rate_limit` and `cors`,
    which hold for each resource that does not say its own; `observers`, a list of `Observer`s that are told of
    every request, and of what goes on between each resource and CouchDB; and `server_timing=True`, for clients
    that ask where the time of an answer went with `Prefer: server-timing`. Tornado's own class works too: give it
    `default_handler_class=NotFoundHandler`; a resource without a policy then fails at its first request.

    Raises:
        ValueError: a resource has no policy, and `debug` is off; or its policy does not fit its model.
    """

    def __init__(self, handlers: list[Any] | None = None, *arguments: Any, **settings: Any) -> None:
        settings.setdefault("default_handler_class", NotFoundHandler)
        observers = [*settings.get("observers", ()), *([TimingObserver()] if settings.get("server_timing") else ())]
        for rule in handlers or []:
            options = getattr(rule, "kwargs", None) or {}
            mounted = options.get("resource")
            if isinstance(mounted, Resource):
                _check_policy(mounted, settings)
                for observer in observers:
                    mounted.store.database.server.observe(observer)
            elif isinstance(rule, URLSpec) and issubclass(rule.handler_class, AdmissionMixin):
                _check_said(rule, options.get("policy") or settings.get("policy"), settings)
        self._watch: RequestWatch | None = None
        super().__init__(handlers, *arguments, **settings)
        if observers:
            self._watch = RequestWatch(Observers(*observers), self.default_router)
        if settings.get("server_timing"):
            self.add_transform(ServerTiming)

    def get_handler_delegate(  # type: ignore[override]  # Tornado needs no more than what this promises
        self, request: HTTPServerRequest, target_class: type[RequestHandler], *arguments: Any, **named: Any
    ) -> HTTPMessageDelegate:
        """What receives a request, on its way past those who observe it; see `tornado.web.Application`."""
        inner = super().get_handler_delegate(request, target_class, *arguments, **named)
        kwargs = named.get("target_kwargs", arguments[0] if arguments else None)
        return self._watch.delegate(inner, request, target_class, kwargs) if self._watch else inner

    def log_request(self, handler: RequestHandler) -> None:
        """Write an answered request to the log, and tell those who observe it."""
        if self._watch:
            self._watch.answered(handler)
        # Tornado puts the line together whether or not anybody reads it.
        quiet = handler.get_status() < 400 and not access_log.isEnabledFor(logging.INFO)
        if not quiet or "log_function" in self.settings:
            super().log_request(handler)


def _check_policy(mounted: Resource[Any], settings: dict[str, Any]) -> None:
    policy = mounted.policy or settings.get("policy")
    if policy is not None:
        policy.check(mounted.model)
    elif not settings.get("debug"):
        raise _unsaid(mounted.path, "resource()")


def _check_said(rule: URLSpec, policy: Policy | None, settings: dict[str, Any]) -> None:
    if policy is None and not settings.get("debug"):
        raise _unsaid(rule.regex.pattern.rstrip("$").replace("\\", ""), "it")


def _unsaid(path: str, where: str) -> ValueError:
    return ValueError(
        f"{path} has no policy, so nobody has said who may use it. Say policy=… to {where} or to"
        " the application: Authenticated(…), for one, or AllowAny() if everybody may do everything."
    )
