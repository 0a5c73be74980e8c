"""The handlers of all paths. Each gets the server, the request and, below a database, the open database."""

from __future__ import annotations

__all__: list[str] = []
