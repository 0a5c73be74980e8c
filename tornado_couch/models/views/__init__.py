"""What a model declares for its views: indexes, reductions and partitions."""

from __future__ import annotations

from .indexes import Index, make_indexes
from .partitions import check_partition, partition_of, partition_problem, partition_view
from .reductions import Count, Reduction, Stats, Sum, check_reductions
from .sort_keys import SortKey, as_javascript, sort_key_of

__all__ = [
    "Count",
    "Index",
    "Reduction",
    "SortKey",
    "Stats",
    "Sum",
    "as_javascript",
    "check_partition",
    "check_reductions",
    "make_indexes",
    "partition_of",
    "partition_problem",
    "partition_view",
    "sort_key_of",
]
