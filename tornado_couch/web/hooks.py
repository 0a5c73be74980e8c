"""Hooks: a service's own code before and after each action, bulk included."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tornado.httputil import HTTPServerRequest

from ..models import Model
from ..store import Store
from .access import Principal

__all__ = ["Event", "Hooks"]


@dataclass(frozen=True)
class Event:
    """What happens.

    Attributes:
        action: "list", "retrieve", "versions", "conflicts", "create", "replace", "patch", "destroy", "resolve";
            before a PUT that brings back what was deleted, "restore"; in a bulk request, of one item.
        model: the model that it happens to.
        store: where that is kept.
        principal: who asks; None for somebody anonymous.
        request: the HTTP request.
    """

    action: str
    model: type[Model]
    store: Store
    principal: Principal | None
    request: HTTPServerRequest


class Hooks:
    """Override what is needed, and mount the resource with `hooks=`.

    What a hook raises ends the action: a `Problem` is answered as it is.

    Attributes:
        has_before: `before` is overridden; else it is not called.
        has_after: `after` is.
    """

    has_before = False
    has_after = False

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.has_before = cls.before is not Hooks.before
        cls.has_after = cls.after is not Hooks.after

    async def before(self, event: Event, model: Any = None, current: Any = None) -> Model | None:  # noqa: ARG002
        """Before the action; change the model in place, or return another to take its place.

        For a write it is called again at each try, since a conflict makes it another write.

        Args:
            event: what is about to happen.
            model: what is about to be written; None where nothing is.
            current: the document as it is, for "replace", "patch" and "destroy"; as it was, for "restore".
        """
        return None

    async def after(self, event: Event, model: Any, shown: dict[str, Any] | None) -> None:
        """After the action, for each document of the answer.

        Args:
            event: what has happened.
            model: the document as it is now; for "destroy", as it was.
            shown: what the client is about to see: add to it, or take away; None where it sees nothing.
        """
