"""Mango selectors: normalizes them and matches documents."""

from __future__ import annotations

from tornado_couch.embedded.selectors.operators import (
    BAD_PATH,
    NOT_FOUND,
    Path,
    get_field,
    join_field,
    parse_field,
    project,
)
from tornado_couch.embedded.selectors.selectors import Selector, compile_selector

__all__ = [
    "BAD_PATH",
    "NOT_FOUND",
    "Path",
    "Selector",
    "compile_selector",
    "get_field",
    "join_field",
    "parse_field",
    "project",
]
