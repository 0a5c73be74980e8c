"""`Hubs`: those of an application, one for each model and store that somebody follows."""

from __future__ import annotations

from collections import Counter
from typing import Any

from tornado.web import Application

from ...models import Model
from ...store import Place, Store
from ..problems import Problem
from .follower import Follower
from .hub import Hub

__all__ = ["Hubs", "end_streams"]

_SETTING = "_tornado_couch_hubs"


class Hubs:
    """The hubs of an application."""

    def __init__(self) -> None:
        self._have_ended = False
        self._hubs: dict[tuple[Store, type[Model]], Hub] = {}
        self._callers: Counter[str] = Counter()

    @classmethod
    def of(cls, application: Any) -> Hubs:
        """Return those of an application."""
        found: Hubs = application.settings.setdefault(_SETTING, cls())
        return found

    @property
    def streams(self) -> int:
        """How many streams are open."""
        return len(self.followers)

    @property
    def followers(self) -> list[Follower]:
        """The clients that follow."""
        return [follower for each in self._hubs.values() for follower in each.followers]

    def count(self, caller: str, most: int | None) -> None:
        """Count a stream of a caller's, until `uncount`.

        Args:
            caller: the caller; see `caller_identity`.
            most: how many streams a caller may have in this process; None for any number.

        Raises:
            Problem: 429, there are so many already.
        """
        if most is not None and self._callers[caller] >= most:
            raise Problem.of("too-many-streams", f"You have {most} streams open here, which is the most that you may.")
        self._callers[caller] += 1

    def uncount(self, caller: str) -> None:
        """Count a stream no more."""
        self._callers[caller] -= 1
        if not self._callers[caller]:
            del self._callers[caller]

    async def follow(self, store: Store, model: type[Model], follower: Follower, since: Place | None) -> None:
        """Let a client follow a model; see `Hub.join`."""
        if self._have_ended:
            follower.stream.end()
            return
        hub = self._hubs.setdefault((store, model), Hub(store, model))
        await hub.join(follower, since)

    def leave(self, store: Store, model: type[Model], follower: Follower) -> None:
        """Stop telling a client of changes."""
        hub = self._hubs.get((store, model))
        if hub is not None:
            hub.leave(follower)
            if hub.is_idle:
                del self._hubs[store, model]

    def end(self) -> None:
        """End all streams, and those that are still to come."""
        self._have_ended = True
        for each in list(self._hubs.values()):
            each.end()


def end_streams(application: Application) -> None:
    """End all streams of an application that stops; their clients come back, to another process."""
    Hubs.of(application).end()
