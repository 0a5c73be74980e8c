"""The models that the tests of the web layer share."""

from __future__ import annotations

from typing import Annotated

from annotated_types import Ge, MinLen
from pydantic import Field

from tornado_couch import CreatedOn, Indexed, Key, Model, ReadOnly, Timestamp, UpdatedOn, WriteOnly

__all__ = ["Fruit", "Note", "Person", "Place", "Stand"]


class Fruit(Model, type="fruit_v1.0", key="fruit_id"):
    fruit_id: Key
    color: Annotated[str, MinLen(1), Indexed()]
    weight: Annotated[int | None, Ge(0)] = None
    tags: list[str] = Field(default_factory=list)
    origin: dict[str, str] = Field(default_factory=dict)
    pin: Annotated[str | None, WriteOnly()] = None
    grade: Annotated[int, ReadOnly()] = 0
    ripe_on: Timestamp | None = None
    created_on: Annotated[CreatedOn, Indexed()]
    updated_on: UpdatedOn


class Place(Model, type="place_v1.0", key="name", unique=True):
    name: str
    size: Annotated[int, Indexed()] = 0


class Stand(Model, type="stand_v1.0", key="name", unique=True):
    name: str
    size: Annotated[int, Indexed()] = 0
    owner: Annotated[str | None, ReadOnly(), Indexed()] = None


class Note(Model, type="note_v1.0"):
    text: str


class Person(Model, type="person_v1.0", key="email"):
    """A model whose key only a view can tell."""

    email: str
    age: int = 0


