"""Signs documents again that were created over a tombstone that had not been seen, and so have another parent."""

from __future__ import annotations

from typing import Any

from ...errors import CouchError, OutcomeUnknown
from ..protection.signatures import Guard
from .writer import Writer

__all__ = ["refitted"]

Document = dict[str, Any]


async def refitted(writer: Writer, guard: Guard, document: Document, revision: str) -> tuple[Document, str]:
    """Check that the signature of a document that was just written fits its revision, and write it again if not.

    It does not fit if others created and deleted the document after its tombstones were looked for.

    Returns:
        The document and its revision.

    Raises:
        OutcomeUnknown: it could not be written again, and no read accepts the document as it is.
    """
    if guard.fits(document, revision):
        return document, revision
    document = guard.signed(writer.marked({**document, "_rev": revision}))
    try:
        return document, await writer.put(document)
    except OutcomeUnknown:
        raise
    except CouchError as error:
        raise OutcomeUnknown("the document was stored, but could not be signed again for its new parent") from error
