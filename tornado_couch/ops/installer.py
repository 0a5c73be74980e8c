"""Puts in place what models need: the database and their design documents."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..couch import Couch, Database
from ..errors import AlreadyExists, Conflict, NotFound
from ..models import Model, conflicts_design_document, design_documents

__all__ = ["install"]


async def install(couch: Couch, database: str, models: Iterable[type[Model]]) -> list[str]:
    """Create the database and the design documents that are missing or out of date, that of conflicts included.

    It can run again at any time, and in several processes at once: what is there already is left.

    Args:
        couch: the server, with the credentials of an admin.
        database: the name.
        models: those whose documents the database holds.

    Returns:
        What was done, a sentence each; empty when everything was in place.
    """
    done = []
    try:
        await couch.create_database(database)
        done.append(f"created database {database}")
    except AlreadyExists:
        pass
    wanted = [conflicts_design_document(), *(document for model in models for document in design_documents(model))]
    written = [document["_id"] for document in wanted if await _put_design_document(couch[database], document)]
    return [*done, *(f"wrote {name}" for name in written)]


async def _put_design_document(database: Database, wanted: dict[str, Any]) -> bool:
    """Whether the design document had to be written."""
    while True:
        try:
            stored = await database.get(wanted["_id"])
        except NotFound:
            stored = {}
        revision = stored.pop("_rev", None)
        if stored == wanted:
            return False
        try:
            await database.put({**wanted, **({"_rev": revision} if revision else {})})
        except Conflict:
            continue  # another process installs at the same time: see what it wrote
        return True
