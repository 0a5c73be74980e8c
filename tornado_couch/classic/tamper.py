"""The classic tamper signature: byte for byte that of tor-async-couchdb.

It binds neither id nor revision; `Store(signer=…)` writes one that does.
"""

from __future__ import annotations

from typing import Any

from ..errors import SecurityError
from ..security import Scheme, sign_document, verify_document
from ..security.signing import CLASSIC_PROPERTY

__all__ = ["sign", "verify"]


def sign(signer: Any, doc: dict[str, Any]) -> dict[str, Any]:
    """Add the signature to a document that is about to be written.

    Args:
        signer: a `Signer` of `tornado_couch.security.keyczar`, or anything with Keyczar's `Sign`. A key set of
            ours signs only when it was read with `allow_legacy=True`, since Keyczar knows no better than SHA-1.
        doc: the document, which is changed.

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
    """Whether a document that was read bears the signature of this signer."""
    try:
        verify_document(doc, database="", verifier=signer, accept=(Scheme.CLASSIC,))
    except (SecurityError, ValueError):
        return False
    return True
