"""Information about a database as a whole."""

from __future__ import annotations

from typing import Any

from tornado_couch.embedded.storage.database import Database
from tornado_couch.embedded.storage.sequences import format_seq

__all__ = ["info"]


def info(database: Database) -> dict[str, Any]:
    """The answer to `GET /{db}`."""
    return {
        "instance_start_time": database.made,
        "db_name": database.name,
        "purge_seq": format_seq(database, database.purge_seq),
        "update_seq": format_seq(database, database.seq),
        "sizes": database.sizes(),
        "props": {"partitioned": True} if database.partitioned else {},
        "doc_del_count": database.doc_del_count,
        "doc_count": database.doc_count,
        "disk_format_version": 8,
        "compact_running": False,
        "cluster": {"q": 1, "n": 1, "w": 1, "r": 1},
    }
