"""The design documents that a model needs; pure.

One design document for each indexed property and one for the key, each with a single view of the
same name, so that changing one index leaves the others built.
"""

from __future__ import annotations

import json
from typing import Any

from .model import Model, model_info

__all__ = ["collection_view", "design_documents", "property_view"]

# `emit` for documents of every version of the type: an upgrade must not empty the index. Properties
# are looked up as own ones, so that `constructor` or `__proto__` are names like any other.
_MAP = """function (doc) {{
  var prefix = {prefix};
  if (typeof doc.type === "string" && doc.type.slice(0, prefix.length) === prefix
      && /^[0-9]+\\.[0-9]+$/.test(doc.type.slice(prefix.length))
      && Object.prototype.hasOwnProperty.call(doc, {name})) {{
    emit(doc[{name}], null);
  }}
}}"""


def property_view(cls: type[Model], name: str) -> str:
    """The name of the view, and of its design document, by a property (its name in JSON)."""
    return f"{model_info(cls).type.name}_by_{name}"


def collection_view(cls: type[Model]) -> str:
    """The view that holds each document of the model once, by key."""
    info = model_info(cls)
    return property_view(cls, info.key.name) if info.key else f"{info.type.name}_all"


def design_documents(cls: type[Model]) -> list[dict[str, Any]]:
    """The design documents that the model's views need, without revisions."""
    info = model_info(cls)
    names = {each.name: property_view(cls, each.name) for each in info.properties.values() if each.indexed}
    names[info.key.name if info.key else "_id"] = collection_view(cls)
    return [_design_document(view, info.type.name, name) for name, view in names.items()]


def _design_document(view: str, type_name: str, property_name: str) -> dict[str, Any]:
    # JSON in ASCII is a safe JavaScript literal: quotes, backslashes and U+2028 are escaped.
    source = _MAP.format(prefix=json.dumps(f"{type_name}_v"), name=json.dumps(property_name))
    return {"_id": f"_design/{view}", "language": "javascript", "views": {view: {"map": source}}}
