"""Handlers: hooks take and return the model. A line that ends with `# wrong` is one that both checkers refuse."""

# pyright: strict

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, assert_type

from tornado_couch import (
    AllowAny,
    Application,
    CollectionHandler,
    CreateMixin,
    Database,
    DestroyMixin,
    DocumentHandler,
    Hooks,
    Key,
    ListMixin,
    Model,
    Page,
    PatchMixin,
    ReplaceMixin,
    ResourceHandler,
    RetrieveMixin,
    Store,
    assigned,
    resource,
)
from tornado_couch.store import Expectation
from tornado_couch.web import Event
from tornado_couch.web.query import ListQuery


class Fruit(Model, type="fruit_v1.0", key="fruit_id"):
    fruit_id: Key = assigned()
    color: str


class FruitsHandler(ListMixin[Fruit], CreateMixin[Fruit]):
    async def perform_create(self, fruit: Fruit) -> Fruit:
        fruit.color = fruit.color.lower()
        fruit.paint()  # wrong
        created = await super().perform_create(fruit)
        assert_type(created, Fruit)
        return created

    async def perform_create_many(self, models: Sequence[Fruit]) -> list[Fruit | Exception]:
        return await super().perform_create_many(models)

    async def perform_list(self, query: ListQuery) -> Page[Fruit]:
        page = await super().perform_list(query)
        assert_type(page.items, list[Fruit])
        return page

    def get_initial(self) -> dict[str, Any]:
        return {"color": "green"}

    def show(self, model: Fruit) -> dict[str, Any]:
        return {**super().show(model), "capitals": model.color.upper()}


class Wrong(CreateMixin[Fruit]):
    async def perform_create(self, fruit: Fruit) -> str:  # wrong
        return fruit.color


class FruitHandler(RetrieveMixin[Fruit], ReplaceMixin[Fruit], PatchMixin[Fruit], DestroyMixin[Fruit]):
    async def perform_retrieve(self, key: Any) -> Fruit:
        fruit = await super().perform_retrieve(key)
        assert_type(fruit, Fruit)
        return fruit

    async def perform_replace(self, key: Any, body: dict[str, Any], expected: Expectation | None) -> Fruit:
        return await super().perform_replace(key, body, expected)

    async def perform_patch(
        self, key: Any, change: Callable[[Fruit], Fruit], expected: Expectation | None
    ) -> Fruit:
        return await super().perform_patch(key, change, expected)

    async def perform_destroy(self, key: Any, expected: Expectation | None) -> Fruit:
        return await super().perform_destroy(key, expected)


class Whole(CollectionHandler[Fruit]):
    async def perform_create(self, fruit: Fruit) -> Fruit:
        assert_type(await self.store.get(Fruit, "a"), Fruit)
        assert_type(self.resource.model, type[Fruit])
        return await super().perform_create(fruit)


class WholeDocument(DocumentHandler[Fruit]):
    async def perform_destroy(self, key: Any, expected: Expectation | None) -> Fruit:
        return await super().perform_destroy(key, expected)


class OfAnyModel(ListMixin, ResourceHandler):
    """No model is named, so that of its documents nothing is known."""


class Watch(Hooks):
    async def before(self, event: Event, model: Any = None, current: Any = None) -> Model | None:
        return await super().before(event, model, current)


def application(database: Database) -> Application:
    routes = resource("/fruits", Fruit, Store(database), collection=FruitsHandler, document=FruitHandler, hooks=Watch())
    other = resource("/others", Fruit, Store(database), collection=OfAnyModel)
    return Application([*routes, *other], policy=AllowAny())
