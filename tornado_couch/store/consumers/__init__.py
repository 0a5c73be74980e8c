"""Consumers: something is done for each change of a model's documents, by one process at a time."""

from __future__ import annotations

from .consumer import Consumer
from .partition import ConsumerStats
from .records import FailedChange, Records, consumers_of

__all__ = ["Consumer", "ConsumerStats", "FailedChange", "Records", "consumers_of"]
