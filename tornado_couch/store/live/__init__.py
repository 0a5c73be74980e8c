"""Changes as they happen: one feed of a database for all who follow it, and what each change means for a model."""

from __future__ import annotations

from .changes import DocumentChange, may_be_of
from .feed import Batch, Feed
from .live import ChangePage, Live, Place
from .observation import Observed, Observer

__all__ = ["Batch", "ChangePage", "DocumentChange", "Feed", "Live", "Observed", "Observer", "Place", "may_be_of"]
