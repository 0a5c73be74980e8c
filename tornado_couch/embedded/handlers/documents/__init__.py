"""Answers requests for documents and their attachments, single ones and in bulk."""

from __future__ import annotations

__all__: list[str] = []
