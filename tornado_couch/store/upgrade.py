"""Stored documents of older versions, as they are to be written in their model's own: one step of a migration."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..couch import Leaf
from ..errors import InvalidSignature
from ..models import Model
from .store import Store

__all__ = ["rewritten"]

Document = dict[str, Any]


async def rewritten(store: Store, cls: type[Model], leaves: Sequence[Leaf]) -> Document:
    """The winning document of some leaves as it is to be written now: verified, upgraded, protected and signed.

    Time stamps stay: what a client sees does not change.

    Args:
        store: where it is from, for its keys.
        cls: the model.
        leaves: of one document, which is not deleted.

    Raises:
        InvalidSignature: it is not what a holder of the keys wrote.
        InvalidDocument: an upgrade fails, or its result does not fit the model.
        DecryptionFailed: a property does not decrypt.
    """
    found = store._guard.judged(leaves)
    if isinstance(found, InvalidSignature):
        raise found
    if found is None:
        raise ValueError("a deleted document cannot be rewritten")
    model = await store._conversion.from_store(cls, found)
    document = store.writer.marked(await store._conversion.to_store(model, new=False))
    return store._guard.signed(document)
