"""JSON values for hypothesis."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

__all__ = ["documents", "json_values", "names"]

_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
_SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(10**30), 10**30)
    | st.floats(allow_nan=False, allow_infinity=False)
    | _TEXT
)


def json_values() -> st.SearchStrategy[Any]:
    """Any JSON value."""
    return st.recursive(_SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_TEXT, inner, max_size=4))


def names() -> st.SearchStrategy[str]:
    """Ids and names, unusual ones included."""
    return st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)


def documents() -> st.SearchStrategy[dict[str, Any]]:
    """Documents of a model, without `_id` and `_rev`."""
    members = st.dictionaries(names().filter(lambda name: name[0] != "_"), json_values(), max_size=5)
    return members.map(lambda document: {**document, "type": "fruit_v1.0"})
