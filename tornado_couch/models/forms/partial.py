"""Models of stored documents that do not fit any more: with those properties that do; pure."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from ...errors import InvalidDocument
from ..classification import StoredHash
from ..properties import Property
from .fields import Fields

__all__ = ["Held", "Unfit", "check_repaired", "partial_model", "reading_partially"]

M = TypeVar("M", bound=BaseModel)


@dataclass(frozen=True)
class Held:
    """A value of a property that its validators let through once, when it came in.

    Attributes:
        value: the value in Python.
    """

    value: Any


@dataclass(frozen=True)
class Unfit:
    """What is wrong with the document that a model was read from.

    Attributes:
        error: says what is wrong.
        values: the document's properties as they are stored, in the clear, by the name in JSON.
        wrong: the attributes that could not be read, which the model does not have.
    """

    error: InvalidDocument
    values: Mapping[str, Any]
    wrong: frozenset[str]


def partial_model(
    cls: type[M],
    properties: Mapping[str, Property],
    fields: Fields,
    values: Mapping[str, Any],
    faulty: Collection[object],
) -> tuple[M, frozenset[str]]:
    """A model with those properties that can be read, and the attributes that it lacks.

    Args:
        cls: the model.
        properties: those that are read, by the name in JSON.
        fields: read single properties.
        values: what is stored, by the name in JSON.
        faulty: the names of properties that are known not to fit.
    """
    model = cls.model_construct()
    wrong = {properties[str(name)].attribute for name in faulty if name in properties}
    for name in values.keys() & properties.keys() - set(map(str, faulty)):
        attribute = properties[name].attribute
        try:
            held = values[name]
            read = held if isinstance(held, StoredHash) else fields[attribute].validate_python(held)
        except ValidationError:
            wrong.add(attribute)
        else:
            model.__dict__[attribute] = read
    for attribute in wrong:
        model.__dict__.pop(attribute, None)
    return model, frozenset(wrong)


@contextmanager
def reading_partially(unfit: Unfit | None) -> Iterator[None]:
    """Blame the document for what goes wrong because its model lacks a property.

    Raises:
        InvalidDocument: in the place of the errors that code gets that asks for the property.
    """
    try:
        yield
    except (AttributeError, TypeError) as error:
        if unfit is None:
            raise
        raise unfit.error from error


def check_repaired(model: BaseModel, unfit: Unfit) -> None:
    """Refuse to write a model before every property that did not fit was given another value.

    Raises:
        InvalidDocument: one of them was not, or the document was wrong as a whole.
    """
    if not unfit.wrong or not unfit.wrong <= model.__dict__.keys():
        raise unfit.error
