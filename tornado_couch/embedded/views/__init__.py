"""The engine for views and for the functions of design documents."""

from __future__ import annotations

from tornado_couch.embedded.views.designs import Design, design_text, document_fetcher
from tornado_couch.embedded.views.engine import DatabaseViews, IndexUpdates, Turns
from tornado_couch.embedded.views.functions import Response
from tornado_couch.embedded.views.index import Bound, Range
from tornado_couch.embedded.views.mango_index import MangoIndex, indexes_of
from tornado_couch.embedded.views.parameters import Key, ViewParameters, check, view_parameters, view_queries
from tornado_couch.embedded.views.query import Fetch

__all__ = [
    "Bound",
    "DatabaseViews",
    "Design",
    "Fetch",
    "IndexUpdates",
    "Key",
    "MangoIndex",
    "Range",
    "Response",
    "Turns",
    "ViewParameters",
    "check",
    "design_text",
    "document_fetcher",
    "indexes_of",
    "view_parameters",
    "view_queries",
]
