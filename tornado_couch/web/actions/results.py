"""What became of one item of a request for many: its status with where it is now, or a problem."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Any

from ... import _json
from ...errors import RevisionMismatch, TornadoCouchError
from ..handler import ResourceHandler
from ..http import entity_tag
from ..problems import Problem, problem_of

__all__ = ["OutcomeMixin", "breathe"]

logger = logging.getLogger("tornado_couch.web")

_ITEMS_IN_THREAD = 100
_ITEMS_AT_A_TIME = 20


async def breathe(index: int) -> None:
    """Let other requests have a turn, once in a while, in a loop over many items."""
    if index % _ITEMS_AT_A_TIME == _ITEMS_AT_A_TIME - 1:
        await asyncio.sleep(0)


class OutcomeMixin(ResourceHandler):
    """Answers with a result for each item.

    A result has `status`, that which a request for the item alone would have had. Where that is a
    success there are `_href` and `_etag`, as in a collection, and with `Prefer: return=representation`
    the `document`; otherwise there is `problem`, a problem details object (RFC 9457).
    """

    async def outcome(
        self, action: str, result: Any, status: int, instance: str = "", show: Callable[[Any], Any] | None = None
    ) -> dict[str, Any]:
        """The result of an item.

        Args:
            action: what was to be done.
            result: the model, or the exception.
            status: what a success is answered with.
            instance: where a request for the item alone would have gone; without it, where this one went.
            show: makes the document that the client sees; without it, this handler's `show`.
        """
        if isinstance(result, Exception):
            return self.failure(result, instance)
        found: dict[str, Any] = {"status": status, "_href": self.resource.href(result._key)}
        shown = None
        if action != "destroy":
            found["_etag"] = entity_tag(result._rev or "")
            if self.preferences().representation == "representation":
                shown = found["document"] = (show or self.show)(result)
        try:
            await self.resource.hooks.after(self.event(action), result, shown)
        except Exception as error:  # noqa: BLE001 - it is this item's outcome, whatever a hook raised
            return self.failure(error, instance)
        return found

    def told(self, error: Exception) -> Problem:
        """The problem that an exception stands for; what the operator must see is logged."""
        if isinstance(error, TornadoCouchError):
            self.log_exception(type(error), error, error.__traceback__)
        elif not isinstance(error, Problem):
            logger.error("an item of a request for many failed", exc_info=error)
        return problem_of(500, error)

    def failure(self, error: Exception, instance: str = "") -> dict[str, Any]:
        """The result of an item that failed."""
        problem = self.told(error)
        found = {"status": problem.status_code, "problem": problem.body(instance or self.request.path)}
        if isinstance(error, RevisionMismatch) and error.current:
            found["_etag"] = entity_tag(error.current)  # as the 412 to a single request has it
        return found

    def check_count(self, count: int) -> None:
        """Refuse too few or too many items.

        Raises:
            Problem: 400 when there are none; 413 when there are more than `max_bulk`.
        """
        if count == 0:
            raise Problem.of("empty-bulk", "There is nothing in it to do.")
        most = self.resource.max_bulk
        if count > most:
            raise Problem.of("too-many-items", f"One request may have {most} items at most.", limit=most)

    async def answer_results(self, items: Sequence[dict[str, Any]]) -> None:
        """Answer with the results; 200, since the request as such was carried out."""
        preferences = self.preferences()
        if preferences.applied:
            self.set_header("Preference-Applied", preferences.applied)
        body = {"items": items}
        large = len(items) > _ITEMS_IN_THREAD
        text = await asyncio.to_thread(_json.dumps, body) if large else _json.dumps(body)
        await self._answer(200, text, None)
