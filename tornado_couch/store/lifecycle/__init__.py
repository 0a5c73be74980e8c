"""Models that keep deleted documents (`soft_delete=True`) or every version (`history=True`)."""

from __future__ import annotations

from .history import History
from .soft_delete import Keeping

__all__ = ["History", "Keeping"]
