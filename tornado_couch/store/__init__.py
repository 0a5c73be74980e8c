"""The store joins the client and the models: create, get, find, update with retry, replace, delete."""

from __future__ import annotations

from .reading import Page, Position, indexed_properties
from .retry import Retry
from .store import Change, Check, Expectation, Store

__all__ = ["Change", "Check", "Expectation", "Page", "Position", "Retry", "Store", "indexed_properties"]
