"""Documents that are only marked when they are deleted, and can come back; pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from .history import VERSION_PROPERTY

if TYPE_CHECKING:
    from .model import ModelInfo

__all__ = ["DELETED_PROPERTY", "deleted_on", "is_deleted"]

DELETED_PROPERTY = "tornado_couch_deleted_on"
"""The member of a stored document that says since when it is deleted."""


def is_deleted(info: ModelInfo, document: Mapping[str, Any]) -> bool:
    """Whether a document is there, and yet deleted as far as clients are concerned."""
    return deleted_on(info, document) is not None


def deleted_on(info: ModelInfo, document: Mapping[str, Any]) -> str | None:
    """Since when a document is marked as deleted, as time stamps are stored; None where it is not."""
    if info.soft_delete and DELETED_PROPERTY in document:
        return str(document[DELETED_PROPERTY])
    held = document.get(VERSION_PROPERTY) if info.history else None
    return str(held.get("written_on")) if isinstance(held, dict) and held.get("deleted") is True else None
