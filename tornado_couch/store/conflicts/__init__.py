"""Finding conflicting leaves and reconciling them."""

from __future__ import annotations

from .find import Conflicted, ConflictPage, conflicts_among, conflicts_in_view, conflicts_since
from .lease import Lease
from .leaves import LeafSet
from .reconcile import ReconcileResult, Reconciliation

__all__ = [
    "ConflictPage",
    "Conflicted",
    "LeafSet",
    "Lease",
    "ReconcileResult",
    "Reconciliation",
    "conflicts_among",
    "conflicts_in_view",
    "conflicts_since",
]
