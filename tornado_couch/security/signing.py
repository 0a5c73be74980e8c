"""Signs documents, so that changes by somebody without the keys are found, and documents moved or put back as well.

Scheme **v3** signs the very term that CouchDB hashes to make the document's revision (see `revision`): the parent, the
deleted flag, the members in their order and the attachments, with the signature's own text left empty. The keys add
their own id. The signature is stored in the last property,

    "tornado_couch_signature": {"scheme": "v3", "database": "orchard", "id": "1f", "parent": "2-ab…", "signature": "…"}

and a document is accepted only at the revision that follows from it. So what was signed once is worth nothing at any
other place in a document's history: a copy that somebody plants there needs another revision.

- The text of a signature has one accepted spelling, since another one would make a second revision: base64url without
  stray bits, and no algorithm of which anybody can make a second signature from the first (DSA, ECDSA).
- `_attachments` are signed by name, content type, order and CouchDB's MD5 of what it stores, which are in the term, and
  by their lengths and SHA-256, as far as they are known, in a member `attachments` of the signature. They must be
  uploaded before the document is signed, or be sent with the digest that CouchDB is going to give them.
- CouchDB gives -0.0 and 5e-324, the smallest double, back as 0.0, which replaces them before the document is signed.

Scheme **v2** signs the canonical bytes of the document with the same members. It binds the parent and the generation,
but not the revision, so an old body can be planted again in the generation in which it was written. It is for servers
that compute revisions otherwise, and for reading what was signed before v3.

A document must not use the signature's name for anything else: it cannot be signed then, and models refuse the name
(`RESERVED_PROPERTIES`). Members that CouchDB adds to an answer (`_revisions`, `_conflicts`, …) are left out. A deletion
is a signed tombstone, and one without a signature comes from somebody else. A signature contains nothing random (with
HMAC and Ed25519), so that two reconcilers write the same bytes. No signature can show that a whole database, or every
newer revision of a document, was put back to an earlier state: for that there is the audit's anchor.

Scheme **classic** is that of tor-async-couchdb, with Keyczar's key sets. It binds neither id nor revision.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import struct
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from enum import StrEnum
from typing import Any, TypeGuard
from weakref import WeakSet

from ..errors import InvalidSignature, KeySetError, SecurityError, SignatureFault
from ..revision import generation, halves, revision_of_term, text_term
from .encoding import b64_decode, b64_encode, canonical
from .key_ring import KeyRing
from .keyczar_keys import plain_signers, verify_plain
from .keys import Signer

__all__ = [
    "CLASSIC_PROPERTY",
    "RESERVED_PROPERTIES",
    "SIGNATURE_PROPERTY",
    "Scheme",
    "refuse_malleable",
    "scheme_of",
    "sign_document",
    "sign_tombstone",
    "signature_of",
    "signed_revision",
    "signed_sha256",
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

    V3 = "v3"
    V2 = "v2"
    CLASSIC = "classic"


def sign_document(
    document: Mapping[str, Any], *, database: str, parent: str | None, signer: Signer, scheme: Scheme = Scheme.V3
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
        KeySetError: the signer cannot sign, or has no primary key, or its algorithm is not for scheme v3.
    """
    if document.get("_rev", parent) != parent:
        raise SecurityError("the document's revision is not the parent given to sign")
    if scheme is Scheme.CLASSIC:
        signature = _plain_signer(signer).Sign(_classic_bytes(document))
        text = signature.decode("ascii") if isinstance(signature, bytes) else str(signature)
        return _with(document, CLASSIC_PROPERTY, text)
    if SIGNATURE_PROPERTY in document and not _is_ours(document[SIGNATURE_PROPERTY]):
        raise SecurityError(f"the name {SIGNATURE_PROPERTY} is reserved for the signature of a document")
    bound = _bound(scheme, database, _id(document), parent)
    if scheme is Scheme.V3:
        return _signed_v3(document, bound, signer)
    body = _body({name: each for name, each in document.items() if name != CLASSIC_PROPERTY})
    signature = signer.sign(canonical(body), context=canonical(bound))
    return _with(document, SIGNATURE_PROPERTY, {**bound, "signature": signature})


def sign_tombstone(
    document: Mapping[str, Any], *, database: str, signer: Signer, scheme: Scheme = Scheme.V3
) -> dict[str, Any]:
    """Make the signed tombstone that deletes a document: it has id, revision, type and signature, and nothing else.

    Raises:
        SecurityError: the document has no id or revision.
        KeySetError: the signer cannot sign, or has no primary key.
    """
    kept = {name: document[name] for name in ("_id", "_rev", "type") if name in document}
    if "_rev" not in kept:
        raise SecurityError("a document without a revision cannot be deleted")
    parent, tombstone = kept["_rev"], {**kept, "_deleted": True}
    return sign_document(tombstone, database=database, parent=parent, signer=signer, scheme=scheme)


def verify_document(
    document: Mapping[str, Any],
    *,
    database: str,
    verifier: Signer,
    revisions: Mapping[str, Any] | None = None,
    accept: Collection[Scheme] = (Scheme.V3,),
) -> None:
    """Check that a document, as it was read, was written there by a holder of the keys; return nothing if so.

    Args:
        document: the document, with `_id` and `_rev`.
        database: the name of the database that it was read from.
        verifier: the keys of all that may have signed it.
        revisions: its `_revisions` (`revs=true`), to check the parent as well. If CouchDB keeps only one revision
            (`_revs_limit`), only the parent's generation can be compared.
        accept: the schemes to accept. `V2` accepts an older body in another branch of the same generation; `CLASSIC`
            every body that was ever signed by that scheme, anywhere.

    Raises:
        InvalidSignature: the check failed; `reason` says what seems to have happened.
        KeySetError: the verifier is not for signatures.
        ValueError: `revisions` belong to another document.
    """
    scheme = scheme_of(document)
    if scheme is Scheme.V3 and scheme in accept:
        _verify_v3(document, database, verifier, revisions)
    elif SIGNATURE_PROPERTY in document and scheme is not Scheme.V3 and Scheme.V2 in accept:
        _verify_v2(document, database, verifier, revisions)
    elif CLASSIC_PROPERTY in document and Scheme.CLASSIC in accept:
        _verify_classic(document, verifier)
    elif document.get("_deleted"):
        raise InvalidSignature("the document was deleted without a signature", SignatureFault.DELETED)
    else:
        raise InvalidSignature("the document is not signed", SignatureFault.UNSIGNED)


def signature_of(document: Mapping[str, Any]) -> str | None:
    """The keys' own part of a document's signature, for calling `is_current`; None if it is not of scheme v2 or v3."""
    held = document.get(SIGNATURE_PROPERTY)
    return held["signature"] if _is_ours(held) else None


def scheme_of(document: Mapping[str, Any]) -> Scheme | None:
    """The scheme that a document's signature claims, whether or not it verifies; None if it is not signed."""
    if SIGNATURE_PROPERTY in document:
        held = document[SIGNATURE_PROPERTY]
        return Scheme.V3 if isinstance(held, dict) and held.get("scheme") == Scheme.V3.value else Scheme.V2
    return Scheme.CLASSIC if CLASSIC_PROPERTY in document else None


def signed_revision(document: Mapping[str, Any]) -> str:
    """The revision that CouchDB gives to a document that scheme v3 has signed.

    Raises:
        SecurityError: it is not signed by scheme v3, or has an attachment without an MD5.
    """
    held = document.get(SIGNATURE_PROPERTY)
    if not _is_ours(held) or held["scheme"] != Scheme.V3.value:
        raise SecurityError("only a document that scheme v3 has signed has a revision before it is written")
    before, after = _halves(document, held)
    return revision_of_term(held["parent"], _filled(before, held["signature"]) + after)


_EXACT: WeakSet[Any] = WeakSet()


def refuse_malleable(signer: Signer) -> None:
    """Refuse keys of which two signatures of the same bytes differ, as those of DSA and ECDSA do.

    Raises:
        KeySetError: the keys are not for scheme v3.
    """
    if isinstance(signer, KeyRing):
        return
    with suppress(TypeError):  # of keys that cannot be remembered
        if signer in _EXACT:
            return
    probe = b"Are two signatures of these bytes the same?"
    if signer.sign(probe, context=_CONTEXT) != signer.sign(probe, context=_CONTEXT):
        raise KeySetError(
            "scheme v3 needs keys that make one signature only of the same bytes, such as HMAC or Ed25519;"
            " with DSA or ECDSA use scheme v2, or sign with a key ring and keep the old keys for reading"
        )
    with suppress(TypeError):
        _EXACT.add(signer)


# ------------------------------------------------------------ v3

_CONTEXT = b"tornado_couch document v3"
_EMPTY = text_term("") + b"jj"  # the signature's text, and the ends of two objects: the signature and the document
# CouchDB reads both back as 0.0.
_UNSTEADY = tuple(b"F" + struct.pack(">d", number) for number in (-0.0, 5e-324))


def _signed_v3(document: Mapping[str, Any], bound: dict[str, Any], signer: Signer) -> dict[str, Any]:
    refuse_malleable(signer)
    files = _files(document)
    held = {**bound, **({"attachments": files} if files else {}), "signature": ""}
    signed = _with(document, SIGNATURE_PROPERTY, held)
    before, after = _halves(signed, held)
    if any(each in before for each in _UNSTEADY):
        signed = _with(_steady(signed), SIGNATURE_PROPERTY, held)
        before, after = _halves(signed, held)
    held["signature"] = signer.sign(before + after, context=_CONTEXT)
    if not _is_strict(held["signature"]):
        raise KeySetError("scheme v3 needs keys whose signatures are base64url without padding")
    return signed


def _is_strict(signature: str) -> bool:
    """Whether a text is the one spelling of what it stands for."""
    try:
        return bool(b64_decode(signature))
    except ValueError:
        return False


def _verify_v3(
    document: Mapping[str, Any], database: str, verifier: Signer, revisions: Mapping[str, Any] | None
) -> None:
    held = document[SIGNATURE_PROPERTY]
    ordered = _is_ours(held) and next(reversed(held)) == "signature" and _last(document) == SIGNATURE_PROPERTY
    if not ordered or not _is_strict(held["signature"]):
        raise InvalidSignature("the signature does not have the form of scheme v3")
    try:
        before, after = _halves(document, held)
    except (SecurityError, TypeError, ValueError):
        raise InvalidSignature("the document contains values that cannot have been signed") from None
    verifier.verify(before + after, held["signature"], context=_CONTEXT)
    # Only now can the signature's own members be trusted.
    if (held["database"], held["id"]) != (database, _id(document)):
        raise InvalidSignature("the document was signed for another place", SignatureFault.MOVED)
    if document.get("_rev") != revision_of_term(held["parent"], _filled(before, held["signature"]) + after):
        raise InvalidSignature("the document was signed as another revision", SignatureFault.ROLLED_BACK)
    _check_parent(held["parent"], document["_rev"], revisions)
    if "attachments" in held or document.get("_attachments"):
        _check_files(document, held.get("attachments"))


def _halves(document: Mapping[str, Any], held: Mapping[str, Any]) -> tuple[bytes, bytes]:
    """The term of a document with its signature left empty, in two parts; the first one ends with that place."""
    body = {name: value for name, value in document.items() if name[:1] != "_"}
    body[SIGNATURE_PROPERTY] = {**held, "signature": ""}
    return halves(held["parent"], bool(document.get("_deleted")), body, _described(document))


def _filled(before: bytes, signature: str) -> bytes:
    return before[: -len(_EMPTY)] + text_term(signature) + b"jj"


def _last(document: Mapping[str, Any]) -> str | None:
    """The name of the last member that belongs to the body."""
    return next((name for name in reversed(list(document)) if name[:1] != "_"), None)


def _described(document: Mapping[str, Any]) -> Iterator[tuple[str, str, bytes]]:
    """Name, type and MD5 of each attachment. Without an MD5, as CouchDB 0.x stored some, a revision is random."""
    try:
        for name, each in (document.get("_attachments") or {}).items():
            kind, _, digest = each["digest"].partition("-")
            if kind != "md5":
                raise SecurityError("an attachment without an MD5 cannot be signed; store it again")
            md5 = base64.b64decode(digest, validate=True)
            if base64.b64encode(md5).decode() != digest:
                raise SecurityError("an attachment's digest is not as CouchDB writes it")
            yield name, each["content_type"], md5
    except (AttributeError, KeyError, TypeError, binascii.Error):
        raise SecurityError("attachments must be stored before the document is signed") from None


def _files(document: Mapping[str, Any]) -> dict[str, list[Any]]:
    """For each attachment its length, its SHA-256, taken from the last signature if need be, and its digest."""
    entries = document.get("_attachments") or {}
    held = document.get(SIGNATURE_PROPERTY)
    known = held.get("attachments", {}) if isinstance(held, dict) else {}
    return {
        name: [_length(each), _sha256(each) or _known(known.get(name), each), each.get("digest")]
        for name, each in entries.items()
    }


def _sha256(entry: Mapping[str, Any]) -> str | None:
    sent = getattr(entry, "sha256", None)  # of a file that is being stored, as no read returns it
    if sent is not None:
        return b64_encode(sent)
    data = entry.get("data")
    return None if data is None else b64_encode(hashlib.sha256(base64.b64decode(data, validate=True)).digest())


def _known(held: Any, entry: Mapping[str, Any]) -> str | None:
    """The SHA-256 of an attachment that stayed as it was; CouchDB keeps no other digest than the MD5."""
    return held[1] if isinstance(held, list) and held[2:] == [entry["digest"]] else None


def signed_sha256(document: Mapping[str, Any], name: str) -> str | None:
    """The SHA-256 of an attachment, in base64url, that a document's signature says; None where it says nothing."""
    held = document.get(SIGNATURE_PROPERTY)
    known = held.get("attachments", {}) if isinstance(held, dict) else {}
    entry = (document.get("_attachments") or {}).get(name)
    return _known(known.get(name), entry) if entry is not None and isinstance(known, dict) else None


def _check_files(document: Mapping[str, Any], held: Any) -> None:
    """Compare what the signature says of attachments besides the term; the bytes, where they were read."""
    entries = document.get("_attachments") or {}
    try:
        same = list(held) == list(entries)
        for name, entry in entries.items():
            length, sha256, _ = held[name]
            same = same and length == _length(entry) and (sha256 is None or _sha256(entry) in (None, sha256))
    except (KeyError, TypeError, ValueError):
        same = False
    if not same:
        raise InvalidSignature("an attachment is not the one that was signed")


def _steady(value: Any) -> Any:
    """The value as CouchDB gives it back: with 0.0 in place of -0.0 and of the smallest double."""
    if isinstance(value, dict):
        return {name: _steady(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_steady(each) for each in value]
    return 0.0 if isinstance(value, float) and value in (0.0, 5e-324) else value


# ------------------------------------------------------------ v2 and classic

_UNKNOWN = SignatureFault.UNKNOWN_KEY

def _verify_v2(
    document: Mapping[str, Any], database: str, verifier: Signer, revisions: Mapping[str, Any] | None
) -> None:
    held = document[SIGNATURE_PROPERTY]
    if not _is_ours(held) or held["scheme"] != Scheme.V2.value:
        raise InvalidSignature("the signature does not have the form of scheme v2")
    try:
        message, context = (
            canonical(_body(document)),
            canonical(_bound(Scheme.V2, held["database"], held["id"], held["parent"])),
        )
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
        # Anybody can write that property; an error of the keys would stop a rotation.
        raise InvalidSignature("the classic scheme needs a Keyczar key set, and there is none", _UNKNOWN)
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


def _bound(scheme: Scheme, database: str, document_id: str, parent: str | None) -> dict[str, Any]:
    return {"scheme": scheme.value, "database": database, "id": document_id, "parent": parent}


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
    """Whether a value has the form of a signature of scheme v2 or v3."""
    if not isinstance(held, dict) or held.get("scheme") not in (Scheme.V2.value, Scheme.V3.value):
        return False
    if held.keys() - ({"attachments"} if held["scheme"] == Scheme.V3.value else set()) != _MEMBERS:
        return False
    texts = [held["database"], held["id"], held["signature"]]
    return all(isinstance(each, str) for each in texts) and (held["parent"] is None or isinstance(held["parent"], str))


def _id(document: Mapping[str, Any]) -> str:
    if not isinstance(document.get("_id"), str):
        raise SecurityError("a document needs an id to be signed")
    return str(document["_id"])


def _with(document: Mapping[str, Any], name: str, signature: object) -> dict[str, Any]:
    """A copy of the document with one signature, in the last place, wherever an older one was."""
    kept = {each: value for each, value in document.items() if each not in RESERVED_PROPERTIES}
    return {**kept, name: signature}
