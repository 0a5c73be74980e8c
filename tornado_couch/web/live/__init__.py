"""The changes of a collection over HTTP: page by page, and as server-sent events."""

from __future__ import annotations

from .changes import ChangesHandler, TicketHandler
from .hubs import Hubs, end_streams

__all__ = ["ChangesHandler", "Hubs", "TicketHandler", "end_streams"]
