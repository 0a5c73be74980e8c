"""The forms that a model's values have: as pydantic knows them, as they are stored, and as clients see them."""

from __future__ import annotations

from .computed import computed_properties, fields_of
from .writing import Write, shower, writer

__all__ = ["Write", "computed_properties", "fields_of", "shower", "writer"]
