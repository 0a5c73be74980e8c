"""`CreateMixin`: POST to a collection, with one document, an array of them, or a stream of lines."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, ClassVar, cast

from ...errors import DocumentExists, ValidationFailed
from ...models import Model, ModelInfo, validated
from ...store import Pace
from ...store.references import Held
from ..action_table import NDJSON
from ..body import Body
from ..handler import ResourceHandler
from ..openapi.descriptions import describe_body, describe_stored, describe_writing, or_refused, prefer_document
from ..openapi.operation import ApiOperation
from ..problems import KINDS, Problem, problem_of
from ..resources import M, Resource
from ..unread import STALLED
from .gathering import Gathering
from .idempotency import Once, idempotency_key, refuse_key
from .ndjson import Lines, receive_body
from .results import Results, results_schema

__all__ = ["CreateMixin", "check_chosen_id", "check_key"]

_NO_SEGMENTS = ("", ".", "..")


def check_key(resource: Resource[Any], key: Any) -> None:
    """Refuse a client's key that could not name a document in a URL or in CouchDB.

    Raises:
        ValidationFailed: the key is empty, a dot segment (RFC 3986 §3.3), which clients resolve, or has control
            characters; it is an id with a leading underscore, which are CouchDB's own; or it is a name below the
            collection, such as `_bulk`.
    """
    if key is None:
        return  # one will be given
    info = resource.info
    text = info.key_text(key)
    reserved = info.key is None and text.startswith("_")
    if text in _NO_SEGMENTS or reserved or any(unicodedata.category(each) == "Cc" for each in text):
        detail = "A key cannot be empty, `.` or `..`, begin with an underscore as an id, or have control characters."
    elif text in resource.taken:
        detail = f"A key cannot be one of the names below the collection: {', '.join(sorted(resource.taken))}."
    else:
        return
    raise _bad_key(info, detail)


def check_chosen_id(info: ModelInfo, key: Any) -> None:
    """Refuse an id that another document of the database could have, where a client chooses the id.

    Raises:
        ValidationFailed: the id does not begin with the name of the type.
    """
    if info.key is None and not info.owns(str(key)):
        raise _bad_key(info, f"An id that a client chooses must begin with `{info.type.name}:`.")


def _bad_key(info: ModelInfo, detail: str) -> ValidationFailed:
    pointer = f"/{info.key.name}" if info.key else ""
    return ValidationFailed([{"pointer": pointer, "keyword": "key", "detail": detail}])


class CreateMixin(ResourceHandler[M]):
    """POST to a collection: a new document, or many.

    Attributes:
        STALLED: seconds that a client may leave the results of its lines unread.
        IDLE: seconds without a further line after which lines that wait for a whole group are stored.
    """

    BODIES: ClassVar[dict[str, Callable[[Any], Body]]] = {"POST": receive_body}
    STALLED: ClassVar[float] = STALLED
    IDLE: ClassVar[float] = 0.05

    async def create(self) -> None:
        """Create the document, 201 with Location; from an array or lines, 200 with a result for each."""
        if isinstance(self.body, Lines):
            await self.body.finish()
            return
        key, body = idempotency_key(self.request.headers), await self.read_json()
        if isinstance(body, list):
            refuse_key(self.request.headers)
            await self.answers.results(await _results(self, body))
        elif key is None:
            model = await self.admitted(self.new_model(await self.valid("create", body)))
            await self.referring(model)
            await self.answer_created(await self.perform_create(model))
        else:
            await self.answer_created(*await Once(self).create(key, body))

    async def answer_created(self, created: Any, replayed: bool = False) -> None:
        """Answer with the new document, or with the one that the same request made before."""
        self.set_header("Location", self.href(created._key))
        if replayed:
            self.set_header("Idempotent-Replayed", "true")
            if not await self._may_read(created):
                self.answers.minimal(created, 201)
                return
        await self.answers.document(created, "retrieve" if replayed else "create", 201)

    async def _may_read(self, created: Any) -> bool:
        """Whether the caller may see what others have made of the document since."""
        try:
            await self.authorize("retrieve")
            await self.authorize("retrieve", created)
        except Problem:
            return False
        return True

    # ------------------------------------------------------------ the steps, in order, of each new document

    def get_initial(self) -> dict[str, Any]:
        """Return values that the service gives to a new document, by name in JSON: read-only properties, say.

        They replace those that the client sent; what the policy sets, such as an owner, replaces them.
        """
        return {}

    def new_model(self, body: dict[str, Any], /) -> M:
        """Return the model that a valid body describes, with what the policy and the service add.

        Raises:
            ValidationFailed: the values do not fit, or the key cannot name a document.
        """
        under = self.resource.under
        own = self.policy.initial_under(self.principal, self.resource.model, under)
        initial = {**under, **self.get_initial(), **own}
        model = validated(self.resource.model, {**body, **initial})
        check_key(self.resource, model._key)
        return model

    async def admitted(self, model: M, /) -> M:
        """Return the new model, once the policy and the hook before a creation have let it through."""
        await self.authorize("create", model)
        hooks = self.resource.hooks
        other = await hooks.before(self.event("create"), model) if hooks.has_before else None
        return cast("M", other) if other else model

    async def referring(self, model: M, /) -> M:
        """Return the new model, if the documents are there that it refers to.

        Raises:
            ValidationFailed: some are not, or the caller may not see them.
        """
        if self.resource.has_relations:
            await self.related.check(model)
        return model

    async def referring_many(self, models: Sequence[M | Exception], /) -> list[M | Exception]:
        """Do what `referring` does for many, with one group of reads; an exception takes the place of a model."""
        if not self.resource.has_relations:
            return list(models)
        self.related.forget()  # more lines of a stream come later
        held: list[tuple[Model, Sequence[Held]]] = [(each, ()) for each in models if isinstance(each, Model)]
        faults = iter(await self.related.faults(held))
        return [each if isinstance(each, Exception) else next(faults) or each for each in models]

    async def perform_create(self, model: M, /) -> M:
        """Store the new model; what is returned is shown to the client."""
        if not self.resource.info.soft_delete:
            return await self.store.create(model)
        # Here a new document can take the place of one that somebody could restore.
        return await self.store.create(model, check=self._may_replace)

    async def _may_replace(self, deleted: M) -> None:
        """Let a new document take the place of a deleted one if the caller could restore that.

        Raises:
            DocumentExists: the caller could not, and must not know more than that the key is taken.
        """
        try:
            await self.authorize("restore")
            await self.authorize("restore", deleted)
        except Problem:
            raise DocumentExists("there is a document with that key already") from None

    async def perform_create_many(self, models: Sequence[M], /) -> list[M | Exception]:
        """Store new models; for each, in order, return what is shown to the client, or the exception.

        This calls `perform_create` for all of them at once, and what these calls write leaves together.
        """
        gathering = self._gathering = Gathering(self.resource.store, self.resource.model)
        try:
            return await gathering.run([partial(self.perform_create, model) for model in models])
        finally:
            self._gathering = None

    @staticmethod
    def describe_create(operation: ApiOperation) -> None:
        """Describe POST of a collection."""
        schemas = operation.of_model()
        several = {"type": "array", "items": schemas.create(), "minItems": 1, "maxItems": operation.resource.max_bulk}
        operation.says(f"Create {operation.one}", "From an array, or from lines of JSON, many with one request.")
        operation.takes("Idempotency-Key")
        prefer_document(operation)
        operation.takes_body({"anyOf": [schemas.create(), several]})
        # A sequence of values is described as an array would be, as OpenAPI 3.2 has it (§4.14.4).
        lines = {"type": "array", "items": or_refused(schemas.create()), "minItems": 1}
        operation.takes_body({**lines, "description": "A line of JSON for each new document."}, NDJSON)
        words = "Created; with `Prefer: return=minimal`, without a body."
        created = operation.answers_with(201, words, schemas.shown(), "Location", "ETag", "Cache-Control", "Vary")
        created.fields |= {"Preference-Applied": False, "Idempotent-Replayed": False}
        results = results_schema(operation)
        many = operation.answers_with(200, "A result for each document of an array, in order.", results)
        many.fields["Preference-Applied"] = False
        words = "A result for each line, as it is stored."
        many.content[NDJSON] = {"type": "array", "items": {"type": "object"}, "description": words}
        describe_body(operation)
        operation.problem("validation", "exists", "empty-bulk", "too-many-items")
        operation.problem("malformed-idempotency-key", "idempotency-key-for-many", "idempotency-key-reused")
        operation.problem("idempotent-request-running", "idempotent-result-gone")
        operation.answers[409].fields["Retry-After"] = False
        # What was created before can have been altered since, or have become somebody else's.
        describe_stored(operation)
        operation.fails(404)
        describe_writing(operation)


# ---------------------------------------------------------------- arrays


async def _results(handler: CreateMixin, bodies: list[Any]) -> list[dict[str, Any]]:
    """Create the documents of an array; return a result for each, in order.

    What is invalid anywhere, by the schema, the model or a hook, is 422 for the whole request, with
    nothing stored. What the policy or the database then refuses is that item's problem alone: CouchDB
    has no transaction over several documents.
    """
    results = Results(handler)
    results.check_count(len(bodies))
    models = await _valid(handler, bodies)
    admitted = await handler.referring_many([await _tried(handler, model) for model in models])
    _refuse_invalid(admitted)
    stored = iter(await handler.perform_create_many([each for each in admitted if not isinstance(each, Exception)]))
    outcomes = [each if isinstance(each, Exception) else next(stored) for each in admitted]
    return [await results.of("create", each, 201) for each in outcomes]


async def _valid(handler: CreateMixin, bodies: list[Any]) -> list[Any]:
    """Return the models, once every body is valid."""
    found: list[Any] = []
    pace = Pace()
    for body in bodies:
        try:
            found.append(handler.new_model(await handler.valid("create", body)))
        except ValidationFailed as error:
            found.append(error)
        await pace.breathe()
    _refuse_invalid(found)
    return found


async def _tried(handler: CreateMixin, model: Any) -> Any:
    try:
        return await handler.admitted(model)
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
    """Return the faults of an invalid item; a hook's own problem need not point anywhere."""
    faults: list[dict[str, str]] = problem.members.get("errors") or []
    return faults or [{"pointer": "", "keyword": problem.kind or "refused", "detail": problem.detail}]
