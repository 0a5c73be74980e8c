"""The models of the measured service: fruits, found by id, and places, found by a key of their own."""

from __future__ import annotations

from typing import Annotated

from annotated_types import MaxLen, MinLen

from tornado_couch import CreatedOn, Encrypted, Indexed, Key, Model, UpdatedOn, assigned

__all__ = ["Fruit", "Place", "SecretFruit"]


class Fruit(Model, type="fruit_v1.0", key="fruit_id"):
    """A document of about 350 bytes, as is usual in practice."""

    fruit_id: Key = assigned()
    color: Annotated[str, MinLen(1), MaxLen(40), Indexed()]
    notes: Annotated[str, MaxLen(2_000_000)] = ""
    weight: int = 0
    created_on: CreatedOn = assigned()
    updated_on: UpdatedOn = assigned()


class Place(Model, type="place_v1.0", key="code"):
    """A document whose key is not its id."""

    code: Annotated[str, MinLen(1), MaxLen(40)]
    color: Annotated[str, MinLen(1), MaxLen(40)]
    notes: Annotated[str, MaxLen(2_000_000)] = ""
    weight: int = 0
    created_on: CreatedOn = assigned()
    updated_on: UpdatedOn = assigned()


class SecretFruit(Model, type="secretfruit_v1.0", key="fruit_id"):
    """A fruit with one encrypted property."""

    fruit_id: Key = assigned()
    color: Annotated[str, MinLen(1), MaxLen(40), Indexed()]
    notes: Annotated[str | None, MaxLen(2_000_000), Encrypted()] = None
    weight: int = 0
    created_on: CreatedOn = assigned()
    updated_on: UpdatedOn = assigned()
