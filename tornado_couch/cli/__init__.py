"""Commands that need more than one of the floors below: the API document, a new project, completion."""

from __future__ import annotations

__all__: list[str] = []
