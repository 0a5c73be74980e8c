"""JSON Schema of a model: for request bodies, for patches, at rest, and inside CouchDB."""

from __future__ import annotations

from .at_rest import schema_at_rest
from .bodies import Action, ValueSchema, body_problems, body_schema
from .patch import json_patch, merge_patch
from .validate_doc_update import VALIDATION_DOCUMENT, DatabaseCheck, database_check

__all__ = [
    "VALIDATION_DOCUMENT",
    "Action",
    "DatabaseCheck",
    "ValueSchema",
    "body_problems",
    "body_schema",
    "database_check",
    "json_patch",
    "merge_patch",
    "schema_at_rest",
]
