"""The design documents that a model needs; pure.

One design document for each index and each reduction, each with a single view of the same name, so that
changing one leaves the others built. Every view counts its rows by a reduce function, so whoever wants the
rows has to say `reduce=false`.
"""

from __future__ import annotations

import json
import re
from typing import Any

from .indexes import Index
from .model import Model, ModelInfo, model_info
from .reductions import Reduction

__all__ = [
    "CONFLICTS_VIEW",
    "collection_view",
    "conflicts_design_document",
    "design_documents",
    "property_view",
    "reduction_view",
]

CONFLICTS_VIEW = "conflicts"
"""The view of all documents that are in conflict, and the name of its design document."""

# `emit` for documents of every version of the type: an upgrade must not empty the index. Properties
# are looked up as own ones, so that `constructor` or `__proto__` are names like any other. A document
# from before a property was added has it by default when it is read, and so in the index, too.
_MAP = """function (doc) {{
  var prefix = {prefix};
  function value(name, otherwise) {{
    return Object.prototype.hasOwnProperty.call(doc, name) ? doc[name] : otherwise;
  }}
  if (typeof doc.type === "string" && doc.type.slice(0, prefix.length) === prefix
      && /^[0-9]+\\.[0-9]+$/.test(doc.type.slice(prefix.length)){condition}) {{
    emit({key}, {value});
  }}
}}"""

# A map function is given `_conflicts`, which has no deleted leaves: those are no conflict.
_CONFLICTS_MAP = """function (doc) {
  if (doc._conflicts) {
    emit(typeof doc.type === "string" ? doc.type : null, null);
  }
}"""


def property_view(cls: type[Model], name: str) -> str:
    """The name of the view, and of its design document, by a property (its name in JSON)."""
    return f"{model_info(cls).type.name}_by_{name}"


def collection_view(cls: type[Model]) -> str:
    """The view that holds each document of the model once, by key."""
    return model_info(cls).indexes[0].view


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
    for each in info.reductions.values():
        view = _view_of(info, each)
        if view not in found:
            found[view] = _reduction_document(info, each, view)
    return list(found.values())


def conflicts_design_document() -> dict[str, Any]:
    """The design document of the view of conflicts, the same for all models; its rows' keys are the types.

    CouchDB documentation, "Conflicts and replication": a document with several leaves that are not deleted.
    """
    view = {"map": _CONFLICTS_MAP, "reduce": "_count"}
    return {"_id": f"_design/{CONFLICTS_VIEW}", "language": "javascript", "views": {CONFLICTS_VIEW: view}}


def _index_document(info: ModelInfo, index: Index) -> dict[str, Any]:
    if index.composite:
        return _mango_document(info, index)
    (name,) = index.properties
    if index == info.indexes[0]:  # a document without its key cannot be named, so it is not listed
        condition = f"\n      && Object.prototype.hasOwnProperty.call(doc, {json.dumps(name)})"
        return _script_document(info, index.view, f"doc[{json.dumps(name)}]", "null", "_count", condition)
    return _script_document(info, index.view, _value(info, name), "null", "_count")


def _reduction_document(info: ModelInfo, reduction: Reduction, view: str) -> dict[str, Any]:
    values = [_value(info, name) for name in reduction.by]
    key = values[0] if len(values) == 1 else f"[{', '.join(values)}]"
    if reduction.of is None:
        return _script_document(info, view, key, "null", reduction.function)
    # A single value that is no number would end the reduction of all of them.
    value = _value(info, reduction.of)
    condition = f'\n      && typeof {value} === "number"'
    return _script_document(info, view, key, value, reduction.function, condition)


def _value(info: ModelInfo, name: str) -> str:
    # JSON in ASCII is a safe JavaScript literal: quotes, backslashes and U+2028 are escaped.
    return f"value({json.dumps(info.properties[name].index_member)}, {json.dumps(info.defaults.get(name))})"


def _script_document(
    info: ModelInfo, view: str, key: str, value: str, function: str, condition: str = ""
) -> dict[str, Any]:
    prefix = json.dumps(f"{info.type.name}_v")
    source = _MAP.format(prefix=prefix, condition=condition, key=key, value=value)
    return {"_id": f"_design/{view}", "language": "javascript", "views": {view: {"map": source, "reduce": function}}}


def _mango_document(info: ModelInfo, index: Index) -> dict[str, Any]:
    """What CouchDB writes for `POST /db/_index` with these fields and names."""
    # The lookahead, because `$` also matches before a line feed at the end.
    of_type = {"type": {"$regex": f"^{re.escape(info.type.name)}_v[0-9]+\\.[0-9]+$(?!\\n)"}}
    definition = {"fields": list(index.properties), "partial_filter_selector": of_type}
    fields = dict.fromkeys(index.properties, "asc")
    view = {
        "map": {"fields": fields, "partial_filter_selector": of_type},
        "reduce": "_count",
        "options": {"def": definition},
    }
    return {"_id": f"_design/{index.view}", "language": "query", "views": {index.view: view}}
