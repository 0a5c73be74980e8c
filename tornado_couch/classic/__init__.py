"""What the classic API of tor-async-couchdb stands on: connections, metrics, command line options."""

from __future__ import annotations

__all__: list[str] = []
