"""Information about a database as a whole."""

from __future__ import annotations

import base64
from typing import Any

from tornado_couch.embedded.problems import bad_request
from tornado_couch.embedded.storage.database import Database

__all__ = ["format_seq", "info", "parse_since"]


def _token(database: Database, seq: int) -> str:
    """A token that is opaque to clients: the number and the database's instance, which changes when it is recreated."""
    packed = seq.to_bytes(6, "big") + bytes.fromhex(database.instance)
    return base64.urlsafe_b64encode(packed).rstrip(b"=").decode()


def format_seq(database: Database, seq: int) -> str:
    """The sequence number for a client."""
    return f"{seq}-{_token(database, seq)}"


def parse_since(database: Database, text: str) -> int:
    """The number in a `since` parameter. One of another database, or of an earlier one with this name, gives 0.

    Raises:
        Problem: 400, it does not come from this server.
    """
    text = text.strip().strip('"')
    if text == "0":
        return 0
    if text == "now":
        return database.seq
    token = text.partition("-")[2]
    try:
        packed = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
    except ValueError:
        packed = b""
    if len(packed) != 22 or not token.isascii():
        raise bad_request("Malformed sequence supplied in 'since' parameter.")
    # CouchDB starts from the beginning for nodes and shards that it does not know.
    if packed[6:].hex() != database.instance:
        return 0
    # If the database was restored from a copy, a number ahead of it must not hide what comes.
    return min(int.from_bytes(packed[:6], "big"), database.seq)


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
