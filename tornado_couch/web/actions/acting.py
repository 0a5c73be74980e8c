"""`acting(…)`: the handler classes that do the service's own actions; see `action`."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar

from pydantic import ValidationError

from ... import _json
from ...errors import ActionRefused, DocumentNotFound, ValidationFailed
from ...models import Model, faults, to_document
from ...store.references import held_by
from ..body import Body
from ..handler import ResourceHandler
from ..http import is_large
from ..openapi.descriptions import answer_minimal, describe_body, describe_change, describe_writing
from ..openapi.operation import ApiOperation
from ..openapi.schemas import value_schema
from ..problems import Problem, problem_of
from ..resources import M
from .documents import Writing
from .idempotency import Mark, OnceMany, idempotency_key, marked, noted, refuse_other
from .own_action import OwnAction

__all__ = ["acting"]


def acting(base: type[ResourceHandler], own: OwnAction) -> type[ResourceHandler]:
    """Return a handler class that does an action and nothing else.

    Args:
        base: the class of the documents or of the collection; what it overrides, such as `show`, holds here as well.
        own: the action.
    """
    made: type[ResourceHandler] = type(
        base.__name__, (_Acting, base), {"__doc__": own.function.__doc__, "_own": own}, actions=[own.row]
    )
    return made


async def _run(threaded: bool, function: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
    """Call a function, in a thread or not; await what it returns where that is needed."""
    if threaded:
        return await asyncio.to_thread(function, *arguments, **named)
    made = function(*arguments, **named)
    return await made if inspect.isawaitable(made) else made


class _Done(Exception):
    """Ends a write that is not needed.

    Attributes:
        model: the document as it is.
        mark: what an earlier request with the same Idempotency-Key left in it; None if there was none.
    """

    def __init__(self, model: Any, mark: list[Any] | None = None) -> None:
        super().__init__()
        self.model = model
        self.mark = mark


class _Acting(ResourceHandler[M]):
    """POST to the address of an action of the service."""

    BODIES: ClassVar[dict[str, Callable[[Any], Body]]] = {}

    _own: ClassVar[OwnAction]
    _returned: Any = None

    async def act(self, key: Any = None) -> None:
        """Do it."""
        body, named = await self._arguments()
        if self._own.of_one:
            await self._on_document(key, body, named)
        else:
            await self._on_collection(body, named)

    async def _arguments(self) -> tuple[Any, dict[str, Any]]:
        """Return the body as JSON, and what the function is given by name.

        Raises:
            Problem: 400, there is a body where there must be none; 413, 415.
            ValidationFailed: it does not fit the schema.
        """
        own, body = self._own, None
        named: dict[str, Any] = {"event": self.event(own.name)} if own.takes_event else {}
        raw = self.body.raw()
        if own.body is not None and (raw or own.needs_body):
            body, read = await self.read_json(), own.body.read
            named["body"] = await asyncio.to_thread(read, body) if self.body.large else read(body)
        elif raw:
            raise Problem.of("malformed-body", "This takes no body.")
        return body, named

    def _called(self, *arguments: Any, **named: Any) -> Any:
        """Call the function; what it returns may have to be awaited."""
        return self._own.function(*([self] if self._own.method else []), *arguments, **named)

    # ------------------------------------------------------------ of a document

    async def _on_document(self, key: Any, body: Any, named: dict[str, Any]) -> None:
        own, writing = self._own, Writing(self)
        mark, once = None, idempotency_key(self.request.headers)
        if once is not None:
            name = self.principal.name if self.principal else None
            scope = [name, self.resource.path, self.resource.info.key_text(key), own.name]
            mark = Mark.of(self.resource.secret(self.settings), scope, once, body)
        try:
            model = await self.store.update(
                self.resource.model,
                key,
                partial(self._changed, named=named, mark=mark),
                check=partial(self._let_act, writing=writing, mark=mark),
                expected=writing.expectation(),
            )
        except _Done as done:
            model = done.model
            if done.mark is not None:
                self.set_header("Idempotent-Replayed", "true")
                if self._own.returns is not None:
                    self._returned = self._kept(done.mark[2:])
        except DocumentNotFound:
            raise writing.missing() from None
        await self._answer(model)

    async def _let_act(self, current: Any, *, writing: Writing, mark: Mark | None) -> None:
        """Ask the policy about the stored document, before preconditions; end here if this was done before.

        Raises:
            Problem: 401, 403 or 404; 422, the Idempotency-Key was used with another body.
            _Done: the same request has done it.
        """
        await self.authorize(self._own.name, current)
        found = noted(current._stored, mark) if mark is not None else None
        if mark is not None and found is not None:
            refuse_other(str(found[1]), mark)
            raise _Done(current, found)
        writing.check_date(current)

    async def _changed(self, current: Any, *, named: dict[str, Any], mark: Mark | None) -> Any:
        """Return what the function, and then the hook, make of the current document.

        Raises:
            _Done: they leave the document as it is, so that nothing has to be written.
            ValidationFailed: the function gives the document a value that its model does not allow.
        """
        large, hooks, stored = self.body.large or is_large(current._stored), self.resource.hooks, current._stored
        fits = current._unfit is None  # otherwise what is stored has to be mended
        before = await _run(large, to_document, current) if fits else None
        original, held = (current.model_copy(deep=True) if hooks.has_before else current), held_by(current)
        try:
            threaded = large and not inspect.iscoroutinefunction(self._own.function)
            result = await _run(threaded, self._called, current, **named)
            new = result if self._own.shows_document and result is not None else current
            if fits and await _run(large, to_document, new, stored) == before:
                self._returned = self._json_of(result)
                raise _Done(current)
        except ValidationError as error:
            if error.title != type(current).__name__:
                raise
            raise ValidationFailed(faults(error, before or {})) from None
        self._returned = self._json_of(result)
        if hooks.has_before:
            new = await hooks.before(self.event(self._own.name), new, original) or new
        await self.related.check(new, held)
        if mark is not None:
            kept = [self._returned] if self._own.returns is not None and self._keeps else []
            new._stored = marked(new._stored or stored, mark, kept)
        return new

    @property
    def _keeps(self) -> bool:
        """Whether an answer can be kept: it might hold a value that the database must not have in the clear."""
        return not any(each.classification for each in self.resource.info.properties.values())

    def _kept(self, found: list[Any]) -> Any:
        """Return the answer that was kept.

        Raises:
            Problem: 410, none was kept.
        """
        if not found:
            detail = "This was done before. Its answer was not kept, since it may hold what must not be stored."
            raise Problem.of("idempotent-result-gone", detail)
        return found[0]

    def _json_of(self, result: Any) -> Any:
        own = self._own
        if own.returns is not None:
            return own.returns.dump_python(result, mode="json", by_alias=True, warnings="error")
        if result is not None and not isinstance(result, self.resource.model):
            raise TypeError(f"{own.name}: the annotation of the function must say that it returns a value")
        return None

    async def _answer(self, model: Any) -> None:
        if self._own.shows_document:
            self.set_header("Content-Location", self.href(model._key))  # what the entity tag belongs to
            await self.answers.document(model, self._own.name)
            return
        await self.resource.hooks.after(self.event(self._own.name), model, None)
        await self._answer_value(self._returned)

    async def _answer_value(self, value: Any) -> None:
        if self._own.returns is None:
            self.set_status(204)
            self.finish()
            return
        await self.answers.json(200, await _run(is_large(value), _json.dumps, value), None)

    # ------------------------------------------------------------ of the collection

    async def _on_collection(self, body: Any, named: dict[str, Any]) -> None:
        once = idempotency_key(self.request.headers)
        if once is None:
            made = await self._result(named)
            if isinstance(made, Model):
                await self._answer(made)
            else:
                await self._answer_value(self._json_of(made))
            return
        answer, replayed = await OnceMany(self, self._own.name).answer(once, body, partial(self._done, named))
        if replayed:
            self.set_header("Idempotent-Replayed", "true")
        if "problem" in answer:
            raise Problem(answer["status"], answer["kind"], answer["detail"], **answer["problem"])
        if self._own.shows_document:
            found = await self.store.get(self.resource.model, answer["key"])
            await self.authorize(self._own.name, found)
            await self._answer(found)
        else:
            await self._answer_value(self._kept(answer["answer"]) if replayed else self._returned)

    async def _result(self, named: dict[str, Any]) -> Any:
        hooks = self.resource.hooks
        if hooks.has_before:
            await hooks.before(self.event(self._own.name))
        return await _run(False, self._called, **named)

    async def _done(self, named: dict[str, Any]) -> dict[str, Any]:
        """Return what is kept of the answer; a refusal is an answer as well."""
        try:
            made = await self._result(named)
        except (Problem, ActionRefused, ValidationFailed) as error:
            problem = problem_of(500, error)
            said = {"status": problem.status_code, "kind": problem.kind, "detail": problem.detail}
            return {**said, "problem": problem.members}
        if isinstance(made, Model):
            return {"key": self.resource.info.key_value(made._key)}
        self._returned = self._json_of(made)
        return {"answer": [self._returned] if self._keeps or self._own.returns is None else []}

    # ------------------------------------------------------------ the API document

    @classmethod
    def describe(cls, operation: ApiOperation) -> None:
        """Describe the action, and let the class of the service add to that."""
        own = cls._own
        words, _, more = (inspect.getdoc(own.function) or "").partition("\n")
        name = own.name.strip("_").replace("_", " ").replace("-", " ").capitalize()
        operation.says(words or f"{name} {operation.one if own.of_one else operation.tag}", more.strip())
        operation.takes("Idempotency-Key")
        if own.body is not None:
            title = f"{operation.resource.model.__name__}{name.title().replace(' ', '')}"
            operation.takes_body(value_schema(operation.components, title, own.body.schema))
            operation.needs_body = own.needs_body
            describe_body(operation)
            operation.problem("validation")
        else:
            operation.problem("malformed-body")
            operation.fails(413)
        _describe_answer(operation, own)
        operation.problem("action-refused", "malformed-idempotency-key", "idempotency-key-reused", "validation")
        operation.open_ended = True  # the function can answer with any problem that it raises
        if own.of_one:
            describe_change(operation)
        else:
            operation.problem("idempotent-request-running")
            operation.answers[409].fields["Retry-After"] = False
            describe_writing(operation)
        super().describe(operation)


def _describe_answer(operation: ApiOperation, own: OwnAction) -> None:
    if own.shows_document:
        fields = ("ETag", "Content-Location", "Cache-Control", "Vary")
        answer = operation.answers_with(200, "Done; the document as it is now.", operation.of_model().shown(), *fields)
        answer_minimal(operation)
        minimal = operation.answers[204].fields
        minimal |= {"Content-Location": None, "Idempotent-Replayed": False}
    elif own.returns is not None:
        name = f"{operation.resource.model.__name__}{own.name.strip('_').title().replace('_', '')}Answer"
        schema = value_schema(operation.components, name, own.returns.json_schema(mode="serialization"))
        answer = operation.answers_with(200, "Done.", schema, "Cache-Control", "Vary")
        operation.problem("idempotent-result-gone")
    else:
        answer = operation.answers_with(204, "Done.")
    answer.fields["Idempotent-Replayed"] = False
