"""The indexes of a model: which properties, in which order; pure.

A property with `Indexed()` has a JavaScript view of its own. Several properties together have a JSON index
of Mango, declared in the class statement: `indexes=[("color", "created_on")]`.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass

from ...errors import ModelDefinitionError
from ..properties import Property
from .derived import Derived

__all__ = ["Index", "make_indexes"]


@dataclass(frozen=True)
class Index:
    """One index, in the order of its properties and then of the document ids.

    Attributes:
        view: the name of the view, and of its design document.
        properties: what its keys are made of, by their names in JSON; "_id" for the document id.
        composite: it is a JSON index of Mango, whose keys are arrays, and in which a document has no
            place that lacks one of the properties. In the others it has: under the default, or null.
        scripted: JavaScript makes its keys: of single properties, and of several where one has a sort key.
    """

    view: str
    properties: tuple[str, ...]
    composite: bool = False
    scripted: bool = True


def make_indexes(
    cls_name: str,
    type_name: str,
    properties: Mapping[str, Property],
    key: Property | None,
    composites: Iterable[Iterable[str]],
    sort_keys: Container[str] = (),
    derived: Mapping[str, Derived] | None = None,
) -> tuple[Index, ...]:
    """The indexes that a model has: the one of all its documents first, then those of single properties.

    Args:
        cls_name: for the messages.
        type_name: the type's, which the names of the views begin with.
        properties: the model's.
        key: the key property.
        composites: the properties of each index of several.
        derived: the derived keys that have indexes of their own, by the name in queries.
        sort_keys: the properties whose values have sort keys, which Mango knows nothing of.

    Raises:
        ModelDefinitionError: an index of several properties is declared wrongly.
    """
    first = Index(f"{type_name}_by_{key.name}", (key.name,)) if key else Index(f"{type_name}_all", ("_id",))
    found = {first.view: first}
    for each in properties.values():
        if each.indexed and each != key:
            view = f"{type_name}_by_{each.name}"
            found[view] = Index(view, (each.name,))
    for name, key_of in (derived or {}).items():
        view = f"{type_name}_by_{key_of.view}"
        if view in found:
            raise ModelDefinitionError(f"{cls_name}: two indexes would be called {view!r}")
        found[view] = Index(view, (name,))
    for columns in composites:
        index = _composite(cls_name, type_name, properties, columns, sort_keys)
        if index.view in found:
            raise ModelDefinitionError(f"{cls_name}: two indexes would be called {index.view!r}")
        found[index.view] = index
    return tuple(found.values())


def _composite(
    cls_name: str,
    type_name: str,
    properties: Mapping[str, Property],
    columns: Iterable[str],
    sort_keys: Container[str],
) -> Index:
    if isinstance(columns, str):
        raise ModelDefinitionError(f"{cls_name}: indexes={columns!r}: each index is a tuple of names")
    names = tuple(columns)
    if len(names) < 2 or len(set(names)) < len(names):
        raise ModelDefinitionError(
            f"{cls_name}: index {names} must name two properties or more, each once; for one there is Indexed()"
        )
    for name in names:
        if name not in properties:
            raise ModelDefinitionError(f"{cls_name}: index {names}: there is no property called {name!r} in JSON")
        if "." in name or "\\" in name or name.startswith("$"):  # Mango's syntax for other things
            raise ModelDefinitionError(f"{cls_name}: index {names}: Mango cannot index a property called {name!r}")
    scripted = any(name in sort_keys for name in names)
    return Index(f"{type_name}_by_{'_and_'.join(names)}", names, composite=True, scripted=scripted)
