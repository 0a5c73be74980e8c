"""Signs documents, so that changes by somebody without the keys are found, and documents moved or put back as well.

Scheme **v2** signs the canonical bytes of the whole document together with the database's name, the document's id
and the revision that it replaces (the *parent*). The keys add their own id. The signature is stored in one property,

    "tornado_couch_signature": {"scheme": "v2", "database": "orchard", "id": "1f", "parent": "2-ab…", "signature": "…"}

where database and id are repeated only to distinguish a document that was moved from one that was altered. A document
must not use that name for anything else: it cannot be signed then, and models refuse the name (`RESERVED_PROPERTIES`).

- `_id` is signed as the id; `_rev` cannot be signed, since it follows from the contents. The generation of `_rev` must
  be one more than that of the parent, so an older body that was written again is found without the history; the
  history proves the parent itself. Members that CouchDB adds to an answer (`_revisions`, `_conflicts`, …) are left out.
- `_deleted` is signed: a deletion is a signed tombstone, and one without a signature comes from somebody else.
- `_attachments` are signed by name, content type, length and digest, which CouchDB computes when it stores the data;
  `revpos` is not, since it says nothing about the contents. Attachments must be uploaded before the document is
  signed: with the data in the document the digest is not known yet, as CouchDB compresses some types first.
- Members are signed in canonical order, so their order in the document is free. The signature is put last and contains
  nothing random (with HMAC and Ed25519), so that two reconcilers write the same bytes.

Signatures cannot show that a whole database, or every newer revision of a document, was put back to an earlier state:
no document can prove that it is the latest. One document is rejected without reason: one that contains 5e-324, the
smallest double, which CouchDB 3.5 stores as 0; every other number comes back unchanged.

Scheme **classic** is that of tor-async-couchdb, with Keyczar's key sets. It binds neither id nor revision.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Collection, Mapping
from enum import StrEnum
from typing import Any, TypeGuard

from ..errors import InvalidSignature, KeySetError, SecurityError, SignatureFault
from ..revision import generation
from .encoding import canonical
from .keyczar_keys import plain_signers, verify_plain
from .keys import Signer

__all__ = [
    "CLASSIC_PROPERTY",
    "RESERVED_PROPERTIES",
    "SIGNATURE_PROPERTY",
    "Scheme",
    "sign_document",
    "sign_tombstone",
    "signature_of",
    "verify_document",
]

SIGNATURE_PROPERTY = "tornado_couch_signature"
CLASSIC_PROPERTY = "801dbe4659a641739cbe94fcf0baab03_tampering_v1.0_sig"
RESERVED_PROPERTIES = frozenset({SIGNATURE_PROPERTY, CLASSIC_PROPERTY})
"""Names that a model must not give to a property."""

_MEMBERS = {"scheme", "database", "id", "parent", "signature"}
# Members that CouchDB adds to an answer and does not store:
# https://docs.couchdb.org/en/stable/api/document/common.html
_OF_THE_ANSWER = {"_revisions", "_revs_info", "_conflicts", "_deleted_conflicts", "_local_seq"}
_OUTSIDE = {"_id", "_rev", "_deleted", "_attachments", SIGNATURE_PROPERTY, *_OF_THE_ANSWER}
_CLASSIC_OUTSIDE = {"_id", "_rev", CLASSIC_PROPERTY, *_OF_THE_ANSWER}


class Scheme(StrEnum):
    """How documents are signed."""

    V2 = "v2"
    CLASSIC = "classic"


def sign_document(
    document: Mapping[str, Any], *, database: str, parent: str | None, signer: Signer, scheme: Scheme = Scheme.V2
) -> dict[str, Any]:
    """A copy of the document with its signature, which replaces an older one.

    Args:
        document: the document, with `_id`; with `_deleted` for a tombstone. Encrypted properties are encrypted already.
        database: the name of the database that it is written to.
        parent: the revision that it replaces; that of the tombstone if it follows one; None for the first revision.
        signer: the keys to sign with; for the classic scheme a Keyczar key set, or a chain that contains one.
        scheme: how to sign.

    Raises:
        SecurityError: the document uses the signature's name for something else, has attachments that CouchDB has not
            stored yet, or has a `_rev` other than the parent.
        ValueError: this is not a JSON value.
        KeySetError: the signer cannot sign, or has no primary key.
    """
    if document.get("_rev", parent) != parent:
        raise SecurityError("the document's revision is not the parent given to sign")
    if scheme is Scheme.CLASSIC:
        signature = _plain_signer(signer).Sign(_classic_bytes(document))
        text = signature.decode("ascii") if isinstance(signature, bytes) else str(signature)
        return _with(document, CLASSIC_PROPERTY, text)
    if SIGNATURE_PROPERTY in document and not _is_ours(document[SIGNATURE_PROPERTY]):
        raise SecurityError(f"the name {SIGNATURE_PROPERTY} is reserved for the signature of a document")
    bound = _bound(database, _id(document), parent)
    body = _body({name: each for name, each in document.items() if name != CLASSIC_PROPERTY})
    signature = signer.sign(canonical(body), context=canonical(bound))
    return _with(document, SIGNATURE_PROPERTY, {**bound, "signature": signature})


def sign_tombstone(document: Mapping[str, Any], *, database: str, signer: Signer) -> dict[str, Any]:
    """Make the signed tombstone that deletes a document: it has id, revision, type and signature, and nothing else.

    Raises:
        SecurityError: the document has no id or revision.
        KeySetError: the signer cannot sign, or has no primary key.
    """
    kept = {name: document[name] for name in ("_id", "_rev", "type") if name in document}
    if "_rev" not in kept:
        raise SecurityError("a document without a revision cannot be deleted")
    return sign_document({**kept, "_deleted": True}, database=database, parent=kept["_rev"], signer=signer)


def verify_document(
    document: Mapping[str, Any],
    *,
    database: str,
    verifier: Signer,
    revisions: Mapping[str, Any] | None = None,
    accept: Collection[Scheme] = (Scheme.V2,),
) -> None:
    """Check that a document, as it was read, was written there by a holder of the keys; return nothing if so.

    Args:
        document: the document, with `_id` and `_rev`.
        database: the name of the database that it was read from.
        verifier: the keys of all that may have signed it.
        revisions: its `_revisions` (`revs=true`), to check the parent as well. If CouchDB keeps only one revision
            (`_revs_limit`), only the parent's generation can be compared.
        accept: the schemes to accept. `CLASSIC` accepts every body that was ever signed by that scheme, anywhere.

    Raises:
        InvalidSignature: the check failed; `reason` says what seems to have happened.
        KeySetError: the verifier is not for signatures.
        ValueError: `revisions` belong to another document.
    """
    if SIGNATURE_PROPERTY in document and Scheme.V2 in accept:
        _verify_v2(document, database, verifier, revisions)
    elif CLASSIC_PROPERTY in document and Scheme.CLASSIC in accept:
        _verify_classic(document, verifier)
    elif document.get("_deleted"):
        raise InvalidSignature("the document was deleted without a signature", SignatureFault.DELETED)
    else:
        raise InvalidSignature("the document is not signed", SignatureFault.UNSIGNED)


def signature_of(document: Mapping[str, Any]) -> str | None:
    """The keys' own part of a document's signature, for calling `is_current`; None if it is not of scheme v2."""
    held = document.get(SIGNATURE_PROPERTY)
    return held["signature"] if _is_ours(held) else None


def _verify_v2(
    document: Mapping[str, Any], database: str, verifier: Signer, revisions: Mapping[str, Any] | None
) -> None:
    held = document[SIGNATURE_PROPERTY]
    if not _is_ours(held):
        raise InvalidSignature("the signature does not have the form of scheme v2")
    try:
        message, context = canonical(_body(document)), canonical(_bound(held["database"], held["id"], held["parent"]))
    except (SecurityError, ValueError):
        raise InvalidSignature("the document contains values that cannot have been signed") from None
    verifier.verify(message, held["signature"], context=context)
    # Only now can the signature's own members be trusted.
    if (held["database"], held["id"]) != (database, _id(document)):
        raise InvalidSignature("the document was signed for another place", SignatureFault.MOVED)
    _check_parent(held["parent"], document.get("_rev"), revisions)


def _check_parent(parent: str | None, revision: str | None, revisions: Mapping[str, Any] | None) -> None:
    if revisions is not None:
        start, ids = revisions["start"], revisions["ids"]
        if revision is not None and revision != f"{start}-{ids[0]}":
            raise ValueError("the given revisions do not belong to the document")
        revision = f"{start}-{ids[0]}"
        if len(ids) > 1 and parent != f"{start - 1}-{ids[1]}":
            raise InvalidSignature("the document was signed as another revision", SignatureFault.ROLLED_BACK)
    if revision is not None and generation(revision) != (generation(parent) if parent else 0) + 1:
        raise InvalidSignature("the document was signed as another revision", SignatureFault.ROLLED_BACK)


def _verify_classic(document: Mapping[str, Any], verifier: Signer) -> None:
    signature = document[CLASSIC_PROPERTY]
    signers = plain_signers(verifier)
    if not signers:
        raise KeySetError("documents signed with the classic scheme need a Keyczar key set")
    if not isinstance(signature, str):
        raise InvalidSignature("the signature does not have the form that Keyczar writes")
    data = _classic_bytes(document)
    failures = []
    for signer in signers:
        try:
            return verify_plain(signer, data, signature)
        except InvalidSignature as error:
            failures.append(error)
    raise next((each for each in failures if each.reason is not SignatureFault.UNKNOWN_KEY), failures[0])


def _plain_signer(keys: object) -> Any:
    for signer in plain_signers(keys)[:1]:
        if hasattr(signer, "Sign"):
            return signer
    raise KeySetError("the classic scheme needs a Keyczar key set to sign")


def _classic_bytes(document: Mapping[str, Any]) -> bytes:
    """The bytes that tor-async-couchdb signs: Python's own JSON, with its blanks and ASCII escapes, members sorted."""
    body = {name: each for name, each in document.items() if name not in _CLASSIC_OUTSIDE}
    return json.dumps(body, sort_keys=True).encode("ascii")


def _bound(database: str, document_id: str, parent: str | None) -> dict[str, Any]:
    return {"scheme": Scheme.V2.value, "database": database, "id": document_id, "parent": parent}


def _body(document: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a document that is signed besides its place; it is the same before the write and after the read."""
    body = {name: each for name, each in document.items() if name not in _OUTSIDE}
    if document.get("_deleted"):
        body["_deleted"] = True
    if document.get("_attachments"):
        body["_attachments"] = _attachments(document["_attachments"])
    return body


def _attachments(entries: Mapping[str, Any]) -> dict[str, list[Any]]:
    try:
        return {name: [each["content_type"], _length(each), each["digest"]] for name, each in entries.items()}
    except (AttributeError, KeyError, TypeError, binascii.Error):
        raise SecurityError("attachments must be stored before the document is signed") from None


def _length(entry: Mapping[str, Any]) -> Any:
    """The length in bytes; a read with `attachments=true` has the data instead."""
    return entry["length"] if "length" in entry else len(base64.b64decode(entry["data"], validate=True))


def _is_ours(held: object) -> TypeGuard[dict[str, Any]]:
    """Whether a value has the form of a signature of scheme v2."""
    if not isinstance(held, dict) or set(held) != _MEMBERS or held["scheme"] != Scheme.V2.value:
        return False
    texts = [held["database"], held["id"], held["signature"]]
    return all(isinstance(each, str) for each in texts) and isinstance(held["parent"], str | None)


def _id(document: Mapping[str, Any]) -> str:
    if not isinstance(document.get("_id"), str):
        raise SecurityError("a document needs an id to be signed")
    return str(document["_id"])


def _with(document: Mapping[str, Any], name: str, signature: object) -> dict[str, Any]:
    """A copy of the document with one signature, in the last place, wherever an older one was."""
    kept = {each: value for each, value in document.items() if each not in RESERVED_PROPERTIES}
    return {**kept, name: signature}
