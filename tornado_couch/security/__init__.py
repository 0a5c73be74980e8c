"""Protecting data at rest: hashing, encryption, signatures and the keys for them. Pure: no I/O but key files."""

from __future__ import annotations

__all__: list[str] = []
