"""Models: what their constructors take. A line that ends with `# wrong` is one that both checkers refuse."""

# pyright: strict

from __future__ import annotations

from datetime import datetime
from typing import Annotated, assert_type

from pydantic import BaseModel, Field

from tornado_couch import CreatedOn, Indexed, Key, Model, ReadOnly, Timestamp, UpdatedOn, assigned


class Weight(BaseModel):
    grams: int


class Fruit(Model, type="fruit_v1.0", key="fruit_id"):
    fruit_id: Key = assigned()
    color: Annotated[str, Indexed()]
    weight: Weight | None = None
    seeds: int = Field(default=3, ge=0)
    picked_on: Timestamp | None = None
    owner: Annotated[str | None, ReadOnly()] = None
    tags: list[str] = Field(default_factory=list)
    created_on: CreatedOn = assigned()
    updated_on: Annotated[UpdatedOn, Indexed()] = assigned()


fruit = Fruit(color="green")
Fruit(color="green", weight=Weight(grams=1), seeds=2, owner="ann", tags=["sour"])
Fruit(colour="green")  # wrong
Fruit(color="green", size=1)  # wrong
Fruit(color=1)  # wrong
Fruit()  # wrong
Fruit("green")  # wrong
Fruit(color="green", weight=1)  # wrong

assert_type(fruit.fruit_id, str)
assert_type(fruit.color, str)
assert_type(fruit.weight, Weight | None)
assert_type(fruit.created_on, datetime)
assert_type(fruit.updated_on, datetime)
fruit.color = "red"
fruit.color = 1  # wrong
fruit.colour = "red"  # wrong
