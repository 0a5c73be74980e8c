"""Which document has which key: remembered, since a key never changes, and checked at each use."""

from __future__ import annotations

from typing import Any

from cachetools import LRUCache

from ... import _json
from ...models import Model, model_info

__all__ = ["KeyMemory"]


class KeyMemory:
    """Ids of documents by model and key; what was used least recently is forgotten first.

    What it says is only where to look: the document can have been deleted, and its key given to another. So who
    asks it reads the document, and asks the view where that does not bear the key any more.

    Args:
        size: how many keys are remembered; one takes some 300 bytes. 0 remembers none.
    """

    def __init__(self, size: int = 100_000) -> None:
        self._ids: LRUCache[tuple[str, bytes], str] = LRUCache(size)

    def __len__(self) -> int:
        return len(self._ids)

    def recall(self, cls: type[Model], key: Any) -> str | None:
        """The id of the document that had this key."""
        return self._ids.get(_place(cls, key))

    def learn(self, cls: type[Model], key: Any, document_id: str) -> None:
        """Remember which document has this key."""
        if self._ids.maxsize:
            self._ids[_place(cls, key)] = document_id

    def forget(self, cls: type[Model], key: Any) -> None:
        """Do not look there any more."""
        self._ids.pop(_place(cls, key), None)


def _place(cls: type[Model], key: Any) -> tuple[str, bytes]:
    info = model_info(cls)
    return info.type.name, _json.dumps(info.key_value(key))
