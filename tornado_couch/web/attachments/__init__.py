"""The files of documents over HTTP: received, sent in ranges, listed, and created together with their documents."""

from __future__ import annotations

from .creation import creating_with_files
from .handlers import file_routes

__all__ = ["creating_with_files", "file_routes"]
