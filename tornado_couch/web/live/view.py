"""`View`: what one caller sees of the changes of a collection; `Known`: what they were told of its scopes."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias

from ... import _json
from ...models import Model
from ...store import DocumentChange, Position, Query, Store, has_left, is_scope
from ...store.query import same

__all__ = ["Known", "Limit", "Seen", "TooManyScopes", "View"]

Seen = Literal["change", "delete", "gone", "reset"]
Values: TypeAlias = frozenset[str | int]
_MOST = 1000  # characters of the values that a token holds

_NONE: Values = frozenset()


class TooManyScopes(Exception):
    """A client's scopes have changed, and its token does not hold the former ones."""


@dataclass(frozen=True, slots=True)
class Known:
    """The scopes whose documents a client has, as far as it was told of them.

    Attributes:
        kept: those of which it has every document, as of its place in the changes.
        gained: those that the caller has gained, of whose documents the client may have some.
        lost: those that the caller has lost, of whose documents the client may still have some.
        after: how far the client was told of what it gains and loses: the documents up to this position in the index;
            None for no document yet.
        is_told: whether the client was told of all of them.
        digest: in place of all that, where the values are too many for a token: what distinguishes them from others.
    """

    kept: Values = _NONE
    gained: Values = _NONE
    lost: Values = _NONE
    after: Position | None = None
    is_told: bool = False
    digest: str = ""

    @property
    def is_changing(self) -> bool:
        """Whether there are documents to tell the client of, or to take from it, though they have not changed."""
        return bool(self.gained or (self.lost and not self.is_told))

    def told(self, after: Position | None) -> Known:
        """Return the same once the client was told of the documents up to a position; None for all of them.

        What was lost is remembered until the client has been told of every change since: a document may have left
        that scope before it was looked at.
        """
        if after is not None:
            return replace(self, after=after)
        return Known(self.kept | self.gained, lost=self.lost, is_told=True)

    def towards(self, allowed: Values) -> Known:
        """Return what the client has to be told now that the caller may see the documents with these values.

        Raises:
            TooManyScopes: nobody can say what the client has.
        """
        if self.digest:
            if self.digest != _digest(allowed):
                raise TooManyScopes
            return Known(allowed)
        if allowed == self.kept | self.gained:
            return self
        had = self.kept | self.gained | self.lost
        found = Known(self.kept & allowed, allowed - self.kept, had - allowed)
        if found.is_long:
            raise TooManyScopes
        return found

    @property
    def is_long(self) -> bool:
        """Whether there are too many values for a token."""
        return len(_json.dumps(_sorted([*self.kept, *self.gained, *self.lost]))) > _MOST

    def packed(self) -> Any:
        """Return what a token holds of it, as JSON."""
        if self.is_long:
            return self.digest or _digest(self.kept)
        names = [_sorted(each) for each in (self.kept, self.gained, self.lost)]
        return [*names, self.after, self.is_told] if self.gained or self.lost else names[:1]

    @classmethod
    def unpacked(cls, found: Any) -> Known:
        """Return what a token holds."""
        if isinstance(found, str):
            return cls(digest=found)
        kept, gained, lost, after, is_told = found if len(found) > 1 else (*found, [], [], None, False)
        return cls(
            frozenset(kept), frozenset(gained), frozenset(lost), Position(*after) if after else None, is_told=is_told
        )


@dataclass(frozen=True, slots=True)
class Limit:
    """What a policy limits a caller's lists to.

    Attributes:
        name: the property.
        values: the values of it, as they are stored, one of which a document must have.
    """

    name: str
    values: Values


@dataclass(frozen=True, slots=True)
class View:
    """What somebody sees of the changes of a collection.

    Attributes:
        store: where the documents are.
        query: the filters, and what the caller is limited to; None if there are no filters.
        fixed: the values that the address of a nested collection gives to properties, as they are stored.
        limit: what the policy limits the caller to; None if it does not.
        lost: values that the policy limited the caller to before, of which the client may still have documents.
    """

    store: Store
    query: Query | None
    fixed: Mapping[str, Any]
    limit: Limit | None
    lost: Values = _NONE

    @property
    def name(self) -> str:
        """What distinguishes the view from others of the same collection."""
        return f"{self.kind} {self.limit and _sorted(self.limit.values)!r} {_sorted(self.lost)!r}"

    @property
    def settled(self) -> Known:
        """What a client knows once it was told of everything that it sees."""
        return Known(self.limit.values) if self.limit else Known()

    @property
    def kind(self) -> str:
        """What distinguishes the view from those between which nobody can change without beginning again."""
        return f"{sorted(self.fixed.items())!r} {self.limit and self.limit.name!r}"

    def seen(self, change: DocumentChange[Model], since: str) -> Seen | None:
        """Return how a change is told to somebody who follows since a time; None if it is none of their business.

        Args:
            change: the change.
            since: the time, as time stamps are stored.
        """
        limit, document = self.limit, change.document
        if change.key is None:  # a document of nobody knows whom was deleted by another program
            return None if self.fixed or limit else "reset"
        if not self._has(document, limit.values if limit else _NONE):
            return None if change.kind == "unknown" else self._of_hidden(change, since)
        if change.kind in ("deleted", "unknown"):
            return "delete"
        if change.model is None:
            return "gone"  # as a list leaves it out
        if self.query is not None and not self.store.selects(self.query, change.model):
            return None if change.kind == "created" else "gone"
        return "change"

    def _of_hidden(self, change: DocumentChange[Model], since: str) -> Seen | None:
        """Return how a change of a document is told that the caller cannot see; they may have seen it before."""
        had = self.lost | self.limit.values if self.limit else _NONE
        if any(self._has(each, had) for each in change.others):
            return "gone"
        document = change.document
        left = [
            has_left(document, [(name, value)], since)
            for name, value in self.fixed.items()
            if not same(document.get(name), value)
        ]
        if self.limit and not _is_in(document.get(self.limit.name), had):
            left.append(has_left(document, [(self.limit.name, value) for value in had], since))
        return None if False in left else "reset" if None in left else "gone"

    def _has(self, document: Mapping[str, Any], values: Values) -> bool:
        """Whether a document is below the address, and has one of these values where the policy limits the caller."""
        if self.limit and not _is_in(document.get(self.limit.name), values):
            return False
        return all(same(document.get(name), value) for name, value in self.fixed.items())


def _is_in(value: object, values: Values) -> bool:
    return is_scope(value) and value in values


def _sorted(values: Collection[str | int]) -> list[str | int]:
    return sorted(values, key=repr)


def _digest(values: Values) -> str:
    return hashlib.sha256(_json.dumps(_sorted(values))).hexdigest()[:16]
