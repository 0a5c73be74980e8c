"""`DocumentChange`: what became of a document of a model, as those who follow the changes see it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeVar

from ...errors import DecryptionFailed, InvalidDocument
from ...models import Model, ModelInfo, is_deleted, is_of, model_info, version_of
from ...revision import generation
from ..protection.properties import Conversion
from .observation import Observed

__all__ = ["DocumentChange", "may_be_of", "understood"]

M = TypeVar("M", bound=Model)

Kind = Literal["created", "changed", "deleted", "withheld", "unknown"]


@dataclass(frozen=True)
class DocumentChange(Generic[M]):
    """A document of a model, after its latest change.

    Attributes:
        kind: "created" if it is certain that the document is new, else "changed"; "deleted"; "withheld" if it cannot
            be read, since it does not verify or does not fit its model; "unknown" if another program has deleted a
            document that may have been of the model.
        key: the document's key; None if it cannot be known.
        model: the document as it is now; of one that is deleted, but kept, as it was. None if it cannot be read.
        document: what is stored, or was; of a deleted one, what its tombstone keeps.
        place: where the changes after this one begin; see `Store.changes`.
        others: what is known of other leaves, which somebody may have seen before this one won.
    """

    kind: Kind
    key: Any
    model: M | None
    document: dict[str, Any]
    place: str = ""
    others: tuple[dict[str, Any], ...] = ()


def may_be_of(info: ModelInfo, document_id: str) -> bool:
    """Whether a document with this id can be of a model."""
    if document_id.startswith("_"):
        return False
    if info.history:
        return document_id.startswith(f"{info.type.name}:")
    return not (info.unique and info.key) or document_id.startswith(f"{info.type.name}:")


async def understood(conversion: Conversion, cls: type[M], found: Observed, place: str) -> DocumentChange[M] | None:
    """Return what a change means for a model; None if the document is not, and was not, of the model."""
    info, document = model_info(cls), found.document
    if not may_be_of(info, found.id) or (_is_named_by_id(info) and _key_in_id(info, found.id) is None):
        return None
    if found.fault is not None:
        keys = [_key_in_id(info, found.id), *(_key_of(info, each) for each in found.others if is_of(cls, each))]
        key = next((each for each in keys if each is not None), None)
        return None if key is None else DocumentChange("withheld", key, None, {"_id": found.id}, place, found.others)
    if document is None or (found.deleted and "type" not in document):
        return _of_unknown(info, found, place)
    if not is_of(cls, document):
        if not info.owns(found.id) or found.deleted:
            return None
        return DocumentChange("withheld", _key_in_id(info, found.id), None, document, place)
    key = _key_of(info, document)
    if found.deleted and not info.history:
        return DocumentChange("deleted", key, None, document, place)
    if found.deleted:
        return None  # somebody has deleted a version; the others say what the document is
    try:
        model = await conversion.from_store(cls, document)
        kind: Kind = "deleted" if is_deleted(info, document) else "created" if _is_new(info, document) else "changed"
    except (InvalidDocument, DecryptionFailed):
        return DocumentChange("withheld", key, None, document, place)
    return DocumentChange(kind, key, model, document, place, found.others)


def _is_new(info: ModelInfo, document: dict[str, Any]) -> bool:
    if info.history:
        return version_of(document).number == 1
    return generation(document["_rev"]) == 1


def _of_unknown(info: ModelInfo, found: Observed, place: str) -> DocumentChange[Any] | None:
    """What the tombstone of another program means, of which nobody knows what it has deleted."""
    if info.history:
        return None
    document = found.document or {"_id": found.id}
    key = _key_in_id(info, found.id)
    if info.owns(found.id) and key is not None:
        return DocumentChange("deleted" if not info.scopes else "unknown", key, None, document, place)
    return DocumentChange("unknown", None, None, document, place)


def _key_of(info: ModelInfo, document: dict[str, Any]) -> Any:
    if info.key is None:
        return document["_id"]
    stored = document.get(info.key.name)
    if stored is None and info.key.generated:
        return document["_id"]
    key = None if stored is None else info.parse_key(str(stored))
    return _key_in_id(info, document["_id"]) if key is None else key


def _key_in_id(info: ModelInfo, document_id: str) -> Any:
    """The key that a document's id contains; None if it contains none."""
    if info.key is None or info.key.generated:
        return document_id
    text = document_id.removeprefix(f"{info.type.name}:")
    return info.parse_key(text) if _is_named_by_id(info) else None


def _is_named_by_id(info: ModelInfo) -> bool:
    """Whether the id of a document contains its key: an id that contains none is of nothing that has an address."""
    return bool(info.unique and info.key) and not info.history
