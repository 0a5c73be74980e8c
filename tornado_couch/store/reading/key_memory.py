"""Remembers which document has which key; a key never changes, but each use is checked."""

from __future__ import annotations

from typing import Any

from cachetools import LRUCache

from ... import _json
from ...models import Model, model_info

__all__ = ["KeyMemory"]


class KeyMemory:
    """Remembers the ids of documents by model and key, and forgets first what was used least recently.

    A remembered id is only a hint: the document may have been deleted, and another one may have its key now. So the
    caller reads the document, and asks the view if it no longer has the key.

    Args:
        size: how many keys to remember, of about 300 bytes each; 0 for none.
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
        """Forget the document of this key."""
        self._ids.pop(_place(cls, key), None)


def _place(cls: type[Model], key: Any) -> tuple[str, bytes]:
    info = model_info(cls)
    return info.type.name, _json.dumps(info.key_value(key))
