"""Documents and their attachments, alone and in bulk."""

from __future__ import annotations

__all__: list[str] = []
