"""Sizes of databases and views, with the names of the classic API."""

from __future__ import annotations

from collections.abc import Sequence

from ..couch import Sizes

__all__ = ["DatabaseMetrics", "ViewMetrics"]


class ViewMetrics:
    """The size of a view's index.

    Attributes:
        design_doc: the name of its design document.
        data_size: bytes in use.
        disk_size: bytes of the file.
    """

    def __init__(self, design_doc: str, data_size: int | None, disk_size: int | None) -> None:
        self.design_doc = design_doc
        self.data_size = data_size
        self.disk_size = disk_size

    @property
    def fragmentation(self) -> int | None:
        """The percentage of the file that is no longer in use; None if a size is unknown."""
        return Sizes(file=self.disk_size, active=self.data_size).fragmentation


class DatabaseMetrics:
    """The size of a database.

    Attributes:
        database: the URL of the database.
        doc_count: the number of documents.
        data_size: bytes in use.
        disk_size: bytes of the file.
        view_metrics: the metrics of its views.
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
        """The percentage of the file that is no longer in use; None if a size is unknown."""
        return Sizes(file=self.disk_size, active=self.data_size).fragmentation
