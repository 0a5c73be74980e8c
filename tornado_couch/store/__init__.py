"""The store joins the client and the models: create, get, find, update with retry, replace, delete."""

from __future__ import annotations

from .conflicts.find import Conflicted, ConflictPage, conflicts_in_view, conflicts_since
from .conflicts.lease import Lease
from .conflicts.leaves import LeafSet
from .conflicts.reconcile import ReconcileResult, Reconciliation
from .consumers import Consumer, ConsumerStats, FailedChange
from .live import Batch, ChangePage, DocumentChange, Observed, Place, may_be_of
from .operations import Change, Check, Creation, Deletion, Expectation, FileExpectation, Operation, Update, changed
from .pace import Pace
from .protection.renewal import Reprotection
from .query import Bounds, Query
from .readiness import Readiness, ReadinessCheck
from .reading.attachments import AttachmentReader
from .reading.cache import ReadCache, SharedFeeds
from .reading.planner import indexed_properties, plan
from .reading.reader import Page
from .reading.reductions import Group, Groups, reduced
from .reading.room import Room, Share, share_of_request
from .reading.scan import Position
from .reconciler import Reconciler, ReconcilerStats, reconcile_all
from .scopes import has_left, is_scope
from .store import Store
from .upgrade import rewritten
from .uploads import Source, Upload
from .writing.writer import Retry

__all__ = [
    "AttachmentReader",
    "Batch",
    "Bounds",
    "Change",
    "ChangePage",
    "Check",
    "ConflictPage",
    "Conflicted",
    "Consumer",
    "ConsumerStats",
    "Creation",
    "Deletion",
    "DocumentChange",
    "Expectation",
    "FailedChange",
    "FileExpectation",
    "Group",
    "Groups",
    "LeafSet",
    "Lease",
    "Observed",
    "Operation",
    "Pace",
    "Page",
    "Place",
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
    "Room",
    "Share",
    "SharedFeeds",
    "Source",
    "Store",
    "Update",
    "Upload",
    "changed",
    "conflicts_in_view",
    "conflicts_since",
    "has_left",
    "indexed_properties",
    "is_scope",
    "may_be_of",
    "plan",
    "reconcile_all",
    "reduced",
    "rewritten",
    "share_of_request",
]
