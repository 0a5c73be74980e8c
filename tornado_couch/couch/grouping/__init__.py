"""Joins concurrent calls into one request: reads into `_bulk_get`, writes into `_bulk_docs`."""

from __future__ import annotations

from .access import Access, Grouped, Single, access
from .reads import ConflictNoticed

__all__ = ["Access", "ConflictNoticed", "Grouped", "Single", "access"]
