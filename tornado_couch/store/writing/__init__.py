"""Writes documents exactly once, and finds out whether a write whose answer was lost was carried out."""

from __future__ import annotations

from .deletion import Eraser
from .model_writer import refitted
from .tokens import merged_mark
from .writer import Retry, Writer

__all__ = ["Eraser", "Retry", "Writer", "merged_mark", "refitted"]
