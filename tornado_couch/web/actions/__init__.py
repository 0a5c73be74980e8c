"""One module for each thing that a client can do with a resource."""

from __future__ import annotations

from .bulk import BulkHandler
from .conflicts import ConflictsHandler
from .create import CreateMixin
from .documents import DestroyMixin, PatchMixin, ReplaceMixin, RetrieveMixin
from .list import ListMixin
from .many import DestroyManyMixin, PatchManyMixin
from .reduce import ReductionHandler
from .versions import VersionsHandler

__all__ = [
    "BulkHandler",
    "ConflictsHandler",
    "CreateMixin",
    "DestroyManyMixin",
    "DestroyMixin",
    "ListMixin",
    "PatchManyMixin",
    "PatchMixin",
    "ReductionHandler",
    "ReplaceMixin",
    "RetrieveMixin",
    "VersionsHandler",
]
