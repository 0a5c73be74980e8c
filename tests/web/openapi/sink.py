"""A service with everything that a resource can have, for programs that read its API document and try it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from annotated_types import Ge, MaxLen, MinLen
from pydantic import BaseModel, Field

from tornado_couch import (
    ActionRefused,
    AllowAny,
    Application,
    Attachments,
    Couch,
    Count,
    Indexed,
    Key,
    MaxBytes,
    MaxItems,
    MediaTypes,
    Model,
    ReadOnly,
    Reference,
    Store,
    UpdatedOn,
    assigned,
    install,
    openapi_routes,
    resource,
)
from tornado_couch.web import Event

__all__ = ["make_app", "prepare"]


class Address(BaseModel):
    city: Annotated[str, MaxLen(20), Indexed()]


class Stand(Model, type="stand_v1.0", key="name", unique=True, reductions={"by_size": Count("size")}):
    """Where things are; clients choose the names."""

    name: Annotated[str, MinLen(1), MaxLen(20)]
    label: Annotated[str, MaxLen(20), Indexed(prefix=True)] = ""
    tags: Annotated[list[Annotated[str, MaxLen(20)]], MaxLen(5), Indexed(members=True)] = Field(default_factory=list)
    address: Address | None = None
    size: Annotated[int, Ge(0), Indexed()] = 0
    state: Annotated[Literal["open", "folded"], ReadOnly()] = "open"
    updated_on: UpdatedOn


class Parcel(Model, type="parcel_v1.0", key="parcel_id"):
    """Lies on a stand, and goes with it; another stand may hold its lid."""

    parcel_id: Key
    stand_id: Annotated[str, MinLen(1), MaxLen(20), Reference(Stand, on_delete="cascade"), Indexed()]
    lid_id: Annotated[
        str | None, MinLen(1), MaxLen(20), Reference(Stand, name="lid_stand", on_delete="refuse"), Indexed()
    ] = None
    grams: int = 0
    notes: Annotated[Attachments, MediaTypes("text/plain"), MaxBytes(10_000), MaxItems(3)] = assigned()


class Fold(BaseModel):
    times: Annotated[int, Ge(1)] = 1


class Weight(BaseModel):
    grams: int
    note: str | None = None


def fold(stand: Stand, body: Fold) -> None:
    """Fold a stand."""
    if body.times > 3:
        raise ActionRefused("It cannot be folded so often.")
    stand.state = "folded"


def unfold(stand: Stand) -> Stand:
    """Unfold a stand."""
    stand.state = "open"
    return stand


def weigh(stand: Stand, body: Weight | None = None) -> Weight:
    """Weigh a stand, or say what it weighs."""
    return body or Weight(grams=stand.size)


async def fill(body: list[Annotated[str, MinLen(1), MaxLen(3)]], event: Event) -> dict[str, int]:
    """Say how many stands would be filled."""
    return {"filled": len(body)}


async def tidy() -> None:
    """Tidy up."""


def make_app(couch: Couch, database: str) -> Application:
    """Create the application."""
    store = Store(couch[database])
    actions: dict[str, Any] = {"fold": fold, "unfold": unfold, "weigh": weigh, "_fill": fill, "_tidy": tidy}
    routes = resource("/stands", Stand, store, create_by_put=True, many=["patch", "destroy"], actions=actions)
    routes += resource("/stands/{stand_id}/parcels", Parcel, store, bulk=None)
    return Application([*routes, *openapi_routes()], policy=AllowAny(), cookie_secret="x" * 32)


async def prepare(couch: Couch, database: str) -> None:
    """Install the database."""
    await install(couch, database, [Stand, Parcel])
