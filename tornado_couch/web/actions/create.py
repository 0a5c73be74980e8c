"""Creating documents: one POST, an array, a stream of lines, or a part of a bulk request."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from functools import partial
from typing import Any

from ...errors import ValidationFailed
from ...models import Model, ModelInfo, validated
from ..handler import ResourceHandler
from ..problem_kinds import KINDS
from ..problems import Problem, problem_of
from .gathering import Gathering
from .results import OutcomeMixin, breathe

__all__ = ["ArrayMixin", "Creator", "check_key"]

# `{path}/_bulk` is no document's.
_RESERVED = ("", ".", "..", "_bulk")


def check_key(info: ModelInfo, key: Any) -> None:
    """Refuse a client's key that could not name a document in a URL or in CouchDB.

    Raises:
        ValidationFailed: it is empty, a dot segment (RFC 3986 §3.3), which clients resolve, `_bulk`, or
            has control characters; it is an id with a leading underscore, which are CouchDB's own; or it is
            the name of a reduced view, which has that address.
    """
    if key is None:
        return  # one will be given
    text = info.key_text(key)
    reserved = info.key is None and text.startswith("_")
    if text in _RESERVED or reserved or any(unicodedata.category(each) == "Cc" for each in text):
        detail = (
            "A key cannot be empty, `.`, `..` or `_bulk`, begin with an underscore as an id,"
            " or have control characters."
        )
    elif text in info.reductions:
        detail = f"A key cannot be the name of a reduced view: {', '.join(info.reductions)}."
    else:
        return
    pointer = f"/{info.key.name}" if info.key else ""
    raise ValidationFailed([{"pointer": pointer, "keyword": "key", "detail": detail}])


class Creator(ResourceHandler):
    """The steps of a creation, in the order in which each new document goes through them."""

    def new_model(self, body: dict[str, Any]) -> Any:
        """The model that a valid body describes, with what the policy and the service add.

        Raises:
            ValidationFailed: the values do not fit, or the key is none.
        """
        initial = {**self.get_initial(), **self.policy.initial(self.principal, self.resource.model)}
        model = validated(self.resource.model, {**body, **initial})
        check_key(self.resource.info, model._key)
        return model

    async def admitted(self, model: Model) -> Any:
        """The new model, once the policy and the hook before a creation have let it through."""
        await self.authorize("create", model)
        hooks = self.resource.hooks
        return (await hooks.before(self.event("create"), model) if hooks.has_before else None) or model

    async def create_from(self, body: dict[str, Any]) -> Any:
        """Store what a valid body describes."""
        return await self.perform_create(await self.admitted(self.new_model(body)))

    def get_initial(self) -> dict[str, Any]:
        """Values that the service gives to a new document, by name in JSON: read-only properties, say.

        They go over what the client sent; what the policy sets, such as an owner, goes over them.
        """
        return {}

    async def perform_create(self, model: Any) -> Any:
        """Store the new model; what is returned is shown to the client."""
        return await self.store.create(model)

    async def perform_create_many(self, models: Sequence[Any]) -> list[Any]:
        """Store new models; for each, in order, what is shown to the client, or the exception.

        It calls `perform_create` for all of them at once, and what these calls write leaves together.
        """
        gathering = self._gathering = Gathering(self.resource.store, self.resource.model)
        try:
            return await gathering.run([partial(self.perform_create, model) for model in models])
        finally:
            self._gathering = None


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
        if isinstance(each, Exception) and (problem := problem_of(500, each)).status_code == KINDS["validation"].status:
            faults = each.problems if isinstance(each, ValidationFailed) else _faults(problem)
            problems += [{**fault, "pointer": f"/{index}{fault['pointer']}"} for fault in faults]
    if problems:
        raise ValidationFailed(problems)


def _faults(problem: Problem) -> list[dict[str, str]]:
    """The faults of an invalid item; a hook's own problem need not point anywhere."""
    faults: list[dict[str, str]] = problem.members.get("errors") or []
    return faults or [{"pointer": "", "keyword": problem.kind or "refused", "detail": problem.detail}]
