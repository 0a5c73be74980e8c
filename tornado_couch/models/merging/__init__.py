"""What becomes of conflicting leaves: ancestors, rules, and unions; without models."""

from __future__ import annotations

from .ancestry import MERGE_PROPERTY, Ancestry, Join, MergedBy, Plan, merge_record
from .rules import ABSENT, KEPT, UNKNOWN, Gap, Merge, MergeRule, Parse, Side, ThreeWay, Undecided, weight_of

__all__ = [
    "ABSENT",
    "KEPT",
    "MERGE_PROPERTY",
    "UNKNOWN",
    "Ancestry",
    "Gap",
    "Join",
    "Merge",
    "MergeRule",
    "MergedBy",
    "Parse",
    "Plan",
    "Side",
    "ThreeWay",
    "Undecided",
    "merge_record",
    "weight_of",
]
