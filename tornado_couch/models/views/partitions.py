"""Partitions: documents whose ids begin with a property's value, so that a query for one value asks one shard.

https://docs.couchdb.org/en/stable/partitioned-dbs/index.html
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ...errors import ModelDefinitionError, ValidationFailed
from ..pointers import json_pointer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..properties import Property

__all__ = ["check_partition", "partition_of", "partition_problem", "partition_view"]

_LONGEST = 128  # characters; CouchDB leaves to the server how long an id may be, and this leaves room for the rest


def partition_view(view: str) -> str:
    """The view, and design document, that has the same rows for one partition at a time."""
    return f"{view}_in_partition"


def check_partition(
    cls_name: str, name: str | None, properties: Mapping[str, Property], *, unique: bool, history: bool
) -> Property | None:
    """The property that says the partition; None where the class names none.

    Raises:
        ModelDefinitionError: it cannot be one.
    """
    if name is None:
        return None
    if unique or history:
        other = "unique" if unique else "history"
        raise ModelDefinitionError(
            f"{cls_name}: `{other}` makes document ids from the key alone, so they cannot begin with a partition"
        )
    if name not in properties:
        raise ModelDefinitionError(f"{cls_name}: there is no property called {name!r} in JSON to be the partition")
    found = properties[name]
    if found.protected or found.generated or found.computed or found.stamp is not None:
        raise ModelDefinitionError(f"{cls_name}: {name!r} cannot be the partition, which stands in every document's id")
    return found


def partition_problem(value: Any) -> str | None:
    """Why a value can be no partition; None where it can."""
    if not isinstance(value, str) or not value or len(value) > _LONGEST:
        return f"A partition is text of 1 to {_LONGEST} characters."
    if value.startswith("_") or ":" in value or any(character < " " for character in value):
        return "A partition begins with no underscore, and has neither colons nor control characters."
    return None


def partition_of(name: str, value: Any, document_id: str | None) -> str:
    """The partition that a document belongs to.

    Args:
        name: the property's, in JSON.
        value: the property's, as it is stored.
        document_id: the document's id, where it has one: it cannot move.

    Raises:
        ValidationFailed: the value is missing, or belongs to another partition.
    """
    problem = partition_problem(value)
    if problem is None and document_id is not None and not document_id.startswith(f"{value}:"):
        problem = "This is the partition that the document belongs to, and cannot be changed."
    if problem is not None:
        raise ValidationFailed([{"pointer": json_pointer([name]), "keyword": "partition", "detail": problem}])
    return str(value)
