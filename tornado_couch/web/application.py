"""`Application`: Tornado's, with what a service of resources needs said once."""

from __future__ import annotations

from typing import Any

import tornado.web

from .problems import NotFoundHandler
from .resources import Resource

__all__ = ["Application"]


class Application(tornado.web.Application):
    """A Tornado application whose router answers with problems, and whose resources all have a policy.

        Application([*resource("/v1.0/fruits", Fruit, store)], policy=Authenticated(…))

    It takes what `tornado.web.Application` takes, and the settings `policy`, `rate_limit` and `cors`,
    which hold for each resource that does not say its own. Tornado's own class works too: give it
    `default_handler_class=NotFoundHandler`; a resource without a policy then fails at its first request.

    Raises:
        ValueError: a resource has no policy, and `debug` is off; or its policy does not fit its model.
    """

    def __init__(self, handlers: list[Any] | None = None, *arguments: Any, **settings: Any) -> None:
        settings.setdefault("default_handler_class", NotFoundHandler)
        for rule in handlers or []:
            mounted = (getattr(rule, "kwargs", None) or {}).get("resource")
            if isinstance(mounted, Resource):
                _check_policy(mounted, settings)
        super().__init__(handlers, *arguments, **settings)


def _check_policy(mounted: Resource[Any], settings: dict[str, Any]) -> None:
    policy = mounted.policy or settings.get("policy")
    if policy is not None:
        policy.check(mounted.model)
    elif not settings.get("debug"):
        raise ValueError(
            f"{mounted.path} has no policy, so nobody has said who may use it. Say policy=… to resource() or to"
            " the application: Authenticated(…), for one, or AllowAny() if everybody may do everything."
        )
