"""`Results`: what became of each item of a request for many, its status with where it is now, or a problem."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from ...errors import RevisionMismatch, TornadoCouchError
from ..handler import ResourceHandler
from ..http import entity_tag
from ..openapi.components import Schema, any_problem
from ..openapi.operation import ApiOperation
from ..problems import Problem, problem_of

__all__ = ["Results", "results_schema"]

logger = logging.getLogger("tornado_couch.web")


class Results:
    """Makes the result of each item.

    A result has `status`, that which a request for the item alone would have had. Where that is a
    success there are `_href` and `_etag`, as in a collection, and with `Prefer: return=representation`
    the `document`; otherwise there is `problem`, a problem details object (RFC 9457).

    Args:
        handler: the handler of the request.
    """

    def __init__(self, handler: ResourceHandler) -> None:
        self._handler = handler

    async def of(
        self, action: str, result: Any, status: int, instance: str = "", show: Callable[[Any], Any] | None = None
    ) -> dict[str, Any]:
        """Return the result of an item.

        Args:
            action: what was to be done.
            result: the model, or the exception.
            status: what a success is answered with.
            instance: where a request for the item alone would have gone; without it, where this one went.
            show: makes the document that the client sees; without it, the handler's `show`.
        """
        if isinstance(result, Exception):
            return self.failure(result, instance)
        handler = self._handler
        found: dict[str, Any] = {"status": status, "_href": handler.href(result._key)}
        shown = None
        if action != "destroy":
            found["_etag"] = entity_tag(result._rev or "")
            if handler.preferences().representation == "representation":
                shown = found["document"] = (show or handler.show)(result)
        try:
            await handler.resource.hooks.after(handler.event(action), result, shown)
        except Exception as error:  # noqa: BLE001 - it is this item's outcome, whatever a hook raised
            return self.failure(error, instance)
        return found

    def failure(self, error: Exception, instance: str = "") -> dict[str, Any]:
        """Return the result of an item that failed."""
        problem = self.problem(error)
        where = instance or self._handler.prefix + self._handler.request.path
        found = {"status": problem.status_code, "problem": problem.body(where)}
        if isinstance(error, RevisionMismatch) and error.current:
            found["_etag"] = entity_tag(error.current)  # as the 412 to a single request has it
        elif "ETag" in problem.headers:
            found["_etag"] = problem.headers["ETag"]
        return found

    def problem(self, error: Exception) -> Problem:
        """Return the problem that an exception stands for, and log what the operator must see."""
        if isinstance(error, TornadoCouchError):
            self._handler.log_exception(type(error), error, error.__traceback__)
        elif not isinstance(error, Problem):
            logger.error("an item of a request for many failed", exc_info=error)
        return problem_of(500, error)

    def check_count(self, count: int) -> None:
        """Refuse too few or too many items.

        Raises:
            Problem: 400 when there are no items; 413 when there are more than `max_bulk`.
        """
        if count == 0:
            raise Problem.of("empty-bulk", "The request contains nothing to do.")
        most = self._handler.resource.max_bulk
        if count > most:
            raise Problem.of("too-many-items", f"One request may have {most} items at most.", limit=most)


def results_schema(operation: ApiOperation) -> Schema:
    """Return the schema of the results of a request for many documents."""
    schemas = operation.of_model()
    problem = any_problem(operation.components)

    def make() -> Schema:
        result = {
            "type": "object",
            "required": ["status"],
            "properties": {
                "status": {"type": "integer", "description": "The status of a request for this document alone."},
                "_href": {"type": "string", "description": "The document's address."},
                "_etag": {"type": "string", "description": "The document's entity tag."},
                "document": schemas.shown(),
                "problem": problem,
            },
        }
        items = {"type": "array", "items": result}
        return {"type": "object", "required": ["items"], "properties": {"items": items}}

    return schemas.other("Results", make)
