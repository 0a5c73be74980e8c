"""Documents that were created over a tombstone nobody had seen, and so were signed for another parent."""

from __future__ import annotations

from typing import Any

from ...errors import CouchError, OutcomeUnknown
from ..protection.signatures import Guard
from .writer import Writer

__all__ = ["refitted"]

Document = dict[str, Any]


async def refitted(writer: Writer, guard: Guard, document: Document, revision: str) -> tuple[Document, str]:
    """A document that was just written, and its revision: written once more where its signature does not fit that.

    So it is where others created and deleted the document since the tombstones were looked for.

    Raises:
        OutcomeUnknown: it could not be written once more, and as it is no read accepts it.
    """
    if guard.fits(document, revision):
        return document, revision
    document = guard.signed(writer.marked({**document, "_rev": revision}))
    try:
        return document, await writer.put(document)
    except OutcomeUnknown:
        raise
    except CouchError as error:
        raise OutcomeUnknown("the document was stored, and could not be signed for its place") from error
