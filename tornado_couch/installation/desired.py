"""What an installer wants there to be, as models and files say; pure but for reading the files."""

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
    """What there has to be.

    Attributes:
        designs: the design documents, by id.
        origins: where those come from that this installer is to keep in order.
        seeds: the seed documents.
    """

    designs: Mapping[str, Document]
    origins: frozenset[str]
    seeds: Seeds

    def design_documents(self, *, partitioned: bool) -> list[Document]:
        """The design documents for a database; models' views are of the whole of it, or say otherwise."""
        options = {"options": {"partitioned": False}} if partitioned else {}
        return [
            each if str(mark_of(each).get("origin")).startswith("folder ") else {**options, **each}
            for each in self.designs.values()
        ]


def read_wanted(models: Iterable[type[Model]], design_docs: Path | None, seeds: Path | None) -> Wanted:
    """What models and files say; call it in a thread.

    Raises:
        InstallError: a file is wrong, or two design documents have one name.
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
        # Of two versions of one type the later one says what its views are: they show documents of every version.
        if before is not None and mark_of(before) != mark_of(each):
            raise InstallError(f"two different design documents are called {each['_id']}")
        found[each["_id"]] = each
    return found


def wanted_check(
    models: Sequence[type[Model]], stored: Mapping[str, Any] | None, validate: bool | None
) -> tuple[Document | None, list[str]]:
    """The design document that checks writes, None for none or for leaving it as it is; and what to know of it.

    It takes some time: call it in a thread.

    Args:
        models: whose documents are to be checked.
        stored: the one that is there.
        validate: whether there is to be one; None for keeping one that is there up to date.

    Raises:
        ModelDefinitionError: a model cannot be described in JSON Schema.
    """
    if validate is False or (validate is None and stored is None):
        return None, []
    types = sorted({model_info(cls).type.name for cls in models})
    others = sorted(set(mark_of(stored or {}).get("types", [])) - set(types))
    if others and validate is None:
        return None, [f"{VALIDATION_DOCUMENT} also checks {', '.join(others)}: it is left as it is"]
    check = database_check(models)
    warnings = [f"not checked by the database: {each}" for each in check.omitted]
    if others:
        warnings.append(f"{VALIDATION_DOCUMENT} no longer checks {', '.join(others)}")
    return marked(check.design_document, _OURS, types=types), warnings
