"""Mango queries: `_find`, `_index` and `_explain`."""

from __future__ import annotations

from tornado_couch.embedded.mango.mango import IndexChange, Mango

__all__ = ["IndexChange", "Mango"]
