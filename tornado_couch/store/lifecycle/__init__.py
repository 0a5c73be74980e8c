"""The three lifecycles of a model: plain, with deleted documents kept (`soft_delete=True`), or with every version."""

from __future__ import annotations

from .history import Versioned
from .lifecycle import Lifecycle, Plain
from .lifecycles import Lifecycles
from .soft_delete import SoftDeleting

__all__ = ["Lifecycle", "Lifecycles", "Plain", "SoftDeleting", "Versioned"]
