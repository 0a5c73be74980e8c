"""Hooks: a service's own code that runs before and after each action, also within bulk requests."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tornado.httputil import HTTPServerRequest

from ..models import Model
from ..store import Store
from .access import Principal
from .action import is_read

__all__ = ["Event", "Hooks"]


@dataclass(frozen=True)
class Event:
    """An action on a document or a collection.

    Attributes:
        action: "list", "retrieve", "reduce", "versions", "conflicts", "create", "replace", "patch", "destroy" or
          "resolve"; "restore" before a PUT that brings back a deleted document. In a bulk request, the action of one
          item.
        model: the class of the documents.
        store: the store that keeps them.
        principal: who sends the request; None if anonymous.
        request: the HTTP request.
    """

    action: str
    model: type[Model]
    store: Store
    principal: Principal | None
    request: HTTPServerRequest

    @property
    def writes(self) -> bool:
        """Whether the action writes something, or deletes it."""
        return not is_read(self.action)


class Hooks:
    """Override the methods that you need, and mount the resource with `hooks=`.

    An exception that a hook raises ends the action; a `Problem` becomes the answer as it is.

    Attributes:
        has_before: whether `before` is overridden; if not, it is never called.
        has_after: whether `after` is overridden; if not, it is never called.
    """

    has_before = False
    has_after = False

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.has_before = cls.before is not Hooks.before
        cls.has_after = cls.after is not Hooks.after

    async def before(self, event: Event, model: Any = None, current: Any = None) -> Model | None:  # noqa: ARG002
        """Run before the action; change the model in place, or return another one to replace it.

        A write calls this again at each try, since after a conflict it is a different write.

        Args:
            event: the action that is about to happen.
            model: the document that is about to be written; None if nothing is written.
            current: the stored document, for "replace", "patch" and "destroy"; the winning leaf, for "resolve"; the
                deleted one, for "restore".
        """
        return None

    async def after(self, event: Event, model: Any, shown: dict[str, Any] | None) -> None:
        """Run after the action, for each document of the answer.

        Args:
            event: the action that has happened.
            model: the document as it is now; for "destroy", as it was.
            shown: what the client will see; add members or remove them. None if the answer has no document.
        """
