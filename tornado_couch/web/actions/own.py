"""`@action`: what a service does with a document or a collection, besides what every resource has.

    class Cancel(BaseModel):
        reason: str

    def cancel(order: Order, body: Cancel) -> None:
        if order.status != "open":
            raise ActionRefused(f"An order that is {order.status} cannot be cancelled.")
        order.status, order.reason = "cancelled", body.reason

    resource("/orders", Order, store, actions={"cancel": cancel})

That is `POST /orders/{key}/cancel`. The function is given the document as it is now, and changes it; after a conflict
it is called again with the newer one. It can also be a method of the handler class:

    class Orders(DocumentHandler[Order]):
        @action
        def cancel(self, order: Order, body: Cancel) -> None: …

The name of an action of the collection begins with an underscore, as in `POST /orders/_import`; its function is given
no document.
"""

from __future__ import annotations

import asyncio
import inspect
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, TypeVar, get_args, get_type_hints, overload

from pydantic import BaseModel, TypeAdapter, ValidationError

from ... import _json
from ...errors import ActionRefused, DocumentNotFound, ValidationFailed
from ...models import Model, ValueSchema, faults, to_document
from ...store.references import held_by
from ..action_table import JSON, OF_ONE, Action
from ..body import Body
from ..handler import ResourceHandler
from ..http import is_large
from ..openapi.descriptions import answer_minimal, describe_body, describe_change, describe_writing
from ..openapi.operation import ApiOperation
from ..openapi.schemas import value_schema
from ..problems import Problem, problem_of
from ..resources import M
from .documents import Writing
from .idempotency import Mark, OnceMany, idempotency_key, refuse_other

__all__ = ["OwnAction", "acting", "action", "declared_actions"]

F = TypeVar("F", bound=Callable[..., Any])

_MARK = "__tornado_couch_action__"
_REMEMBERED = 16  # idempotency keys that a document remembers
_REMEMBERED_SECONDS = 24 * 3600


@dataclass(frozen=True)
class _Declared:
    """What the decorator says."""

    name: str = ""
    body: Mapping[str, Any] | None = None


@overload
def action(name: F, /) -> F: ...


@overload
def action(name: str = "", /, *, body: Mapping[str, Any] | None = None) -> Callable[[F], F]: ...


def action(name: Any = "", /, *, body: Mapping[str, Any] | None = None) -> Any:
    """Make an action of a method of a handler class, or say more about a function that `actions=` names.

        @action
        def cancel(self, order: Order, body: Cancel) -> None: …

        @action("_import", body={"type": "array", "items": {"type": "string"}})
        async def import_orders(self, body: list[str]) -> Imported: …

    Besides the document the function can take `body`, whose annotation is the schema of the request's body, and
    `event`, an `Event`. Without `body` a request must have none; with a default, it can have none. What the function
    returns is the answer, described by its annotation; without one, or with the model, the answer is the document.

    Args:
        name: the last part of the address; by default, the name of the method.
        body: the JSON Schema (2020-12) of the request's body, where it is not the annotation.
    """
    if callable(name):
        setattr(name, _MARK, _Declared())
        return name

    def marked(function: F) -> F:
        setattr(function, _MARK, _Declared(name, body))
        return function

    return marked


@dataclass(frozen=True)
class OwnAction:
    """An action of the service, as its function declares it.

    Attributes:
        name: the last part of its address; what the policy and the hooks call it.
        function: the function; of a method, the one in the class.
        method: whether it is a method of the handler class.
        takes_event: whether it takes `event`.
        body: the schema of the body; None for an action without a body.
        needs_body: whether the body cannot be left out.
        returns: writes the answer; None where it is the document, or nothing.
        shows_document: whether the answer is the document.
    """

    name: str
    function: Callable[..., Any]
    method: bool
    takes_event: bool
    body: ValueSchema | None
    needs_body: bool
    returns: TypeAdapter[Any] | None
    shows_document: bool

    @property
    def of_one(self) -> bool:
        """Whether it is about one document; otherwise it is one of the collection."""
        return not self.name.startswith("_")

    @property
    def row(self) -> Action:
        """The row that the table of actions would have for it."""
        answers = (JSON,) if self.shows_document or self.returns else ()
        takes = (JSON,) if self.body else ()
        follow = OF_ONE if self.shows_document else ()
        return Action(
            self.name, "POST", "act", takes=takes, answers=answers, of_one=self.of_one, follow=follow, own=True
        )

    @classmethod
    def of(cls, name: str, function: Callable[..., Any], model: type[Model], *, method: bool = False) -> OwnAction:
        """Read a function.

        Raises:
            ValueError: the function does not declare an action.
        """
        declared: _Declared = getattr(function, _MARK, _Declared())
        where = getattr(function, "__qualname__", repr(function))
        if isinstance(function, type) or not callable(function):
            raise ValueError(f"the action {name!r} must be a function or a class of handlers, not {function!r}")
        try:
            signature = inspect.signature(function, **_FORWARD)
            parameters = list(signature.parameters.values())[method:]
            hints = _resolved(signature, function, model)
        except (NameError, TypeError, ValueError) as error:
            raise ValueError(f"the action {where}() cannot be read: {error}; import it at run time") from None
        of_one = not name.startswith("_")
        if of_one and not parameters:
            raise ValueError(f"the action {where}() must take the document as its first argument")
        named = {each.name: each for each in parameters[of_one:]}
        for each in named.keys() - {"body", "event"}:
            raise ValueError(f"the action {where}() takes {each!r}, but there are only `body` and `event` to give it")
        returned = hints["return"]
        shows = _is_document(returned, model) or (of_one and returned is type(None)) or (of_one and returned is None)
        return cls(
            name=name,
            function=function,
            method=method,
            takes_event="event" in named,
            body=_body_schema(where, declared, hints["body"]) if "body" in named else None,
            needs_body="body" in named and named["body"].default is inspect.Parameter.empty,
            returns=None if shows or returned in (None, type(None)) else _adapter(where, returned),
            shows_document=shows,
        )


# From Python 3.14 on, annotations are evaluated when somebody looks at them, and all of them at once.
_FORWARD: dict[str, Any] = {}
if sys.version_info >= (3, 14):
    import annotationlib

    _FORWARD["annotation_format"] = annotationlib.Format.FORWARDREF


def _resolved(signature: inspect.Signature, function: Callable[..., Any], model: type[Model]) -> dict[str, Any]:
    """Return the types of the body and of the result; the other annotations are for type checkers alone.

    Raises:
        NameError: one of them is not known at run time.
    """

    def holder() -> None: ...

    body, returned = signature.parameters.get("body"), signature.return_annotation
    found = {"body": body.annotation if body else Any, "return": returned}
    found = {name: Any if each is inspect.Signature.empty else each for name, each in found.items()}
    if returned is inspect.Signature.empty:
        found["return"] = None
    holder.__annotations__ = found
    known = {model.__name__: model, **getattr(inspect.unwrap(function), "__globals__", {})}
    return get_type_hints(holder, known, include_extras=True)


def _is_document(returned: Any, model: type[Model]) -> bool:
    kinds = [each for each in (get_args(returned) or (returned,)) if each is not type(None)]
    return all(isinstance(each, type) and issubclass(each, Model) for each in kinds) and kinds == [model]


def _body_schema(where: str, declared: _Declared, annotation: Any) -> ValueSchema:
    _refuse_documents(where, "take", annotation)
    return ValueSchema(annotation if declared.body is None else dict(declared.body))


def _adapter(where: str, returned: Any) -> TypeAdapter[Any]:
    _refuse_documents(where, "return", returned)
    return TypeAdapter(returned)


def _refuse_documents(where: str, what: str, annotation: Any) -> None:
    """Refuse models as parts of bodies and answers: clients would set what is read-only, and see what is hidden.

    Raises:
        ValueError: a type contains a model.
    """
    todo, seen = [annotation], []
    while todo:
        each = todo.pop()
        if each in seen:
            continue
        seen.append(each)
        todo += get_args(each)
        if isinstance(each, type) and issubclass(each, Model):
            raise ValueError(
                f"the action {where}() cannot {what} {each.__name__} as a part of JSON, which knows nothing of hidden"
                " and read-only properties; declare a pydantic model with what clients may see"
            )
        if isinstance(each, type) and issubclass(each, BaseModel):
            todo += [field.annotation for field in each.model_fields.values()]


def declared_actions(cls: type[Any]) -> dict[str, Callable[..., Any]]:
    """Return the methods of a handler class that are actions, by the names of the actions.

    Raises:
        ValueError: such a method has the name of one that every handler has.
    """
    found: dict[str, Callable[..., Any]] = {}
    for attribute in dir(cls):
        function = inspect.getattr_static(cls, attribute, None)
        declared: _Declared | None = getattr(function, _MARK, None)
        if declared is None or function is None:
            continue
        if hasattr(ResourceHandler, attribute):
            raise ValueError(
                f"{cls.__name__}.{attribute} is a method that every handler has; give the action's method another name,"
                f' and say `@action("{attribute}")`'
            )
        found[declared.name or attribute] = function
    return found


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
        found = current._stored.get(_member(mark)) if mark is not None else None
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
            new._stored = _marked(new._stored or stored, mark, kept)
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


# ---------------------------------------------------------------- idempotency keys in the document


def _member(mark: Mark) -> str:
    return f"{_MARKS}{mark.id[:16]}"


_MARKS = "tornado_couch:action:"
"""How the members of a stored document begin that each remember one Idempotency-Key of an action."""


def _marked(stored: Mapping[str, Any], mark: Mark, kept: list[Any]) -> dict[str, Any]:
    """Return what is stored of a document, with the mark of one more request, and without those that are old.

    Each is a member of its own, so that those of two copies are merged like any properties that the model does not
    know: all of them are kept.
    """
    now = int(time.time())
    marks = {name: each for name, each in stored.items() if name.startswith(_MARKS) and _moment(each) is not None}
    recent = [name for name, each in marks.items() if (_moment(each) or 0) > now - _REMEMBERED_SECONDS]
    newest = sorted(recent, key=lambda name: _moment(marks[name]) or 0)[1 - _REMEMBERED :]
    others = {name: each for name, each in stored.items() if not name.startswith(_MARKS) or name in newest}
    return {**others, _member(mark): [now, mark.fingerprint, *kept]}


def _moment(mark: Any) -> int | None:
    return mark[0] if isinstance(mark, list) and len(mark) > 1 and isinstance(mark[0], int) else None
