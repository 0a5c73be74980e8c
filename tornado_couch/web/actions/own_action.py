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

import inspect
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar, get_args, get_type_hints, overload

from pydantic import BaseModel, TypeAdapter

from ...models import Model, ValueSchema
from ..action_table import JSON, OF_ONE, Action
from ..handler import ResourceHandler

__all__ = ["OwnAction", "action", "declared_actions"]

F = TypeVar("F", bound=Callable[..., Any])

_MARK = "__tornado_couch_action__"


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
        if of_one and (not parameters or parameters[0].name in ("body", "event")):
            raise ValueError(
                f"the action {where}() must take the document as its first argument; if it is one of the collection,"
                f" call it {'_' + name!r}"
            )
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
