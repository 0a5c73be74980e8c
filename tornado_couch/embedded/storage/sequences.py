"""Sequence numbers as clients see them: `NUMBER-TOKEN`, the token being the database's own."""

from __future__ import annotations

import base64

from tornado_couch.embedded.problems import bad_request
from tornado_couch.embedded.storage.database import Database

__all__ = ["format_seq", "parse_since"]


def _token(database: Database, seq: int) -> str:
    """Opaque to clients: the number again and the database's instance, so that it tells one made anew."""
    packed = seq.to_bytes(6, "big") + bytes.fromhex(database.instance)
    return base64.urlsafe_b64encode(packed).rstrip(b"=").decode()


def format_seq(database: Database, seq: int) -> str:
    """The sequence number for a client."""
    return f"{seq}-{_token(database, seq)}"


def parse_since(database: Database, text: str) -> int:
    """The number in a `since` parameter. One of another database, or of this name's past, starts from 0.

    Raises:
        Problem: 400, this server did not make it.
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
    # CouchDB replays from the start for nodes and shards that it does not know.
    if packed[6:].hex() != database.instance:
        return 0
    # A number ahead of the database, which was put back from a copy, must not hide what comes.
    return min(int.from_bytes(packed[:6], "big"), database.seq)
