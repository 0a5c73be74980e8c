"""The store joins the client and the models: create, get, find, update with retry, replace, delete."""

from __future__ import annotations

from .operations import Change, Check, Creation, Deletion, Expectation, Operation, Update
from .reading import Page, Position, indexed_properties
from .retry import Retry
from .store import Store

__all__ = [
    "Change",
    "Check",
    "Creation",
    "Deletion",
    "Expectation",
    "Operation",
    "Page",
    "Position",
    "Retry",
    "Store",
    "Update",
    "indexed_properties",
]
