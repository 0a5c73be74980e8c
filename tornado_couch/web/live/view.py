"""`View`: what one caller sees of the changes of a collection."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from ...models import Model
from ...store import DocumentChange, Query, Store, has_left
from ...store.query import same

__all__ = ["Seen", "View"]

Seen = Literal["change", "delete", "gone", "reset"]


@dataclass(frozen=True, slots=True)
class View:
    """What somebody sees of the changes of a collection.

    Attributes:
        store: where the documents are.
        query: the filters, and the scopes of the caller; None if there are no filters.
        scopes: the values that documents must have in some properties, as they are stored, for the caller to see them:
            by the policy, and by the address of a nested collection.
    """

    store: Store
    query: Query | None
    scopes: Mapping[str, Any]

    @property
    def name(self) -> str:
        """What distinguishes the view from others of the same collection."""
        return repr(sorted(self.scopes.items()))

    def seen(self, change: DocumentChange[Model], since: str) -> Seen | None:
        """Return how a change is told to somebody who follows since a time; None if it is none of their business.

        Args:
            change: the change.
            since: the time, as time stamps are stored.
        """
        if change.key is None:
            return None if self.scopes else "reset"  # a document of nobody knows whom was deleted by another program
        outside = {name: each for name, each in self.scopes.items() if not same(change.document.get(name), each)}
        if outside:
            if change.kind == "unknown":
                return None
            if any(_within(each, self.scopes) for each in change.others):
                return "gone"
            left = [has_left(change.document, scope, since) for scope in outside.items()]
            return None if False in left else "reset" if None in left else "gone"
        if change.kind in ("deleted", "unknown"):
            return "delete"
        if change.model is None:
            return "gone"  # as a list leaves it out
        if self.query is not None and not self.store.selects(self.query, change.model):
            return None if change.kind == "created" else "gone"
        return "change"


def _within(document: Mapping[str, Any], scopes: Mapping[str, Any]) -> bool:
    return all(same(document.get(name), each) for name, each in scopes.items())
