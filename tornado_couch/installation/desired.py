"""Collects what an installer should set up, from models and files."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import InstallError
from ..models import VALIDATION_DOCUMENT, Model, conflicts_design_document, database_check, design_documents, model_info
from .design_documents import mark_of, marked
from .files import Seeds, read_design_folder, read_seeds

__all__ = ["Wanted", "read_wanted", "wanted_check"]

Document = dict[str, Any]
_OURS = "tornado_couch"


@dataclass(frozen=True)
class Wanted:
    """The documents that must exist.

    Attributes:
        designs: the design documents, by id.
        origins: the origins of those documents, whose other documents may be removed.
        seeds: the seed documents.
    """

    designs: Mapping[str, Document]
    origins: frozenset[str]
    seeds: Seeds

    def design_documents(self, *, partitioned: bool) -> list[Document]:
        """The design documents for a database; models' views cover the whole database unless they say otherwise."""
        options = {"options": {"partitioned": False}} if partitioned else {}
        return [
            each if str(mark_of(each).get("origin")).startswith("folder ") else {**options, **each}
            for each in self.designs.values()
        ]


def read_wanted(models: Iterable[type[Model]], design_docs: Path | None, seeds: Path | None) -> Wanted:
    """Read what models and files define; call it in a thread.

    Raises:
        InstallError: a file is wrong, or two design documents have the same name.
    """
    models = sorted(models, key=lambda cls: model_info(cls).type)
    found = [marked(conflicts_design_document(), _OURS)]
    found += [marked(each, _origin(cls)) for cls in models for each in design_documents(cls)]
    origins = {_OURS, *map(_origin, models)}
    if design_docs is not None:
        origin = f"folder {design_docs.resolve().name}"
        origins.add(origin)
        found += [marked(each, origin) for each in read_design_folder(design_docs)]
    return Wanted(_by_id(found), frozenset(origins), read_seeds(seeds, models) if seeds else Seeds())


def _origin(cls: type[Model]) -> str:
    return f"model {model_info(cls).type.name}"


def _by_id(documents: Iterable[Document]) -> dict[str, Document]:
    found: dict[str, Document] = {}
    for each in documents:
        before = found.get(each["_id"])
        # Of two versions of one type the later one defines the views: they list documents of every version.
        if before is not None and mark_of(before) != mark_of(each):
            raise InstallError(f"two different design documents have the name {each['_id']}")
        found[each["_id"]] = each
    return found


def wanted_check(
    models: Sequence[type[Model]], stored: Mapping[str, Any] | None, validate: bool | None
) -> tuple[Document | None, list[str]]:
    """The design document that checks writes, or None for none or to leave it as it is; and warnings about it.

    It takes some time: call it in a thread.

    Args:
        models: the models whose documents should be checked.
        stored: the design document that exists now.
        validate: whether there should be one; None to keep an existing one up to date.

    Raises:
        ModelDefinitionError: a model cannot be described in JSON Schema.
    """
    if validate is False or (validate is None and stored is None):
        return None, []
    types = sorted({model_info(cls).type.name for cls in models})
    others = sorted(set(mark_of(stored or {}).get("types", [])) - set(types))
    if others and validate is None:
        return None, [f"{VALIDATION_DOCUMENT} also checks {', '.join(others)}, so it is left as it is"]
    check = database_check(models)
    warnings = [f"the database does not check this: {each}" for each in check.omitted]
    if others:
        warnings.append(f"{VALIDATION_DOCUMENT} no longer checks {', '.join(others)}")
    return marked(check.design_document, _OURS, types=types), warnings
