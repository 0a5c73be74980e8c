"""Pages about the service itself: health, metrics, the API document and its viewer."""

from __future__ import annotations

__all__: list[str] = []
