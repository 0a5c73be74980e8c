"""The design documents that a model needs; pure.

One design document for each index and each reduction, each with a single view of the same name, so that
changing one leaves the others built. Every view counts its rows by a reduce function, so whoever wants the
rows has to say `reduce=false`.
"""

from __future__ import annotations

import json
import re
from typing import Any

from .model import Model, ModelInfo, model_info
from .versions import DELETED_PROPERTY, VERSION_PROPERTY
from .views.indexes import Index
from .views.partitions import partition_view
from .views.reductions import Reduction

__all__ = [
    "CONFLICTS_VIEW",
    "collection_view",
    "conflicts_design_document",
    "deleted_view",
    "design_documents",
    "reduction_view",
]

CONFLICTS_VIEW = "conflicts"
"""The view of all documents that are in conflict, and the name of its design document."""

# `emit` for documents of every version of the type: an upgrade must not empty the index. Properties
# are looked up as own ones, so that `constructor` or `__proto__` are names like any other. A document
# from before a property was added has it by default when it is read, and so in the index, too.
_MAP = """function (doc) {{
  var prefix = {prefix};{helpers}
  function value(name, otherwise) {{
    return Object.prototype.hasOwnProperty.call(doc, name) ? doc[name] : otherwise;
  }}
  if (typeof doc.type === "string" && doc.type.slice(0, prefix.length) === prefix
      && /^[0-9]+\\.[0-9]+$/.test(doc.type.slice(prefix.length)){condition}) {{
    {emits}
  }}
}}"""

# A map function is given `_conflicts`, which has no deleted leaves: they are not a conflict.
_CONFLICTS_MAP = """function (doc) {
  if (doc._conflicts) {
    emit(typeof doc.type === "string" ? doc.type : null, null);
  }
}"""


def collection_view(cls: type[Model]) -> str:
    """The view that holds each document of the model once, by key."""
    return model_info(cls).indexes[0].view


def deleted_view(cls: type[Model]) -> str:
    """The view of the documents that are marked as deleted: keys are the name of an indexed property and its value."""
    return f"{model_info(cls).type.name}_deleted"


def reduction_view(cls: type[Model], name: str) -> str:
    """The view that a reduction is read from: of its own, or that of an indexed property."""
    info = model_info(cls)
    return _view_of(info, info.reductions[name])


def _view_of(info: ModelInfo, reduction: Reduction) -> str:
    if reduction.function == "_count":  # every index counts by itself
        for index in info.indexes:
            if index.properties == reduction.by and not index.composite:
                return index.view
    return reduction.view(info.type.name)


def design_documents(cls: type[Model]) -> list[dict[str, Any]]:
    """The design documents that the model's indexes and reductions need, without revisions."""
    info = model_info(cls)
    found = {each.view: _index_document(info, each) for each in info.indexes}
    if info.soft_delete:
        found[deleted_view(cls)] = _deleted_document(info, deleted_view(cls))
    for each in info.reductions.values():
        view = _view_of(info, each)
        if view not in found:
            found[view] = _reduction_document(info, each, view)
    if info.partition:
        twins = [_in_partition(found[each.view]) for each in info.indexes]
        return [*(_everywhere(each) for each in found.values()), *twins]
    return list(found.values())


def _everywhere(document: dict[str, Any]) -> dict[str, Any]:
    """The design document for the whole of a partitioned database, where each is for single partitions otherwise."""
    return {**document, "options": {"partitioned": False}}


def _in_partition(document: dict[str, Any]) -> dict[str, Any]:
    ((view, definition),) = document["views"].items()
    name = partition_view(view)
    return {**document, "_id": f"_design/{name}", "options": {"partitioned": True}, "views": {name: definition}}


def conflicts_design_document() -> dict[str, Any]:
    """The design document of the view of conflicts, the same for all models; its rows' keys are the types.

    CouchDB documentation, "Conflicts and replication": a document with several leaves that are not deleted.
    """
    view = {"map": _CONFLICTS_MAP, "reduce": "_count"}
    return {"_id": f"_design/{CONFLICTS_VIEW}", "language": "javascript", "views": {CONFLICTS_VIEW: view}}


def _index_document(info: ModelInfo, index: Index) -> dict[str, Any]:
    if index.composite and index.scripted:
        has = [f"\n      && Object.prototype.hasOwnProperty.call(doc, {json.dumps(name)})" for name in index.properties]
        key = f"[{', '.join(_value(info, name) for name in index.properties)}]"
        return _script_document(info, index.view, key, "null", "_count", "".join(has))
    if index.composite:
        return _mango_document(info, index)
    (name,) = index.properties
    if name in info.derived:
        key_of = info.derived[name]
        emits = key_of.emits(_value(info, key_of.declared.name))
        return _emitting_document(info, index.view, emits, "_count", key_of.helper, _standing(info))
    if index != info.indexes[0]:
        return _script_document(info, index.view, _value(info, name), "null", "_count")
    # A document without its key cannot be named, so it is not listed.
    condition = f"\n      && Object.prototype.hasOwnProperty.call(doc, {json.dumps(name)})"
    key, value, function = f"doc[{json.dumps(name)}]", "null", "_count"
    if info.history:
        # Grouped by the first two, the greatest value tells the latest version, and whether that is a deletion.
        key = f"[{key}, doc._id.slice(0, -11), doc.{VERSION_PROPERTY}.written_on]"
        value = f"Number(doc._id.slice(-10)) * 2 + (doc.{VERSION_PROPERTY}.deleted === true ? 1 : 0)"
        function = "_stats"
    return _script_document(info, index.view, key, value, function, condition)


def _deleted_document(info: ModelInfo, view: str) -> dict[str, Any]:
    named = [name for index in info.indexes if not index.composite for name in index.properties]
    single = [name for name in named if name not in info.derived]
    keys = [f"[{json.dumps(name)}, {'doc._id' if name == '_id' else _value(info, name)}]" for name in single]
    key = ", null);\n    emit(".join(keys)
    return _script_document(info, view, key, "null", "_count", standing=_marked(deleted=True))


def _reduction_document(info: ModelInfo, reduction: Reduction, view: str) -> dict[str, Any]:
    values = [_value(info, name) for name in reduction.by]
    key = values[0] if len(values) == 1 else f"[{', '.join(values)}]"
    if reduction.of is None:
        return _script_document(info, view, key, "null", reduction.function)
    # A single value that is not a number would end the reduction of all of them.
    value = _value(info, reduction.of)
    condition = f'\n      && typeof {value} === "number"'
    return _script_document(info, view, key, value, reduction.function, condition)


def _value(info: ModelInfo, name: str) -> str:
    # JSON in ASCII is a safe JavaScript literal: quotes, backslashes and U+2028 are escaped.
    stored = f"value({json.dumps(info.properties[name].index_member)}, {json.dumps(info.defaults.get(name))})"
    return f"{info.sort_keys[name].function}({stored})" if name in info.sort_keys else stored


def _script_document(
    info: ModelInfo,
    view: str,
    key: str,
    value: str,
    function: str,
    condition: str = "",
    standing: str | None = None,
) -> dict[str, Any]:
    condition = (_standing(info) if standing is None else standing) + condition
    used = {each.function: each.source for each in info.sort_keys.values() if f"{each.function}(" in key}
    return _emitting_document(info, view, f"emit({key}, {value});", function, "".join(used.values()), condition)


def _emitting_document(
    info: ModelInfo, view: str, emits: str, function: str, helpers: str, condition: str
) -> dict[str, Any]:
    prefix = json.dumps(f"{info.type.name}_v")
    source = _MAP.format(prefix=prefix, condition=condition, emits=emits, helpers=helpers)
    return {"_id": f"_design/{view}", "language": "javascript", "views": {view: {"map": source, "reduce": function}}}


def _standing(info: ModelInfo) -> str:
    """The condition for those documents of the type that a view is about."""
    if info.history:
        return (
            f"\n      && /:[0-9]{{10}}$/.test(doc._id) && doc.{VERSION_PROPERTY}"
            f' && typeof doc.{VERSION_PROPERTY}.written_on === "string"'
        )
    return _marked(deleted=False) if info.soft_delete else ""


def _marked(*, deleted: bool) -> str:
    return (
        f"\n      && {'' if deleted else '!'}Object.prototype.hasOwnProperty.call(doc, {json.dumps(DELETED_PROPERTY)})"
    )


def _mango_document(info: ModelInfo, index: Index) -> dict[str, Any]:
    """What CouchDB writes for `POST /db/_index` with these fields and names."""
    # The lookahead, because `$` also matches before a line feed at the end.
    of_type: dict[str, Any] = {"type": {"$regex": f"^{re.escape(info.type.name)}_v[0-9]+\\.[0-9]+$(?!\\n)"}}
    if info.soft_delete:
        of_type[DELETED_PROPERTY] = {"$exists": False}
    if info.history:
        of_type["_id"] = {"$regex": ":[0-9]{10}$(?!\\n)"}
    definition = {"fields": list(index.properties), "partial_filter_selector": of_type}
    fields = dict.fromkeys(index.properties, "asc")
    view = {
        "map": {"fields": fields, "partial_filter_selector": of_type},
        "reduce": "_count",
        "options": {"def": definition},
    }
    return {"_id": f"_design/{index.view}", "language": "query", "views": {index.view: view}}
