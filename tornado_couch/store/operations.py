"""The types of functions that a write takes, and the classes that describe one write."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from ..errors import InvalidDocument, RevisionMismatch
from ..models import Attachment, Model, check_repaired, reading_partially

__all__ = [
    "Change",
    "Check",
    "Creation",
    "Deletion",
    "Expectation",
    "FileExpectation",
    "Operation",
    "Update",
    "called",
    "changed",
    "expect",
    "partially",
]

M = TypeVar("M", bound=Model)

Change = Callable[[M], "M | Awaitable[M | None] | None"]
"""A function that changes the latest model in place or returns another one. It is called again at each try."""

Check = Callable[[M], "Awaitable[Any] | None"]
"""A function that looks at the latest model and raises an error to stop the call, for instance to deny access."""

Expectation = Callable[[str], bool]
"""A function that says whether the current revision is one that the caller expects."""


FileExpectation = Callable[[Attachment | None], bool]
"""A function that says whether the file that there is now, or None, is what the caller expects."""


@dataclass(frozen=True)
class Creation(Generic[M]):
    """Store a new model, as `Store.create` does.

    Attributes:
        model: the new model.
        check: called with the deleted model that the new one would replace; see `Store.create`.
    """

    model: M
    check: Check[M] | None = None

    @property
    def key(self) -> Any:
        """The model's key, if it has one already."""
        return self.model._key


@dataclass(frozen=True)
class Update(Generic[M]):
    """Change the latest model with a key, as `Store.update` does.

    Attributes:
        key: the key of the model.
        change: a function that changes the latest model.
        check: called with the latest model before `change`; it can raise an error to stop the write.
        expected: says whether the current revision is the one that the caller means.
        absent: called if the document does not exist; without it the outcome is `DocumentNotFound`.
    """

    key: Any
    change: Change[M]
    check: Check[M] | None = None
    expected: Expectation | None = None
    absent: Callable[[], Awaitable[M]] | None = None


@dataclass(frozen=True)
class Deletion(Generic[M]):
    """Delete the model with a key, as `Store.delete` does.

    Attributes:
        key: the key of the model.
        check: called with the latest model first; it can raise an error to stop the deletion.
        expected: says whether the current revision is the one that the caller means.
        confirm: called with the latest model last; it can raise an error as well.
    """

    key: Any
    check: Check[M] | None = None
    expected: Expectation | None = None
    confirm: Check[M] | None = None


Operation = Creation[M] | Update[M] | Deletion[M]


async def partially(read: Awaitable[M]) -> M:
    """What is read, or as much of it as fits the model: enough to replace or delete the document.

    Raises:
        InvalidDocument: nothing of it can be read, since it is of a version that is not known.
    """
    try:
        return await read
    except InvalidDocument as error:
        if error.partial is None:
            raise
        model: M = error.partial
        return model


async def called(check: Check[M] | None, model: M) -> None:
    """Call a check, if there is one; what it raises is passed on."""
    with reading_partially(model._unfit):
        result = check(model) if check else None
        if inspect.isawaitable(result):
            await result


def expect(expected: Expectation | None, current: Model) -> None:
    """Refuse a revision that the caller does not expect.

    Raises:
        RevisionMismatch: the document has another revision.
    """
    if expected is not None and not expected(current._rev or ""):
        raise RevisionMismatch("the document has another revision", current._rev)


async def changed(change: Change[M], current: M) -> M:
    """Apply a change to the current model; the result keeps its identity.

    Raises:
        ValueError: the change gave the model another key.
        InvalidDocument: the stored document does not fit the model, and the change did not mend that.
    """
    with reading_partially(current._unfit):
        identity, key, stored = (current._id, current._rev), current._key, current._stored
        made = change(current)
        result = (await made if inspect.isawaitable(made) else made) or current
    if result._unfit is not None:
        check_repaired(result, result._unfit)
        result._unfit = None
    if result._key != key:
        raise ValueError("a change cannot give a document another key; create another document")
    result._id, result._rev = identity
    result._stored = result._stored or stored  # properties that the model does not know are kept
    return result
