"""The forms that a model's values have: as pydantic knows them, as they are stored, and as clients see them."""

from __future__ import annotations

from .computed import computed_properties, fields_of
from .fields import (
    AROUND,
    Field,
    Fields,
    Schema,
    Write,
    asks_clock,
    authors_functions,
    changed_schema,
    has_own_serializer,
    is_foreign,
    looks_for_file,
    own_validator,
    schema_nodes,
    shower,
    timeless,
    writer,
)
from .partial import Held, Unfit, check_repaired, partial_model, reading_partially

__all__ = [
    "AROUND",
    "Field",
    "Fields",
    "Held",
    "Schema",
    "Unfit",
    "Write",
    "asks_clock",
    "authors_functions",
    "changed_schema",
    "check_repaired",
    "computed_properties",
    "fields_of",
    "has_own_serializer",
    "is_foreign",
    "looks_for_file",
    "own_validator",
    "partial_model",
    "reading_partially",
    "schema_nodes",
    "shower",
    "timeless",
    "writer",
]
