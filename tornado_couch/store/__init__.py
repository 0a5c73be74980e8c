"""The store joins the client and the models: create, get, find, update with retry, replace, delete."""

from __future__ import annotations

from .operations import Change, Check, Creation, Deletion, Expectation, Operation, Update
from .planning import indexed_properties, plan
from .queries import Bounds, Query
from .readiness import Readiness, ReadinessCheck
from .reading import Page
from .reconcile import ReconcileResult, Reconciliation
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
    "Creation",
    "Deletion",
    "Expectation",
    "Group",
    "Groups",
    "Operation",
    "Page",
    "Position",
    "Query",
    "Readiness",
    "ReadinessCheck",
    "ReconcileResult",
    "Reconciliation",
    "Reprotection",
    "Retry",
    "Store",
    "Update",
    "indexed_properties",
    "plan",
    "reduced",
    "rewritten",
]
