"""Writes documents exactly once, and finds out whether a write whose answer was lost was carried out."""

from __future__ import annotations

from .deletion import Eraser
from .proof import created_mark
from .resign import refitted
from .retry import Retry
from .writer import Writer

__all__ = ["Eraser", "Retry", "Writer", "created_mark", "refitted"]
