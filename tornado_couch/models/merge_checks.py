"""Which merge rules are refused when a class is defined; pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import PydanticUserError, TypeAdapter
from pydantic.fields import FieldInfo

from ..errors import ModelDefinitionError
from .merge import Merge, MergeRule
from .properties import Property

__all__ = ["check_merge_rules"]

_SORTED_FORMATS = {"date", "date-time"}  # as text they sort as what they stand for


def check_merge_rules(
    cls_name: str,
    properties: Mapping[str, Property],
    fields: Mapping[str, FieldInfo],
    adapters: Mapping[str, TypeAdapter[Any]],
    key: Property | None,
) -> None:
    """Refuse rules that could not do what they say.

    Args:
        cls_name: for the messages.
        properties: the model's.
        fields: pydantic's, by attribute.
        adapters: by the name in JSON.
        key: the key property.

    Raises:
        ModelDefinitionError: saying what is wrong.
    """
    for name, each in properties.items():
        rules = [marker for marker in fields[each.attribute].metadata if isinstance(marker, MergeRule)]
        fault = _fault(each, rules, adapters, key) if rules else ""
        if fault:
            raise ModelDefinitionError(f"{cls_name}: property {name!r} {fault}")


def _fault(
    declared: Property, rules: list[MergeRule], adapters: Mapping[str, TypeAdapter[Any]], key: Property | None
) -> str:
    rule = rules[0]
    if len(rules) > 1:
        return "has two merge rules"
    if declared == key and rule is not Merge.immutable:
        return "is the key, which cannot change; there is only Merge.immutable for it"
    if declared.protected and not rule.opaque:
        return (
            f"is protected, and {rule!r} would have to protect the merged value anew, differently at each place that"
            " merges; there are Merge.latest(), Merge.immutable and Merge.manual"
        )
    if rule is Merge.text and not Merge.text_is_installed():
        return "needs a package to merge text: pip install 'tornado-couch[text]'"
    if rule.by is not None:
        return _unfit_order(rule.by, adapters)
    if rule.kinds is not None and not _kinds(adapters[declared.name]) <= rule.kinds | {"null"}:
        return f"is no {' or '.join(sorted(rule.kinds))} in JSON, so {rule!r} has nothing to work on"
    return ""


def _unfit_order(by: str, adapters: Mapping[str, TypeAdapter[Any]]) -> str:
    if by not in adapters:
        return f"is merged by {by!r}, and there is no such property in JSON"
    # The schema of what is taken: a time stamp's own serializer says no more than that it is text.
    branches = [each for each in _branches(adapters[by], "validation") if each.get("type") != "null"]
    if all(each.get("type") in ("integer", "number") or each.get("format") in _SORTED_FORMATS for each in branches):
        return ""
    return f"is merged by {by!r}, which is neither a time stamp, a date nor a number"


def _kinds(adapter: TypeAdapter[Any]) -> set[str]:
    return {str(each.get("type")) for each in _branches(adapter, "serialization")}


def _branches(adapter: TypeAdapter[Any], mode: Literal["serialization", "validation"]) -> list[dict[str, Any]]:
    """The alternatives of a property's JSON Schema; one of no type where there is no schema, or none is said."""
    try:
        schema = adapter.json_schema(mode=mode)
    except PydanticUserError:  # a type that JSON Schema has no words for
        return [{}]
    definitions = schema.get("$defs", {})
    found, todo = [], [schema]
    while todo:
        each = todo.pop()
        if "$ref" in each:
            todo.append(definitions[each["$ref"].rpartition("/")[2]])
        elif "anyOf" in each or "oneOf" in each:
            todo += each.get("anyOf") or each["oneOf"]
        else:
            found.append(each)
    return found
