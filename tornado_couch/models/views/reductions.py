"""Reduced views: how many documents, or which sum, for each value of a property.

    class Language(Model, type="language_v1.0", key="code", reductions={"by_scope": Count("scope")}):
        ...

What CouchDB's built-in reduce functions give: https://docs.couchdb.org/en/stable/ddocs/ddocs.html#built-in-reduce-functions
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter

from ...errors import ModelDefinitionError
from ..properties import Property

__all__ = ["Count", "Reduction", "Stats", "Sum", "check_reductions"]

# It becomes a segment of a URL; those with a leading underscore are the resource's own, such as `_bulk`.
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")


@dataclass(frozen=True)
class Reduction:
    """One value for each group of documents; see `Count`, `Sum` and `Stats`.

    Attributes:
        function: CouchDB's: `_count`, `_sum` or `_stats`.
        of: the property (its name in JSON) whose values are reduced; None for `_count`.
        by: the properties that make the groups, in order.
    """

    function: str
    of: str | None
    by: tuple[str, ...]

    def view(self, type_name: str) -> str:
        """The name of the reduction's view and design document."""
        what = f"{self.function[1:]}_of_{self.of}" if self.of else "count"
        return f"{type_name}_{what}_by_{'_and_'.join(self.by)}"


class Count(Reduction):
    """How many documents have each value, or combination of values, of these properties."""

    def __init__(self, *by: str) -> None:
        super().__init__("_count", None, by)


class Sum(Reduction):
    """The sum of a number, for each value or combination of values of `by`."""

    def __init__(self, of: str, *, by: str | tuple[str, ...]) -> None:
        super().__init__("_sum", of, (by,) if isinstance(by, str) else tuple(by))


class Stats(Reduction):
    """Sum, count, minimum, maximum and sum of squares of a number, for each value of `by`."""

    def __init__(self, of: str, *, by: str | tuple[str, ...]) -> None:
        super().__init__("_stats", of, (by,) if isinstance(by, str) else tuple(by))


def check_reductions(
    cls_name: str,
    reductions: Mapping[str, Reduction],
    properties: Mapping[str, Property],
    adapters: Mapping[str, TypeAdapter[Any]],
) -> None:
    """Refuse reductions that could not work, or would tell what clients must not see.

    Raises:
        ModelDefinitionError: saying what is wrong.
    """
    for name, each in reductions.items():
        where = f"{cls_name}: reduction {name!r}"
        if not _NAME.fullmatch(name):
            raise ModelDefinitionError(f"{where}: a name has letters, digits, - and _, and begins with a letter")
        if not each.by or len(set(each.by)) < len(each.by):
            raise ModelDefinitionError(f"{where}: name the properties to group by, each once")
        for used in (*each.by, *([each.of] if each.of else [])):
            if used not in properties:
                raise ModelDefinitionError(f"{where}: there is no property called {used!r} in JSON")
            if properties[used].secret:
                raise ModelDefinitionError(f"{where}: {used!r} is not for clients to see")
        if each.of and not _is_number(adapters[each.of]):
            raise ModelDefinitionError(f"{where}: {each.of!r} is not a number in JSON, so CouchDB cannot add it up")


def _is_number(adapter: TypeAdapter[Any]) -> bool:
    schema = adapter.json_schema()
    found = {branch.get("type") for branch in schema.get("anyOf", [schema])}
    return found <= {"integer", "number", "null"} and found != {"null"}
