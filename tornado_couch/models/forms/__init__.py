"""The forms that a model's values have: as pydantic knows them, as they are stored, and as clients see them."""

from __future__ import annotations

from .computed import computed_properties, fields_of
from .partial import Unfit, check_repaired, partial_model, reading_partially
from .writing import Write, shower, writer

__all__ = [
    "Unfit",
    "Write",
    "check_repaired",
    "computed_properties",
    "fields_of",
    "partial_model",
    "reading_partially",
    "shower",
    "writer",
]
