"""What GET shows can be sent back: over the wire, for every kind of type that a property can have."""

from __future__ import annotations

import json
from typing import Annotated, Any

import pytest
from hypothesis import Phase, find, settings
from hypothesis.errors import NoSuchExample
from pydantic import BaseModel, ConfigDict, Field, FutureDate, ValidationError, computed_field

from tests.models.test_law import CONTAINERS, SCALARS, UNIONS, Kind, as_json, unordered
from tests.web.conftest import Client, Serve, application
from tornado_couch import Database, Indexed, Model, Store, install, resource
from tornado_couch.errors import ModelDefinitionError
from tornado_couch.models import representation

QUICKLY = settings(max_examples=12, database=None, phases=[Phase.generate])
MERGE_PATCH = "application/merge-patch+json"
KINDS = {"scalars": SCALARS, "containers": CONTAINERS, "unions": UNIONS}


def declared(annotation: Any) -> type[Model] | None:
    """A class with two properties of a kind, one of them in a list; None where it is refused."""
    namespace = {
        "__annotations__": {"x": annotation, "many": list[annotation], "note": str},
        "many": Field(default_factory=list),
        "note": "",
        "__module__": __name__,
    }
    try:
        return type("Held", (Model,), namespace, type="held_v1.0")  # type: ignore[return-value]
    except ModelDefinitionError:
        return None


def bodies(made: type[Model], kind: Kind) -> list[Any]:
    """Bodies as a client sends them: of some value of the type, and of one that is not empty or zero."""
    found: list[Any] = []
    for wanted in (lambda _: True, bool):
        try:
            value = find(kind[1], wanted, settings=QUICKLY)
            model = made.model_validate({"x": value, "many": [value]})
        except (NoSuchExample, ValidationError):
            continue
        found.append(as_json(representation(model)))
    return found


@pytest.mark.parametrize("group", KINDS)
async def test_what_is_shown_can_be_sent_back(database: Database, serve: Serve, group: str) -> None:
    """POST, GET, PUT of what GET showed, PATCH of another property: the value stays what it was."""
    store = Store(database)
    made = {name: declared(kind[0]) for name, kind in KINDS[group].items()}
    mounted = {f"/held{number}": (name, cls) for number, (name, cls) in enumerate(made.items()) if cls is not None}
    ask = await serve(
        application(store, *[each for path, (_, cls) in mounted.items() for each in resource(path, cls, store)])
    )
    ask.described = None  # its validator reads no patterns of Rust's, which pydantic has
    assert len(mounted) > len(made) / 2
    for path, (name, cls) in mounted.items():
        for body in bodies(cls, KINDS[group][name]):
            await goes_round(ask, path, body, name)


def without(value: Any, computed: str) -> Any:
    """A body without a computed member, which is read-only: a POST does not take it, and a PUT ignores it."""
    if isinstance(value, dict):
        return {name: without(each, computed) for name, each in value.items() if name != computed}
    return [without(each, computed) for each in value] if isinstance(value, list) else value


async def goes_round(ask: Client, path: str, body: Any, name: str) -> None:
    """One document of one kind."""
    created = await ask("POST", path, without(body, "twice"))
    assert created.status == 201, (name, body, created.text)
    where = created.headers["Location"]
    shown = (await ask("GET", where)).json
    assert unordered(shown) == unordered(body), name
    replaced = await ask("PUT", where, data=json.dumps(shown).encode(), Content_Type="application/json")
    assert (replaced.status, unordered(replaced.json)) == (200, unordered(shown)), (name, replaced.text)
    patched = await ask("PATCH", where, data=b'{"note": "b"}', Content_Type="application/merge-patch+json")
    assert (patched.status, unordered(patched.json)) == (200, unordered({**shown, "note": "b"})), (name, patched.text)


class Due(Model, type="due_v1.0"):
    day: Annotated[FutureDate, Indexed()]
    note: str = ""


async def test_a_day_that_has_passed_is_found_and_can_be_kept(database: Database, serve: Serve) -> None:
    """A type that asks the clock judges what comes in, and neither what is stored nor what a query looks for."""
    await install(database.server, database.name, [Due])
    store = Store(database)
    await database.put({"_id": "old", "type": "due_v1.0", "day": "2020-01-01", "note": ""})
    ask = await serve(application(store, *resource("/dues", Due, store)))
    shown = (await ask("GET", "/dues/old")).json
    assert shown == {"day": "2020-01-01", "note": ""}
    assert [each["day"] for each in (await ask("GET", "/dues?day=2020-01-01")).json["items"]] == ["2020-01-01"]
    assert (await ask("PUT", "/dues/old", shown)).status == 200
    assert (await ask("PATCH", "/dues/old", data=b'{"note": "b"}', Content_Type=MERGE_PATCH)).json == {
        "day": "2020-01-01",
        "note": "b",
    }
    assert (await ask("POST", "/dues", {"day": "2020-01-01"})).status == 422


class Priced(BaseModel):
    model_config = ConfigDict(extra="forbid")
    net: int

    @computed_field  # type: ignore[prop-decorator]
    @property
    def gross(self) -> int:
        return self.net * 2


class Basket(Model, type="basket_v1.0"):
    lines: list[Priced]
    note: str = ""


async def test_what_a_strict_nested_model_computes_can_be_sent_back(database: Database, serve: Serve) -> None:
    """It was shown, so a PUT has it; what is unknown is still refused."""
    store = Store(database)
    ask = await serve(application(store, *resource("/baskets", Basket, store)))
    where = (await ask("POST", "/baskets", {"lines": [{"net": 1}, {"net": 2}]})).headers["Location"]
    shown = (await ask("GET", where)).json
    assert shown["lines"] == [{"net": 1, "gross": 2}, {"net": 2, "gross": 4}]
    assert (await ask("PUT", where, shown)).json == shown
    assert (await ask("PATCH", where, data=b'{"note": "b"}', Content_Type=MERGE_PATCH)).json == {**shown, "note": "b"}
    wrong = await ask("PUT", where, {"lines": [{"net": 1, "gross": 2, "tax": 3}]})
    assert [each["pointer"] for each in wrong.json["errors"]] == ["/lines/0/tax"]
