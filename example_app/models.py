"""The models of the example: fruits, and the languages of ISO 639-3."""

from __future__ import annotations

from typing import Annotated, Literal

from annotated_types import Ge, Le, MaxLen, MinLen
from pydantic import Field

from tornado_couch import (
    Attachment,
    Attachments,
    Count,
    CreatedOn,
    Indexed,
    Key,
    MaxBytes,
    MaxItems,
    MediaTypes,
    Model,
    UpdatedOn,
    assigned,
)

__all__ = ["Fruit", "Language"]


class Fruit(Model, type="fruit_v1.0", key="fruit_id", indexes=[("color", "created_on")]):
    """A fruit; its key is the id that CouchDB assigns."""

    fruit_id: Key = assigned()
    name: Annotated[str, MaxLen(80)] = ""
    color: Annotated[str, MinLen(1), Indexed(), Field(examples=["green"])]
    weight: Annotated[int | None, Ge(0), Le(100_000)] = None  # grams
    photos: Annotated[Attachments, MediaTypes("image/*"), MaxBytes(5_000_000), MaxItems(10)] = assigned()
    clip: Annotated[Attachment | None, MediaTypes("audio/*", "video/*"), MaxBytes(50_000_000)] = None
    created_on: Annotated[CreatedOn, Indexed()] = assigned()
    updated_on: UpdatedOn = assigned()


class Language(
    Model,
    type="language_v1.0",
    key="alpha_3",
    unique=True,
    indexes=[("scope", "language_type")],
    reductions={"by_scope": Count("scope"), "by_scope_and_type": Count("scope", "language_type")},
):
    """A language; its key is its ISO 639-3 code, so no two documents can have the same one."""

    alpha_3: Annotated[str, Field(pattern="^[a-z]{3}$", examples=["deu"])]
    name: Annotated[str, MinLen(1), Field(examples=["German"])]
    scope: Annotated[Literal["I", "M", "S"], Indexed()]
    # Not `type`: that member of a document holds the type of its model.
    language_type: Annotated[Literal["A", "C", "E", "H", "L", "S"], Indexed()]
    alpha_2: Annotated[str | None, Field(pattern="^[a-z]{2}$")] = None
    bibliographic: str | None = None
    common_name: str | None = None
    inverted_name: str | None = None
