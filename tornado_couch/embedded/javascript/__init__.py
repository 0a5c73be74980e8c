"""Worker processes that run JavaScript."""

from __future__ import annotations

__all__: list[str] = []
