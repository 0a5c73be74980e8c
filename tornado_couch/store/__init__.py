"""The store joins the client and the models: create, get, find, update with retry, replace, delete."""

from __future__ import annotations

from .cache import ReadCache
from .conflicts import Conflicted, ConflictPage, conflicts_in_view, conflicts_since
from .lease import Lease
from .leaves import LeafSet
from .operations import Change, Check, Creation, Deletion, Expectation, Operation, Update, changed
from .planning import indexed_properties, plan
from .queries import Bounds, Query
from .readiness import Readiness, ReadinessCheck
from .reading import Page
from .reconcile import ReconcileResult, Reconciliation
from .reconciler import Reconciler, ReconcilerStats, reconcile_all
from .reductions import Group, Groups, reduced
from .reprotection import Reprotection
from .retry import Retry
from .rewriting import rewritten
from .store import Store
from .walking import Position

__all__ = [
    "Bounds",
    "Change",
    "Check",
    "ConflictPage",
    "Conflicted",
    "Creation",
    "Deletion",
    "Expectation",
    "Group",
    "Groups",
    "LeafSet",
    "Lease",
    "Operation",
    "Page",
    "Position",
    "Query",
    "ReadCache",
    "Readiness",
    "ReadinessCheck",
    "ReconcileResult",
    "Reconciler",
    "ReconcilerStats",
    "Reconciliation",
    "Reprotection",
    "Retry",
    "Store",
    "Update",
    "changed",
    "conflicts_in_view",
    "conflicts_since",
    "indexed_properties",
    "plan",
    "reconcile_all",
    "reduced",
    "rewritten",
]
