"""Reduced views as read-only resources: `GET /v1.0/languages/by_scope` gives the counts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...errors import NoIndex
from ...models import Model, Reduction, model_info
from ...store import Groups, Query, reduced
from ..handler import ResourceHandler
from ..openapi.descriptions import describe_reading
from ..openapi.operation import ApiOperation
from ..openapi.parameters import describe_filters, describe_page
from ..problems import Problem
from ..query import (
    Cursor,
    FilterLimits,
    decode_names,
    decode_parameter,
    has_ranges,
    page_link,
    parse_filters,
    parse_limit,
)
from ..resources import Resource

__all__ = ["ReductionHandler"]

_OWN = ("limit", "cursor", "level")


class ReductionHandler(ResourceHandler):
    """GET of a reduced view: `{"items": [{"key": …, "value": …}]}`, in CouchDB's order of keys.

    It takes `limit` and `cursor` as a collection does, filters on the first of the properties that it is grouped by,
    and `level`, the number of properties to group by: by default all, and 0 for a single value of everything.
    """

    def initialize(self, resource: Resource[Any], name: str = "") -> None:
        """Store the route's options."""
        super().initialize(resource)
        self.name = name

    @property
    def reduction(self) -> Reduction:
        """The reduction that the model declares under the name in the URL."""
        return self.resource.info.reductions[self.name]

    async def reduce(self) -> None:
        """Answer with a page of groups."""
        given = decode_names(self.request.query_arguments)
        own = {name: decode_parameter(name, given[name]) for name in _OWN if name in given}
        filters = {name: values for name, values in given.items() if name not in _OWN}
        query, level = self.get_query(filters), self._level(own.get("level"))
        limit = parse_limit(own.get("limit"), self.resource.page_size, self.resource.max_page_size)
        scope = f"{self._path} {level} {sorted(query.among.items())!r} {sorted(query.ranges.items())!r}"
        start = self.cursors().decode(own.pop("cursor"), scope).key if "cursor" in own else None
        groups = await self._groups(query, level, limit, start)
        body: dict[str, Any] = {"items": [group._asdict() for group in groups.items]}
        if groups.last is not None:
            cursor = self.cursors().encode(Cursor(groups.last, ""), scope)
            texts = [(name, each.decode()) for name, values in filters.items() for each in values]
            body["next"] = page_link(self.prefix + self._path, [*own.items(), *texts], cursor)
            self.set_header("Link", f'<{body["next"]}>; rel="next"')
        await self.answers.items(body)

    @property
    def _path(self) -> str:
        return f"{self.resource.path}/{self.name}"

    async def _groups(self, query: Query, level: int, limit: int, start: list[Any] | None) -> Groups:
        try:
            return await self.perform_reduce(query, level, limit, start)
        except NoIndex as error:
            parameter = next(iter([*query.among, *query.ranges]), "")
            raise Problem.of("no-index", f"{str(error).capitalize()}.", parameter=parameter) from None

    async def perform_reduce(self, query: Query, level: int, limit: int, start: list[Any] | None, /) -> Groups:
        """Read the groups."""
        database, model = self.resource.store.database, self.resource.model
        return await reduced(database, model, self.name, query, level=level, limit=limit, start=start)

    def get_query(self, filters: Mapping[str, list[bytes]]) -> Query:
        """Return the query that selects the groups.

        Raises:
            Problem: 400; 403, the policy limits the caller's lists, and a reduced view cannot be limited.
        """
        if self.policy.judges or self.restriction() is not None:
            raise Problem(403, detail="This counts documents of other users.")
        model: type[Model] = self.resource.model
        names = {name: has_ranges(model, name) for name in self.reduction.by}
        limits = FilterLimits(self.resource.max_filters, self.resource.max_values)
        found = parse_filters(model, filters, names, [*_OWN, *names], limits)
        if found.excluded or found.prefixes or not found.among.keys() <= names.keys():
            detail = "The groups of a reduction can be chosen by equality and by ranges."
            raise Problem.of("bad-parameter", detail, parameter=next(iter(filters)))
        for name, values in found.among.items():
            if len(values) > 1:
                raise Problem.of("bad-parameter", f"`{name}` can be given only once.", parameter=name)
        for name, value in self.resource.under.items():  # the first that it is grouped by
            if name in found.among or name in found.ranges:
                raise Problem.of("bad-parameter", f"The address already says `{name}`.", parameter=name)
            found = found.restricted(name, value)
        return found

    def _level(self, text: str | None) -> int:
        most = len(self.reduction.by)
        if text is None:
            return most
        if text not in map(str, range(most + 1)):
            raise Problem.of("bad-parameter", f"`level` must be 0 to {most}.", parameter="level")
        return int(text)

    @staticmethod
    def describe_reduce(operation: ApiOperation) -> None:
        """Describe GET of a reduced view."""
        reduction: Reduction = model_info(operation.resource.model).reductions[operation.target["name"]]
        words = f"{reduction.function[1:].capitalize()} by {' and '.join(reduction.by)}"
        operation.says(words, "One value for each group of documents.")
        describe_page(operation)
        levels = {"type": "integer", "minimum": 0, "maximum": len(reduction.by), "default": len(reduction.by)}
        operation.query("level", levels, "The number of properties to group by; 0 for one value of everything.")
        names = {name: has_ranges(operation.resource.model, name) for name in reduction.by}
        describe_filters(operation, names, several=False)
        suffix = "".join(each.capitalize() for each in operation.target["name"].replace("-", "_").split("_"))
        schema = operation.of_model().other(suffix, lambda: _groups_schema(reduction))
        describe_reading(operation, "A page of groups, in the order of their keys.", schema, "Link")
        operation.problem("no-index")


def _groups_schema(reduction: Reduction) -> dict[str, Any]:
    stats = {name: {"type": "number"} for name in ("sum", "count", "min", "max", "sumsqr")}
    value: dict[str, Any] = {"type": "integer" if reduction.function == "_count" else "number"}
    if reduction.function == "_stats":
        value = {"type": "object", "required": list(stats), "properties": stats}
    group = {
        "type": "object",
        "required": ["key", "value"],
        "properties": {"key": {"description": f"The values of {', '.join(reduction.by)}."}, "value": value},
    }
    return {
        "type": "object",
        "required": ["items"],
        "properties": {
            "items": {"type": "array", "items": group},
            "next": {"type": "string", "format": "uri-reference", "description": "The page after this one, if any."},
        },
    }
