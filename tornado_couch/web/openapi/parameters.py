"""Describes the query strings of collections and reduced views in an API document."""

from __future__ import annotations

import itertools
from typing import Any

from ...models import Model, model_info
from ..query import filterable
from ..query.filters import equality_only
from ..resources import Resource
from .components import Components, Schema
from .operation import ApiOperation
from .schemas import addressable, property_schema

__all__ = [
    "describe_deleted",
    "describe_fields",
    "describe_filters",
    "describe_groups",
    "describe_page",
    "describe_sort",
    "key_schema",
]

_OPERATORS = {"gt": "greater than", "gte": "at least", "lt": "less than", "lte": "at most"}


def key_schema(components: Components, resource: Resource[Any]) -> Schema:
    """The schema of a document's key in its address, which is none of the names below the collection."""
    info = resource.info
    if info.key is None or info.key.generated:
        # An id cannot begin with an underscore; an address that does is another one, such as `_bulk`.
        example = "6e1295ed6c29495e54cc05947f18c8af"
        others = sorted(each for each in resource.taken if not each.startswith("_"))
        found: Schema = {"type": "string", "minLength": 1, "pattern": "^[^_]", "examples": [example]}
        return {**found, "not": {"enum": others}} if others else found
    schema = property_schema(components, resource.model, info.key.name)
    # What answers GET at such an address is described by itself; a tool that tries wrong keys would take it for a key.
    return addressable(schema, sorted(resource.taken - {"_changes"}))


def describe_page(operation: ApiOperation) -> None:
    """Describe `limit` and `cursor`."""
    resource: Resource[Any] = operation.resource
    limit = {"type": "integer", "minimum": 1, "default": resource.page_size}
    operation.query("limit", limit, f"The number of items on a page, at most {resource.max_page_size}.")
    operation.query("cursor", {"type": "string"}, "Where the page begins; take it from `next` or `prev`.")


def describe_fields(operation: ApiOperation) -> None:
    """Describe `fields`, by a pattern: a list would be repeated by clients that do not know `explode`."""
    one = "|".join(map(_literal, model_info(operation.resource.model).visible))
    schema = {"type": "string", "pattern": f"^({one})(,({one}))*$"}
    operation.query("fields", schema, "The properties to return, separated by commas.")


def _literal(name: str) -> str:
    """A pattern for a text, in JavaScript's syntax, which JSON Schema uses."""
    return "".join(f"\\{each}" if each in r"\^$.|?*+()[]{}/-" and each != "-" else each for each in name)


def describe_sort(operation: ApiOperation) -> None:
    """Describe `sort` by the orders that the indexes have."""
    orders = _orders(operation.resource.model)
    schema = {"type": "string", "enum": [*orders, *(_downward(each) for each in orders)]}
    operation.query("sort", schema, "Properties to sort by; by default the key. `-` before each reverses the order.")
    places = {"type": "string", "enum": ["first", "last"]}
    words = "Where null comes in the order of one property; by default first, and last if the order is reversed."
    operation.query("nulls", places, words)


def _orders(model: type[Model]) -> list[str]:
    """The properties that can be sorted by alone, then those that need a filter on the properties before them."""
    info, able = model_info(model), filterable(model)
    # Every order that some request can have; a schema cannot say which filters it needs.
    names = [[name] for name in able if not equality_only(model, name)]
    for index in info.indexes:
        found = index.properties
        names += [list(found[begin:end]) for begin, end in itertools.combinations(range(len(found) + 1), 2)]
    texts = dict.fromkeys(",".join(each) for each in names if all(name in able for name in each))
    return [text for text in texts if not any(equality_only(model, name) for name in text.split(","))]


def _downward(order: str) -> str:
    return ",".join(f"-{name}" for name in order.split(","))


def describe_filters(operation: ApiOperation, names: dict[str, bool], *, several: bool = True) -> None:
    """Describe the filters.

    Args:
        operation: the operation that has the filters.
        names: the properties, and whether they have ranges.
        several: whether a parameter can be repeated, to find any of its values.
    """
    model, most = operation.resource.model, operation.resource.max_values
    for name, ranges in names.items():
        schema = property_schema(operation.components, model, name)
        if several:
            values = {"type": "array", "items": schema, "minItems": 1, "maxItems": most}
            operation.query(name, values, f"Only documents whose `{name}` is one of these.", explode=True)
            listed = {**values, "description": "Separated by commas."}
            operation.query(f"{name}[in]", listed, f"The same, in one parameter: `{name}[in]=a,b`.", explode=False)
            if not equality_only(model, name):
                words = f"Only those whose `{name}` is not this; null is another value."
                operation.query(f"{name}[ne]", schema, words)
        else:
            operation.query(name, schema, f"Only documents whose `{name}` is this.")
        declared = model_info(model).properties.get(name)
        if declared is None or (declared.optional and not declared.generated and declared.stamp is None):
            operation.query(f"{name}[is]", {"type": "string", "const": "null"}, f"Only those without `{name}`.")
        for operator, words in _OPERATORS.items() if ranges else ():
            operation.query(f"{name}[{operator}]", schema, f"Only those whose `{name}` is {words} this.")
    for name, key_of in model_info(model).derived.items() if several else ():
        if key_of.kind == "prefix":
            words = f"Only those whose `{key_of.declared.name}` begins with this, letter by letter."
            operation.query(name, {"type": "string"}, words)
        elif key_of.kind == "members":
            schema = property_schema(operation.components, model, name)
            operation.query(name, schema, f"Only those whose `{key_of.declared.name}` contains this.")


def describe_groups(operation: ApiOperation) -> None:
    """Describe `or`."""
    groups = {"type": "array", "items": {"type": "string", "minLength": 1}, "minItems": 1}
    words = "Only documents that fit one of these groups; each is a query string of filters, percent-encoded."
    operation.query("or", groups, words, explode=True)


def describe_deleted(operation: ApiOperation, words: str) -> None:
    """Describe `deleted`, where the model keeps what is deleted."""
    if model_info(operation.resource.model).restorable:
        operation.query("deleted", {"type": "boolean", "default": False}, words)
