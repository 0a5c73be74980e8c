"""The models that the store's tests share."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from tornado_couch import CreatedOn, Indexed, Key, Model, UpdatedOn


class Fruit(Model, type="fruit_v1.0", key="fruit_id"):
    fruit_id: Key
    color: Annotated[str, Indexed()] = "red"
    picks: list[int] = Field(default_factory=list)
    more: dict[str, Any] = Field(default_factory=dict)
    created_on: CreatedOn
    updated_on: UpdatedOn


class Person(Model, type="person_v1.0", key="email"):
    """A model whose key only a view can tell."""

    email: str
    age: int = 0


class Place(Model, type="place_v1.0", key="name", unique=True):
    """A model whose key makes the document's id."""

    name: str
    size: int = 0


class Note(Model, type="note_v1.0"):
    """A model without a key."""

    text: str
