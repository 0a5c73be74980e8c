"""The lifecycles over one database, and the choice among them: the one place that asks how a model was declared."""

from __future__ import annotations

from ...couch import Database
from ...models import Model, model_info
from ..reading.reader import Reader
from ..reading.version_lists import HistoryReader
from ..writing.deletion import Eraser
from ..writing.model_writer import ModelWriter
from .files import Files
from .history import Versioned
from .lifecycle import Lifecycle, Plain
from .soft_delete import SoftDeleting

__all__ = ["Lifecycles"]


class Lifecycles:
    """The three lifecycles over one database.

    Args:
        database: where the documents are.
        reader: reads models; from the cache if there is one.
        direct: reads models past the cache; the same as `reader` without a cache.
        models: writes models.
        eraser: deletes documents.

    Attributes:
        files: stores the files that were attached to versions.
    """

    def __init__(self, database: Database, reader: Reader, direct: Reader, models: ModelWriter, eraser: Eraser) -> None:
        self.files = Files(database, models)
        history = HistoryReader(database, reader, models.conversion)
        direct_history = history if direct is reader else HistoryReader(database, direct, models.conversion)
        self._plain = Plain(database, reader, direct, models, eraser)
        self._soft_deleting = SoftDeleting(self._plain, reader, direct, models)
        self._versioned = Versioned(database, history, direct_history, models, self.files)

    def of(self, cls: type[Model]) -> Lifecycle:
        """The lifecycle of a model."""
        info = model_info(cls)
        if info.history:
            return self._versioned
        return self._soft_deleting if info.soft_delete else self._plain
