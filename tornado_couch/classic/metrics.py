"""Sizes of databases and views, under the names of the classic API.

CouchDB 3 has `sizes` with `file` and `active`; before 2.0 there were `disk_size` and `data_size`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["DatabaseMetrics", "ViewMetrics", "database_sizes", "view_sizes"]


class ViewMetrics:
    """The size of a view's index.

    Attributes:
        design_doc: the name of its design document.
        data_size: bytes that are in use.
        disk_size: bytes of the file.
    """

    def __init__(self, design_doc: str, data_size: int | None, disk_size: int | None) -> None:
        self.design_doc = design_doc
        self.data_size = data_size
        self.disk_size = disk_size

    @property
    def fragmentation(self) -> int | None:
        """How many per cent of the file are of no use any more; None where a size is unknown."""
        return _fragmentation(self.data_size, self.disk_size)


class DatabaseMetrics:
    """The size of a database.

    Attributes:
        database: its URL.
        doc_count: how many documents it has.
        data_size: bytes that are in use.
        disk_size: bytes of the file.
        view_metrics: those of its views.
    """

    def __init__(
        self,
        database: str,
        doc_count: int | None,
        data_size: int | None,
        disk_size: int | None,
        view_metrics: Sequence[ViewMetrics],
    ) -> None:
        self.database = database
        self.doc_count = doc_count
        self.data_size = data_size
        self.disk_size = disk_size
        self.view_metrics = view_metrics

    @property
    def fragmentation(self) -> int | None:
        """How many per cent of the file are of no use any more; None where a size is unknown."""
        return _fragmentation(self.data_size, self.disk_size)


def database_sizes(info: Mapping[str, Any]) -> tuple[int | None, int | None]:
    """The bytes in use and those of the file, of what CouchDB says of a database or a view's index."""
    sizes = info.get("sizes")
    if isinstance(sizes, dict):
        return sizes.get("active"), sizes.get("file")
    return info.get("data_size"), info.get("disk_size")


def view_sizes(info: Mapping[str, Any]) -> tuple[int | None, int | None]:
    """The same of `_design/NAME/_info`."""
    index = info.get("view_index")
    return database_sizes(index) if isinstance(index, dict) else (None, None)


def _fragmentation(data_size: int | None, disk_size: int | None) -> int | None:
    if data_size is None or disk_size is None:
        return None
    # https://docs.couchdb.org/en/stable/maintenance/compaction.html
    return round((disk_size - data_size) * 100 / disk_size) if disk_size else 0
