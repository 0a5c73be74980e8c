"""`OpenedDocument`: a stored document that remembers what was decrypted of it, for the write that follows the read."""

from __future__ import annotations

from typing import Any

from ... import _json
from ...models import Classification, Place

__all__ = ["OpenedDocument"]


class OpenedDocument(dict[str, Any]):
    """A stored document, equal to a plain dict, that decrypts each of its values once.

    A value is remembered for its ciphertext in its place: a member that was altered since is decrypted as any other.
    """

    __slots__ = ("_texts",)

    def __init__(self, document: dict[str, Any]) -> None:
        super().__init__(document)
        # As JSON, since the model is given the value itself, and may be changed in place.
        self._texts: dict[str, tuple[Classification, Place, Any, bytes]] = {}

    def reveal(self, found: Classification, place: Place) -> Any:
        """The value of the property that has this place; see `Classification.reveal`."""
        stored = self[place.name]
        *key, text = self._texts.get(place.name, (None, b""))
        if key == [found, place, stored]:
            return _json.loads(text)
        value = found.reveal(stored, place)
        self._texts[place.name] = (found, place, stored, _json.dumps(value))
        return value

    def copy(self) -> OpenedDocument:
        """A shallow copy that remembers the same."""
        found = OpenedDocument(self)
        found._texts = self._texts.copy()
        return found

    def __reduce__(self) -> tuple[Any, ...]:
        """Be pickled, and copied by `copy.deepcopy`, as a plain dict: neither values nor keys go along."""
        return dict, (dict(self),)
