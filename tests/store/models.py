"""The models that the store's tests share."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from tornado_couch import CreatedOn, Database, Indexed, Key, Model, UpdatedOn
from tornado_couch.errors import Conflict

__all__ = ["Contended", "Fruit", "Note", "Person", "Place"]


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


class Contended:
    """A database in which somebody else is always faster.

    Attributes:
        puts: how many documents were to be written.
    """

    def __init__(self, database: Database) -> None:
        self.database = database
        self.puts = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.database, name)

    async def put(self, document: Any) -> Any:
        self.puts += 1
        raise Conflict(409, "conflict", "Document update conflict.")
