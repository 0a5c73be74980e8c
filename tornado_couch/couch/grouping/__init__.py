"""Concurrent calls leave as one request: reads as `_bulk_get`, writes as `_bulk_docs`."""

from __future__ import annotations

from .access import Access, Grouped, Single, access
from .reads import ConflictNoticed

__all__ = ["Access", "ConflictNoticed", "Grouped", "Single", "access"]
