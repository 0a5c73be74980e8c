"""One step of a migration: a stored document of an older version, converted to its model's current version."""

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
    """Convert the winning document to the form that is written today: verified, upgraded, protected and signed.

    Time stamps stay as they are: what a client sees does not change.

    Args:
        store: the store that the document is from, for its keys.
        cls: the model.
        leaves: the leaves of one document, which must not be deleted.

    Raises:
        InvalidSignature: the document was not written by a holder of the keys.
        InvalidDocument: an upgrade fails, or its result does not fit the model.
        DecryptionFailed: a property cannot be decrypted.
    """
    found = store._guard.judged(leaves)
    if isinstance(found, InvalidSignature):
        raise found
    if found is None:
        raise ValueError("a deleted document cannot be rewritten")
    model = await store._conversion.from_store(cls, found)
    document = store.writer.marked(await store._conversion.to_store(model, new=False))
    return store._guard.signed(document)
