"""Scheme v3: a signed document is accepted at the one revision that follows from what was signed."""

from __future__ import annotations

import base64
import hashlib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.security.kinds import SIGNERS, key_set
from tests.security.values import documents, names
from tornado_couch import _json
from tornado_couch.errors import InvalidSignature, KeySetError, SecurityError
from tornado_couch.revision import generation
from tornado_couch.security import (
    SIGNATURE_PROPERTY,
    Algorithm,
    KeyRing,
    Keys,
    Purpose,
    Scheme,
    as_keys,
    encrypt_value,
    keyczar,
    sign_document,
    sign_tombstone,
    signature_of,
    signed_revision,
    verify_document,
)

RING = KeyRing.create()
FIRST, SECOND = "1-" + "a" * 32, "2-" + "b" * 32
QUICK = {name: make for name, make in SIGNERS.items() if name not in {"keyczar, RSA", "keyczar, DSA"}}
BYTES = b"an apple"
ATTACHMENT = {
    "content_type": "text/plain",
    "revpos": 2,
    "digest": "md5-" + base64.b64encode(hashlib.md5(BYTES).digest()).decode(),
    "length": len(BYTES),
    "stub": True,
}


def stored(document: dict[str, Any], *, parent: str | None, signer: Keys = RING, **more: Any) -> dict[str, Any]:
    """A document as it is read after it was signed and written."""
    signed = sign_document(document, database="orchard", parent=parent, signer=signer, **more)
    return {**_json.loads(_json.dumps(signed)), "_rev": signed_revision(signed)}


def fault(document: dict[str, Any], verifier: Keys = RING, database: str = "orchard", **more: Any) -> str | None:
    """What verifying finds, or None."""
    try:
        verify_document(document, database=database, verifier=verifier, **more)
    except InvalidSignature as error:
        return error.reason.value
    return None


@pytest.fixture
def fruit() -> dict[str, Any]:
    """A document in its second revision."""
    document = {"_id": "1f", "type": "fruit_v1.0", "color": "red", "count": 1, "_attachments": {"a": ATTACHMENT}}
    return stored(document, parent=FIRST)


@pytest.mark.parametrize("make", QUICK.values(), ids=QUICK)
@settings(deadline=None, max_examples=30)
@given(document=documents(), document_id=names(), database=names())
def test_what_was_signed_verifies_at_its_revision(make: Any, document: Any, document_id: str, database: str) -> None:
    """Any document, with what CouchDB adds to an answer, by keys of every kind; and at no other revision."""
    signed = sign_document({**document, "_id": document_id}, database=database, parent=FIRST, signer=make())
    revision = signed_revision(signed)
    answer = {"_rev": revision, **signed, "_revisions": {}, "_conflicts": ["2-x"], "_local_seq": 3}
    read = _json.loads(_json.dumps(answer))
    path = {"start": 2, "ids": [revision[2:], "a" * 32]}
    verify_document(read, database=database, verifier=make(), revisions=path)
    assert fault({**read, "_rev": SECOND}, make(), database) == "rolled back"


@settings(deadline=None, max_examples=50)
@given(document=documents(), data=st.data())
def test_another_order_of_members_is_found(document: Any, data: Any) -> None:
    """CouchDB would give a document with reordered members another revision, which was never signed."""
    read = stored({**document, "_id": "1f"}, parent=None)
    shuffled = dict(data.draw(st.permutations(list(read.items()))))
    body = [name for name in read if name[0] != "_"]
    same = [name for name in shuffled if name[0] != "_"] == body
    assert fault(shuffled) == (None if same else "altered")


def test_each_thing_that_was_signed_counts(fruit: dict[str, Any]) -> None:
    """Another value, another kind of number, a member more or fewer, another place, parent or revision: all found."""
    assert fault(fruit) is None
    assert fault({**fruit, "color": "green"}) == "altered"
    assert fault({**fruit, "count": 1.0}) == "altered"
    assert fault({**fruit, "_deleted": True}) == "altered"
    assert fault({name: value for name, value in fruit.items() if name != "count"}) == "altered"
    assert fault({**fruit, "_id": "2f"}) == "moved"
    assert fault(fruit, database="meadow") == "moved"
    assert fault({**fruit, "_rev": "2-0000"}) == "rolled back"
    assert fault({name: value for name, value in fruit.items() if name != "_rev"}) == "rolled back"
    assert fault(fruit, KeyRing.create()) == "unknown key"
    assert fault({name: value for name, value in fruit.items() if name != SIGNATURE_PROPERTY}) == "unsigned"
    path = {"start": 2, "ids": [fruit["_rev"][2:], "c" * 32]}
    assert fault(fruit, revisions=path) == "rolled back"
    held = fruit[SIGNATURE_PROPERTY]
    for change in ({"parent": None}, {"parent": "1-b"}, {"database": "x"}, {"attachments": {}}, {"more": 1}):
        assert fault({**fruit, SIGNATURE_PROPERTY: {**held, **change}}) == "altered"


def test_the_place_of_the_signature_counts(fruit: dict[str, Any]) -> None:
    """The signature is the last member, and its text the last of its own: in another order it is altered."""
    held = fruit.pop(SIGNATURE_PROPERTY)
    assert fault({SIGNATURE_PROPERTY: held, **fruit}) == "altered"
    assert fault({**fruit, SIGNATURE_PROPERTY: {"signature": held["signature"], **held}}) == "altered"
    assert fault({**fruit, SIGNATURE_PROPERTY: held}) is None


def test_a_second_spelling_of_the_signature_is_found() -> None:
    """A text with stray bits, padding or another alphabet would be a second valid revision."""
    read = stored({"_id": "1f", "x": 1}, parent=None)
    held = read[SIGNATURE_PROPERTY]
    text = held["signature"]
    for other in (text + "=", text[:-1] + chr(ord(text[-1]) + 1), text.replace("-", "+") + "+", ""):
        again = {**read, SIGNATURE_PROPERTY: {**held, "signature": other}}
        assert fault({**again, "_rev": signed_revision(again)}) is not None


@pytest.mark.parametrize("held", [None, "x", [], {}, {"scheme": "v3"}, {"signature": 1}, {"scheme": []}])
def test_a_signature_of_another_form_is_found(fruit: dict[str, Any], held: Any) -> None:
    """Whatever stands in the signature's place ends in an error."""
    assert fault({**fruit, SIGNATURE_PROPERTY: held}, accept=[Scheme.V3, Scheme.V2]) == "altered"


def test_every_flipped_bit_is_found() -> None:
    """Of a signed document with an attachment and an encrypted property, the revision included, each flip is found."""
    secret = encrypt_value({"pin": 1}, keys=RING, document_id="1f", type_name="fruit_v1.0", property_name="owner")
    document = {"_id": "1f", "type": "fruit_v1.0", "owner": secret, "n": [1.5, 1e22, True, "é"], "_attachments": {}}
    read = stored({**document, "_attachments": {"a": ATTACHMENT}}, parent=FIRST)
    del read["_attachments"]["a"]["revpos"], read["_attachments"]["a"]["stub"]  # which say nothing of the contents
    text, found = _json.dumps(read), 0
    for i in range(len(text)):
        for bit in range(8):
            try:
                changed = _json.loads(text[:i] + bytes([text[i] ^ 1 << bit]) + text[i + 1 :])
            except ValueError:
                continue
            if isinstance(changed, dict) and isinstance(changed.get("_id"), str) and _json.dumps(changed) != text:
                assert fault(changed) is not None
                found += 1
    assert found > len(text)


def test_numbers_that_couchdb_does_not_keep_are_signed_as_it_gives_them_back() -> None:
    """CouchDB 3.5 reads -0.0 and the smallest double back as 0.0."""
    signed = sign_document(
        {"_id": "1f", "n": [-0.0, {"m": 5e-324}, -1.5]}, database="orchard", parent=None, signer=RING
    )
    assert _json.dumps(signed["n"]) == b'[0.0,{"m":0.0},-1.5]'
    assert fault({**signed, "_rev": signed_revision(signed)}) is None


class TestAttachments:
    """What is signed of attachments."""

    def test_name_type_digest_length_and_order_count(self, fruit: dict[str, Any]) -> None:
        """Each change of what is known of a file is found; `revpos` says nothing about its contents."""
        assert fault({**fruit, "_attachments": {"a": {**ATTACHMENT, "revpos": 9}}}) is None
        assert fault({**fruit, "_attachments": {"b": ATTACHMENT}}) == "altered"
        for change in ({"content_type": "text/html"}, {"digest": "md5-" + "A" * 22 + "=="}, {"length": 9}):
            assert fault({**fruit, "_attachments": {"a": {**ATTACHMENT, **change}}}) == "altered"
        assert fault({name: value for name, value in fruit.items() if name != "_attachments"}) == "altered"
        two = stored({"_id": "1f", "_attachments": {"a": ATTACHMENT, "b": ATTACHMENT}}, parent=None)
        assert fault(two) is None
        assert fault({**two, "_attachments": dict(reversed(two["_attachments"].items()))}) == "altered"

    def test_the_bytes_are_held_against_their_sha_256(self) -> None:
        """Where the bytes were there to be signed, other bytes are found, whatever their MD5; also after an update."""
        inline = {**{name: ATTACHMENT[name] for name in ("content_type", "digest")}, "data": base64.b64encode(BYTES)}
        inline["data"] = inline["data"].decode()
        signed = sign_document(
            {"_id": "1f", "_attachments": {"a": inline}}, database="orchard", parent=None, signer=RING
        )
        first = {**signed, "_rev": signed_revision(signed), "_attachments": {"a": ATTACHMENT}}
        second = stored({**first, "x": 1}, parent=first["_rev"])
        swapped = base64.b64encode(b"a pear! ").decode()
        for document in (first, second):
            assert fault(document) is None
            assert fault({**document, "_attachments": {"a": inline}}) is None
            assert fault({**document, "_attachments": {"a": {**inline, "data": swapped}}}) == "altered"

    def test_an_attachment_without_an_md5_cannot_be_signed(self) -> None:
        """CouchDB gives such a document a random revision."""
        with pytest.raises(SecurityError, match="without an MD5"):
            stored({"_id": "1f", "_attachments": {"a": {**ATTACHMENT, "digest": "sha1-AAAA"}}}, parent=None)


def test_a_tombstone_has_its_revision_too(fruit: dict[str, Any]) -> None:
    """A signed deletion verifies at its own revision alone."""
    tombstone = sign_tombstone(fruit, database="orchard", signer=RING)
    assert generation(signed_revision(tombstone)) == 3
    assert fault({**tombstone, "_rev": signed_revision(tombstone)}) is None
    assert fault({**tombstone, "_rev": "3-0"}) == "rolled back"


@pytest.mark.parametrize("algorithm", Algorithm)
def test_signing_twice_gives_the_same_bytes(algorithm: Algorithm) -> None:
    """Two reconcilers that merge the same leaves write the same revision."""
    ring = KeyRing.create(Purpose.SIGN, algorithm=algorithm)
    both = [sign_document({"_id": "1f", "x": 1}, database="orchard", parent=FIRST, signer=ring) for _ in range(2)]
    assert both[0] == both[1]
    assert ring.is_current(signature_of(both[0]) or "")


def test_keys_with_more_than_one_signature_for_the_same_bytes_are_refused() -> None:
    """With DSA somebody could make a second signature, and with it a second valid revision."""
    signer = as_keys(key_set(keyczar.Signer, "dsa-sign"))
    with pytest.raises(KeySetError, match="one signature only"):
        stored({"_id": "1f"}, parent=None, signer=signer)


def test_keys_that_write_another_alphabet_are_refused() -> None:
    """A text that has several spellings cannot be held to one."""

    class Padded(KeyRing):
        def sign(self, message: bytes, *, context: bytes) -> str:
            return super().sign(message, context=context) + "="

    padded = Padded()
    padded.promote(padded.add())
    with pytest.raises(KeySetError, match="base64url"):
        stored({"_id": "1f"}, parent=None, signer=padded)


def test_schemes_are_accepted_only_where_they_are_named(fruit: dict[str, Any]) -> None:
    """A document of v2 is not taken for one of v3, nor the other way round."""
    older = sign_document({"_id": "1f"}, database="orchard", parent=None, signer=RING, scheme=Scheme.V2)
    older["_rev"] = "1-" + "a" * 32
    assert fault(older, accept=[Scheme.V2]) is None
    assert fault(older) == "unsigned"
    assert fault(fruit, accept=[Scheme.V2]) == "unsigned"
    held = {**older[SIGNATURE_PROPERTY], "scheme": "v3"}
    assert fault({**older, SIGNATURE_PROPERTY: held}, accept=[Scheme.V3, Scheme.V2]) == "altered"
    with pytest.raises(SecurityError, match="scheme v3"):
        signed_revision(older)


def test_the_signed_bytes_are_those_that_couchdb_hashes() -> None:
    """A recorded document: its signature and its revision stay the same for ever."""
    ring = KeyRing()
    ring.promote(ring.add(b"a secret of sixteen bytes"))
    signed = sign_document({"_id": "1f", "type": "fruit_v1.0", "n": 1.0}, database="orchard", parent=None, signer=ring)
    assert signed[SIGNATURE_PROPERTY]["signature"] == "ArFpr2kitUznwFe7zE7pAXsSJs1y-iibRCGpt-8Jg7FUHgo5Iw"
    assert signed_revision(signed) == "1-01108dff85a3575ce33be846889b080d"
