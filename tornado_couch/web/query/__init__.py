"""Reads the query string of a collection: filters, order, pages and projections."""

from __future__ import annotations

from .cursors import Cursor, CursorCodec, page_link, parse_limit
from .decoding import decode_names, decode_parameter
from .filters import FilterLimits, filterable, has_ranges, parse_filters
from .parameters import ListQuery, parse_list_query
from .projection import Projection, of_variants, parse_fields

__all__ = [
    "Cursor",
    "CursorCodec",
    "FilterLimits",
    "ListQuery",
    "Projection",
    "decode_names",
    "decode_parameter",
    "filterable",
    "has_ranges",
    "of_variants",
    "page_link",
    "parse_fields",
    "parse_filters",
    "parse_limit",
    "parse_list_query",
]
