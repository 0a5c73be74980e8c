"""Remembers which document has which key; a key never changes, but each use is checked."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

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
        self._size = size
        self._ids: OrderedDict[tuple[str, bytes], str] = OrderedDict()

    def __len__(self) -> int:
        return len(self._ids)

    def recall(self, cls: type[Model], key: Any) -> str | None:
        """The id of the document that had this key."""
        place = _place(cls, key)
        found = self._ids.get(place)
        if found is not None:
            self._ids.move_to_end(place)
        return found

    def learn(self, cls: type[Model], key: Any, document_id: str) -> None:
        """Remember which document has this key."""
        place = _place(cls, key)
        self._ids[place] = document_id
        self._ids.move_to_end(place)
        while len(self._ids) > self._size:
            self._ids.popitem(last=False)

    def forget(self, cls: type[Model], key: Any) -> None:
        """Forget the document of this key."""
        self._ids.pop(_place(cls, key), None)


def _place(cls: type[Model], key: Any) -> tuple[str, bytes]:
    info = model_info(cls)
    return info.type.name, _json.dumps(info.key_value(key))
