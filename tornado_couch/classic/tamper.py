"""The classic tamper signature, byte for byte the same as in tor-async-couchdb.

It covers neither id nor revision; the signatures of `Store(signer=…)` do.
"""

from __future__ import annotations

from typing import Any

from ..errors import SecurityError
from ..security import Scheme, sign_document, verify_document
from ..security.signing import CLASSIC_PROPERTY

__all__ = ["sign", "verify"]


def sign(signer: Any, doc: dict[str, Any]) -> dict[str, Any]:
    """Add the signature to a document before it is written.

    Args:
        signer: a `Signer` of `tornado_couch.security.keyczar`, or any object with Keyczar's `Sign`. Our own key sets
          sign only if they were read with `allow_legacy=True`, since Keyczar supports nothing better than SHA-1.
        doc: the document, which is changed in place.

    Returns:
        The same document.

    Raises:
        LegacyAlgorithm: the key set may only verify.
        KeySetError: the signer cannot sign.
    """
    signed = sign_document(doc, database="", parent=doc.get("_rev"), signer=signer, scheme=Scheme.CLASSIC)
    doc[CLASSIC_PROPERTY] = signed[CLASSIC_PROPERTY]
    return doc


def verify(signer: Any, doc: dict[str, Any]) -> bool:
    """Whether a document that was read has a valid signature of this signer."""
    try:
        verify_document(doc, database="", verifier=signer, accept=(Scheme.CLASSIC,))
    except (SecurityError, ValueError):
        return False
    return True
