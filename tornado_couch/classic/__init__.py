"""The classic API of tor-async-couchdb: actions with callbacks, models, the installer, retries, signatures."""

from __future__ import annotations

__all__: list[str] = []
