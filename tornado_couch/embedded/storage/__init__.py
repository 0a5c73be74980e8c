"""Stores one database in SQLite."""

from __future__ import annotations

from tornado_couch.embedded.storage.attachments import PART_SIZE, Attachment, NewAttachment, new_attachment
from tornado_couch.embedded.storage.database import DELETED, PLAIN, Database, ReadOptions, Row, Stored
from tornado_couch.embedded.storage.databases import Databases, OpenDatabase
from tornado_couch.embedded.storage.documents import Draft, check_id, document_text, draft_of, is_design, is_local
from tornado_couch.embedded.storage.info import format_seq, info, parse_since
from tornado_couch.embedded.storage.revisions import (
    leaves,
    parse_revision,
    possible_ancestors,
    revisions_member,
)
from tornado_couch.embedded.storage.source import Change, Source
from tornado_couch.embedded.storage.transaction import Outcome, Transaction

__all__ = [
    "DELETED",
    "PART_SIZE",
    "PLAIN",
    "Attachment",
    "Change",
    "Database",
    "Databases",
    "Draft",
    "NewAttachment",
    "OpenDatabase",
    "Outcome",
    "ReadOptions",
    "Row",
    "Source",
    "Stored",
    "Transaction",
    "check_id",
    "document_text",
    "draft_of",
    "format_seq",
    "info",
    "is_design",
    "is_local",
    "leaves",
    "new_attachment",
    "parse_revision",
    "parse_since",
    "possible_ancestors",
    "revisions_member",
]
