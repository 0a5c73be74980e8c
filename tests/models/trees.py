"""A model with every kind of property, and right and wrong values for them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import Enum
from typing import Annotated, Any, Literal

from annotated_types import Ge, Gt, Len, Lt, MaxLen, MinLen, MultipleOf
from pydantic import BaseModel, Field

from tornado_couch import CreatedOn, Encrypted, Hashed, Indexed, Key, Model, UpdatedOn
from tornado_couch.models import Merge, format_timestamp
from tornado_couch.security import Sha3Hasher

__all__ = ["NOW", "TREE", "VALUES", "Bird", "Branch", "Cat", "Size", "Tree"]


class Size(Enum):
    SMALL = "s"
    LARGE = "l"


class Branch(BaseModel):
    length: Annotated[float, Gt(0), Lt(100)]
    twigs: list[Branch] = Field(default_factory=list)


class Cat(BaseModel):
    kind: Literal["cat"]
    lives: Annotated[int, Ge(0)]


class Bird(BaseModel, extra="forbid"):
    kind: Literal["bird"]
    song: str


class Tree(Model, type="tree_v2.3", key="tree_id"):
    tree_id: Key
    name: Annotated[str, MinLen(1), MaxLen(3), Indexed()]
    code: Annotated[str | None, Field(pattern=r"^[a-z]\d{2}$")] = None
    size: Size = Size.SMALL
    height: Annotated[int, Ge(0), MultipleOf(5)] | None = None
    branches: Annotated[list[Branch], Len(0, 2)] = Field(default_factory=list)
    rings: Annotated[set[int], MaxLen(3)] = Field(default_factory=set)
    place: tuple[float, float] | None = None
    labels: dict[Annotated[str, Field(pattern="^[a-z]+$")], str] = Field(default_factory=dict)
    guest: Annotated[Cat | Bird, Field(discriminator="kind")] | None = None
    price: Decimal = Decimal("1.50")
    resting: timedelta | None = None
    seen_on: datetime | None = None
    proto: Annotated[int, Field(alias="constructor")] = 0
    planted_by: Annotated[str | None, Merge.immutable] = None
    pin: Annotated[str | None, Hashed("sha3-512")] = None
    owner: Annotated[str | None, Encrypted(searchable=True)] = None
    created_on: CreatedOn
    updated_on: UpdatedOn


NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
TREE: dict[str, Any] = {
    "_id": "t1",
    "_rev": "1-967a00dff5e02add41819138abb3284d",
    "type": "tree_v2.3",
    "tree_id": "t1",
    "name": "oak",
    "created_on": format_timestamp(NOW),
    "updated_on": format_timestamp(NOW),
}

# What may stand in the place of each property: right and wrong, in about equal parts.
VALUES: dict[str, list[Any]] = {
    "name": ["oak", "😀😀😀", "", "long", 1, None],
    "code": ["a12", "a١٢", "a1", "a12\n", "A12", None, 12],
    "size": ["s", "l", "m", None],
    "height": [0, 5, 10.0, 7, -5, "5", None],
    "branches": [
        [],
        [{"length": 1, "twigs": [{"length": 2}]}, {"length": 0.5, "x": 1}],
        [{"length": 0}],
        [{"length": 100}],
        [{"length": 1, "twigs": [{"length": "2"}]}],
        [{"length": 1}] * 3,
        [{}],
    ],
    "rings": [[], [1, 2, 3.0], [1, 1.0], [1, 2, 3, 4], [2.5]],
    "place": [[1, 2.5], [1], [1, 2, 3], None],
    "labels": [{}, {"a": "b"}, {"a": 1}, {"__proto__": "x"}],
    "guest": [
        {"kind": "cat", "lives": 9, "x": 1},
        {"kind": "bird", "song": ""},
        {"kind": "bird", "song": "", "x": 1},
        {},
    ],
    "price": ["1.5", 1.5, None],
    "seen_on": [format_timestamp(NOW), "2026-01-02T03:04:05Z", None, 0],
    "constructor": [1, "1"],
    "pin": [Sha3Hasher().hash("1234"), "1234", None],
    "owner": ["encrypted.v1:xyz", "ann@example.org", None],
    "owner_blind_index": ["x", 1],
    "tornado_couch_write": ["x"],
    "_attachments": [{}],
    "unknown": [1],
    "toString": [1],
    "created_on": [format_timestamp(NOW), "2026-01-02 03:04:05", None],
}
