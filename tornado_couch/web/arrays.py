"""POST of an array to a collection: many new documents, all of them valid or none stored."""

from __future__ import annotations

from typing import Any

from ..errors import ValidationFailed
from .creating import Creator
from .outcomes import OutcomeMixin, breathe
from .problems import Problem, problem_of

__all__ = ["ArrayMixin"]


class ArrayMixin(OutcomeMixin, Creator):
    """Creates the documents of an array.

    What is invalid anywhere, by the schema, the model or a hook, is 422 for the whole request, with
    nothing stored. What the policy or the database then refuses is that item's problem alone: CouchDB
    has no transaction over several documents.
    """

    async def create_many(self, bodies: list[Any]) -> None:
        """Create them; 200 with a result for each, in order."""
        self.check_count(len(bodies))
        models = await self._valid(bodies)
        admitted = [await self._tried(model) for model in models]
        _refuse_invalid(admitted)
        stored = iter(await self.perform_create_many([each for each in admitted if not isinstance(each, Exception)]))
        outcomes = [each if isinstance(each, Exception) else next(stored) for each in admitted]
        await self.answer_results([await self.outcome("create", each, 201) for each in outcomes])

    async def _valid(self, bodies: list[Any]) -> list[Any]:
        """The models, once every body is valid."""
        found: list[Any] = []
        for index, body in enumerate(bodies):
            try:
                found.append(self.new_model(self.validated("create", body)))
            except ValidationFailed as error:
                found.append(error)
            await breathe(index)
        _refuse_invalid(found)
        return found

    async def _tried(self, model: Any) -> Any:
        try:
            return await self.admitted(model)
        except Exception as error:  # noqa: BLE001 - it is this item's outcome, whatever a hook raised
            return error


def _refuse_invalid(items: list[Any]) -> None:
    """Refuse the whole request where an item is invalid.

    Raises:
        ValidationFailed: with all faults of all items; pointers begin with the item's index.
    """
    problems: list[dict[str, str]] = []
    for index, each in enumerate(items):
        if isinstance(each, Exception) and (problem := problem_of(500, each)).status_code == 422:
            problems += [{**fault, "pointer": f"/{index}{fault['pointer']}"} for fault in _faults(problem)]
    if problems:
        raise ValidationFailed(problems)


def _faults(problem: Problem) -> list[dict[str, str]]:
    """What a 422 complains of; a hook's own problem need not point anywhere."""
    faults: list[dict[str, str]] = problem.members.get("errors") or []
    return faults or [{"pointer": "", "keyword": problem.kind or "refused", "detail": problem.detail}]
