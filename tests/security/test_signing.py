"""Documents signed by scheme v2 or the classic one: what is found, and as what."""

from __future__ import annotations

import json
from functools import partial
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.security.kinds import KEYCZAR, SIGNERS, key_set
from tests.security.values import documents, json_values, names
from tornado_couch import _json
from tornado_couch.errors import InvalidSignature, KeySetError, LegacyAlgorithm, SecurityError, SignatureFault
from tornado_couch.security import (
    SIGNATURE_PROPERTY,
    Algorithm,
    KeyChain,
    KeyRing,
    Keys,
    Purpose,
    Scheme,
    as_keys,
    canonical,
    encrypt_value,
    keyczar,
    signature_of,
    signing,
)
from tornado_couch.security.signing import CLASSIC_PROPERTY

sign_document = partial(signing.sign_document, scheme=Scheme.V2)
sign_tombstone = partial(signing.sign_tombstone, scheme=Scheme.V2)
verify_document = partial(signing.verify_document, accept=(Scheme.V2,))
# The slow ones of Keyczar are proved in test_keys.
QUICK = {name: make for name, make in SIGNERS.items() if name not in {"keyczar, RSA", "keyczar, DSA"}}
signers = pytest.mark.parametrize("make", QUICK.values(), ids=QUICK)
RING = KeyRing.create()
FIRST, SECOND, THIRD = "1-aaaa", "2-bbbb", "3-cccc"
BOTH = (Scheme.V2, Scheme.CLASSIC)
ATTACHMENT = {"content_type": "text/plain", "revpos": 2, "digest": "md5-F5gftoFprzTEG+aNrSgv4Q==", "length": 5}


def stored(document: dict[str, Any], *, parent: str | None, revision: str, signer: Keys = RING) -> dict[str, Any]:
    """A document as it is read after it was signed and written."""
    signed = sign_document(document, database="orchard", parent=parent, signer=signer)
    return {**_json.loads(_json.dumps(signed)), "_rev": revision}


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
    return stored({"_id": "1f", "type": "fruit_v1.0", "color": "red"}, parent=FIRST, revision=SECOND)


@signers
@settings(deadline=None)
@given(document=documents(), document_id=names(), database=names(), data=st.data())
def test_what_was_signed_verifies_when_it_is_read(make: Any, document: Any, document_id: str, database: str, data: Any):
    """Any document, in any order of members, with what CouchDB adds to an answer, by keys of every kind."""
    signed = sign_document({**document, "_id": document_id}, database=database, parent=FIRST, signer=make())
    shuffled = dict(data.draw(st.permutations(list(signed.items()))))
    answer = {**shuffled, "_rev": SECOND, "_revisions": {}, "_conflicts": ["2-x"], "_revs_info": [], "_local_seq": 3}
    read = _json.loads(_json.dumps(answer))
    verify_document(read, database=database, verifier=make(), revisions={"start": 2, "ids": ["bbbb", "aaaa"]})


@settings(deadline=None)
@given(document=documents(), name=names(), value=json_values())
def test_whatever_is_set_in_a_document_is_found(document: Any, name: str, value: object) -> None:
    """Any property that is set or added to another value, or removed, makes the document altered."""
    read = stored({**document, "_id": "1f"}, parent=None, revision=FIRST)
    if name[0] != "_" and name != SIGNATURE_PROPERTY:
        same = name in read and canonical(read[name]) == canonical(value)
        assert fault({**read, name: value}) == (None if same else "altered")
    for name in document:
        assert fault({other: each for other, each in read.items() if other != name}) == "altered"


def test_every_flipped_bit_of_the_text_is_found() -> None:
    """Of a signed document with an encrypted property, each flip is found that leaves another document behind.

    `_rev` aside: it follows from the contents, so CouchDB makes it, and only its generation can be held against
    the signature.
    """
    secret = encrypt_value({"pin": 1}, keys=RING, document_id="1f", type_name="fruit_v1.0", property_name="owner")
    read = stored(
        {"_id": "1f", "type": "fruit_v1.0", "owner": secret, "n": [1.5, 1e22, True, "é"]}, parent=FIRST, revision=SECOND
    )
    del read["_rev"]
    text, found = _json.dumps(read), 0
    for i in range(len(text)):
        for bit in range(8):
            try:
                changed = _json.loads(text[:i] + bytes([text[i] ^ 1 << bit]) + text[i + 1 :])
            except ValueError:
                continue
            if (
                isinstance(changed, dict)
                and isinstance(changed.get("_id"), str)
                and canonical(changed) != canonical(read)
            ):
                assert fault(changed) is not None
                found += 1
    assert found > len(text)


class TestFaults:
    """Each thing that can be done behind the service's back, and its name."""

    def test_unsigned(self, fruit: dict[str, Any]) -> None:
        """A document without a signature is unsigned."""
        assert fault({"_id": "1f", "_rev": FIRST, "type": "fruit_v1.0"}) == "unsigned"
        del fruit[SIGNATURE_PROPERTY]
        assert fault(fruit) == "unsigned"

    def test_altered(self, fruit: dict[str, Any]) -> None:
        """A changed property, and a changed word of the signature itself, is an alteration."""
        assert fault(fruit) is None
        assert fault({**fruit, "color": "green"}) == "altered"
        for name, value in [("database", "other"), ("id", "2f"), ("parent", None), ("parent", "1-b"), ("scheme", "v1")]:
            assert fault({**fruit, SIGNATURE_PROPERTY: {**fruit[SIGNATURE_PROPERTY], name: value}}) == "altered"

    @pytest.mark.parametrize("held", [None, "x", [], {}, {"scheme": "v2"}, {"signature": 1}])
    def test_a_signature_of_another_form_is_altered(self, fruit: dict[str, Any], held: Any) -> None:
        """Whatever stands in the signature's place ends in the same error."""
        assert fault({**fruit, SIGNATURE_PROPERTY: held}) == "altered"

    @pytest.mark.parametrize("change", [{"more": 1}, {"signature": 1}, {"parent": 1}, {"id": None}, {"database": []}])
    def test_a_signature_with_other_members_is_altered(self, fruit: dict[str, Any], change: dict[str, Any]) -> None:
        """One member more, or of another type, and it is not what is written here."""
        assert fault({**fruit, SIGNATURE_PROPERTY: {**fruit[SIGNATURE_PROPERTY], **change}}) == "altered"

    def test_moved(self, fruit: dict[str, Any]) -> None:
        """A body copied to another document or another database, signature and all, was moved."""
        assert fault({**fruit, "_id": "2f"}) == "moved"
        assert fault(fruit, database="meadow") == "moved"
        assert fault({**fruit, "_id": "2f", "color": "green"}) == "altered"

    def test_rolled_back(self, fruit: dict[str, Any]) -> None:
        """An older body written again as a newer revision is found by the generation alone."""
        assert fault({**fruit, "_rev": THIRD}) == "rolled back"
        assert fault({**fruit, "_rev": FIRST}) == "rolled back"
        assert fault({**fruit, "_rev": "nonsense"}) == "rolled back"

    def test_rolled_back_within_a_generation(self, fruit: dict[str, Any]) -> None:
        """A body put on another branch of the same length is found by the history."""
        assert fault(fruit, revisions={"start": 2, "ids": ["bbbb", "aaaa"]}) is None
        assert fault(fruit) is None
        assert fault(fruit, revisions={"start": 2, "ids": ["bbbb", "dddd"]}) == "rolled back"

    def test_a_first_revision_has_no_parent(self) -> None:
        """Signed as the first, it verifies as that and nowhere later."""
        first = stored({"_id": "1f", "type": "fruit_v1.0"}, parent=None, revision=FIRST)
        assert fault(first, revisions={"start": 1, "ids": ["aaaa"]}) is None
        assert fault({**first, "_rev": SECOND}, revisions={"start": 2, "ids": ["bbbb", "aaaa"]}) == "rolled back"

    def test_a_history_that_couchdb_forgot_is_no_fault(self, fruit: dict[str, Any]) -> None:
        """With a `_revs_limit` of 1 there is no parent to compare; its generation still is."""
        assert fault(fruit, revisions={"start": 2, "ids": ["bbbb"]}) is None
        assert fault({**fruit, "_rev": THIRD}, revisions={"start": 3, "ids": ["cccc"]}) == "rolled back"

    def test_the_history_of_another_document_is_a_mistake(self, fruit: dict[str, Any]) -> None:
        """Revisions that do not end in the document's own are not compared at all."""
        with pytest.raises(ValueError, match="not belong to the document"):
            verify_document(fruit, database="orchard", verifier=RING, revisions={"start": 5, "ids": ["x"]})

    def test_unknown_key(self, fruit: dict[str, Any]) -> None:
        """A document signed by somebody else's keys is of an unknown key."""
        assert fault(fruit, KeyRing.create()) == "unknown key"
        assert fault(fruit, KeyChain(KeyRing.create(), RING)) is None

    def test_a_key_id_cannot_be_exchanged(self, fruit: dict[str, Any]) -> None:
        """A signature that names another key of the ring does not verify."""
        ring = KeyRing.create()
        read = stored({"_id": "1f"}, parent=None, revision=FIRST, signer=ring)
        ring.promote(ring.add())
        other = ring.sign(b"", context=b"")
        held = read[SIGNATURE_PROPERTY]
        exchanged = other[:6] + held["signature"][6:]
        assert fault({**read, SIGNATURE_PROPERTY: {**held, "signature": exchanged}}, ring) in {"altered", "unknown key"}

    def test_keys_for_encryption_cannot_verify(self, fruit: dict[str, Any]) -> None:
        """Wrong keys are a mistake of ours, never a fault of the document."""
        with pytest.raises(KeySetError):
            verify_document(fruit, database="orchard", verifier=KeyRing.create(Purpose.ENCRYPT))


class TestTombstones:
    """Deletions."""

    def test_a_signed_tombstone_verifies(self, fruit: dict[str, Any]) -> None:
        """It holds id, type and signature, replaces the revision that was read, and nothing of the contents."""
        tombstone = sign_tombstone(fruit, database="orchard", signer=RING)
        assert list(tombstone) == ["_id", "_rev", "type", "_deleted", SIGNATURE_PROPERTY]
        read = {**tombstone, "_rev": THIRD}
        assert fault(read, revisions={"start": 3, "ids": ["cccc", "bbbb", "aaaa"]}) is None
        assert fault({**read, "color": "red"}) == "altered"

    def test_a_deletion_behind_our_back_is_found(self, fruit: dict[str, Any]) -> None:
        """A tombstone without a signature, and a document marked as deleted."""
        assert fault({"_id": "1f", "_rev": THIRD, "_deleted": True}) == "deleted"
        assert fault({**fruit, "_deleted": True}) == "altered"

    def test_a_deleted_document_cannot_be_revived(self, fruit: dict[str, Any]) -> None:
        """A tombstone without its mark, and an older body after it."""
        tombstone = {**sign_tombstone(fruit, database="orchard", signer=RING), "_rev": THIRD}
        assert fault({name: each for name, each in tombstone.items() if name != "_deleted"}) == "altered"
        assert fault({**fruit, "_rev": "4-dddd"}) == "rolled back"

    def test_what_was_never_stored_cannot_be_deleted(self) -> None:
        """A tombstone needs the revision that it replaces."""
        with pytest.raises(SecurityError):
            sign_tombstone({"_id": "1f"}, database="orchard", signer=RING)


class TestAttachments:
    """Name, content type, length and digest are signed."""

    @pytest.fixture
    def fruit(self) -> dict[str, Any]:
        document = {"_id": "1f", "_attachments": {"a.txt": {**ATTACHMENT, "stub": True}}}
        return stored(document, parent=FIRST, revision=SECOND)

    def test_attachments_are_the_same_in_every_form_of_answer(self, fruit: dict[str, Any]) -> None:
        """As a stub, with data, which has no length, with encoding information, or with another revpos."""
        for changes in [{"stub": True}, {"revpos": 7}, {"encoding": "gzip", "encoded_length": 3}]:
            assert fault({**fruit, "_attachments": {"a.txt": {**ATTACHMENT, **changes}}}) is None
        data = {name: each for name, each in ATTACHMENT.items() if name != "length"} | {"data": "aGVsbG8="}
        assert fault({**fruit, "_attachments": {"a.txt": data}}) is None

    @pytest.mark.parametrize(
        "change", [{"digest": "md5-x"}, {"length": 6}, {"content_type": "text/html"}, {"digest": 5}]
    )
    def test_a_changed_attachment_is_found(self, fruit: dict[str, Any], change: dict[str, Any]) -> None:
        """Other contents, another type, another name, one more, one fewer, or nonsense."""
        assert fault({**fruit, "_attachments": {"a.txt": {**ATTACHMENT, **change}}}) == "altered"
        assert fault({**fruit, "_attachments": {"b.txt": ATTACHMENT}}) == "altered"
        assert fault({**fruit, "_attachments": {"a.txt": ATTACHMENT, "b.txt": ATTACHMENT}}) == "altered"
        for nothing in ({}, None, 5, {"a.txt": {}}, {"a.txt": None}):
            assert fault({**fruit, "_attachments": nothing}) == "altered"

    def test_attachments_have_to_be_stored_first(self) -> None:
        """With data in the document CouchDB's digest is not known, so it cannot be signed."""
        document = {"_id": "1f", "_attachments": {"a.txt": {"content_type": "text/plain", "data": "aGVsbG8="}}}
        with pytest.raises(SecurityError, match="stored before"):
            sign_document(document, database="orchard", parent=None, signer=RING)


class TestSigning:
    """What is signed, and what is refused."""

    def test_the_signature_is_one_property_in_the_last_place(self, fruit: dict[str, Any]) -> None:
        """Signing again replaces it and leaves the document that it was given alone."""
        before = dict(fruit)
        again = sign_document(fruit, database="orchard", parent=SECOND, signer=RING)
        assert list(again)[-1] == SIGNATURE_PROPERTY
        assert again[SIGNATURE_PROPERTY]["parent"] == SECOND
        assert fruit == before
        assert RING.is_current(signature_of(again) or "")
        assert signature_of({"_id": "1f"}) is None

    @pytest.mark.parametrize("algorithm", Algorithm)
    def test_signing_the_same_twice_gives_the_same_bytes(self, algorithm: Algorithm) -> None:
        """So two reconcilers that merge alike write the same revision."""
        ring = KeyRing.create(Purpose.SIGN, algorithm=algorithm)
        document = {"_id": "1f", "b": 1, "a": 2}
        one, other = (sign_document(document, database="d", parent=FIRST, signer=ring) for _ in range(2))
        assert json.dumps(one) == json.dumps(other)

    @pytest.mark.parametrize("value", ["mine", {"scheme": "v1"}, None])
    def test_a_property_of_that_name_is_refused(self, value: object) -> None:
        """A document that uses the signature's name for its own is not overwritten."""
        with pytest.raises(SecurityError, match=SIGNATURE_PROPERTY):
            sign_document({"_id": "1f", SIGNATURE_PROPERTY: value}, database="d", parent=None, signer=RING)

    def test_a_document_needs_an_id_and_the_revision_that_it_replaces(self) -> None:
        """Neither can be made up afterwards."""
        with pytest.raises(SecurityError, match="id"):
            sign_document({}, database="d", parent=None, signer=RING)
        with pytest.raises(SecurityError, match="parent"):
            sign_document({"_id": "1f", "_rev": SECOND}, database="d", parent=FIRST, signer=RING)


class TestClassic:
    """The scheme of tor-async-couchdb."""

    samples = json.loads((KEYCZAR / "signed_documents.json").read_text())["documents"]

    @pytest.mark.parametrize("document", samples, ids=[each["_id"] for each in samples])
    def test_documents_of_the_original_verify_and_are_written_alike(self, document: dict[str, Any]) -> None:
        """Each sample verifies with its Keyczar set, and signing it gives the very same document."""
        keys = as_keys(key_set(keyczar.Signer, "hmac"))
        assert fault(document, keys, accept=BOTH) is None
        unsigned = {name: each for name, each in document.items() if name != CLASSIC_PROPERTY}
        again = sign_document(unsigned, database="any", parent=unsigned.get("_rev"), signer=keys, scheme=Scheme.CLASSIC)
        assert fault(again, keys, accept=[Scheme.CLASSIC]) is None
        assert again == document

    def test_each_altered_property_is_found(self) -> None:
        """Every property beside id and revision is signed; keys that are unknown are told."""
        keys = as_keys(key_set(keyczar.Signer, "hmac"))
        for document in self.samples:
            for name in document.keys() - {"_id", "_rev", CLASSIC_PROPERTY}:
                assert fault({**document, name: "changed"}, keys, accept=BOTH) == "altered"
            assert fault({**document, CLASSIC_PROPERTY: 5}, keys, accept=BOTH) == "altered"
            other = as_keys(key_set(keyczar.Verifier, "rsa-sign-public"))
            assert fault(document, other, accept=BOTH) == "unknown key"

    def test_it_is_only_taken_where_it_is_asked_for(self) -> None:
        """A body of former times is no way around the signatures of today."""
        keys = as_keys(key_set(keyczar.Signer, "hmac"))
        assert fault(self.samples[0], keys) == "unsigned"

    def test_a_chain_reads_the_classic_scheme_and_writes_the_new(self) -> None:
        """Signing again with a key ring takes the classic signature away."""
        chain = KeyChain(
            RING, as_keys(key_set(keyczar.Verifier, "rsa-sign-public")), as_keys(key_set(keyczar.Signer, "hmac"))
        )
        sample = self.samples[0]
        assert fault(sample, chain, accept=BOTH) is None
        signed = sign_document(sample, database="orchard", parent=sample["_rev"], signer=chain)
        assert CLASSIC_PROPERTY not in signed
        read = {**signed, "_rev": "2-def"}
        assert fault(read, RING) is None
        assert fault({**read, CLASSIC_PROPERTY: sample[CLASSIC_PROPERTY]}, chain, accept=BOTH) == "altered"

    def test_it_needs_keyczar(self) -> None:
        """A key ring neither signs nor verifies so, and a set that may only read does not sign.

        Anybody can write a classic signature, so that one without keys for it is a document that does not verify, and
        no error of the keys.
        """
        sample = self.samples[0]
        with pytest.raises(InvalidSignature):
            verify_document(sample, database="d", verifier=RING, accept=BOTH)
        public = as_keys(key_set(keyczar.Verifier, "rsa-sign-public"))
        reader = as_keys(key_set(keyczar.Signer, "hmac", allow_legacy=False))
        for signer, error in [(RING, KeySetError), (public, KeySetError), (reader, LegacyAlgorithm)]:
            with pytest.raises(error):
                sign_document(sample, database="d", parent="1-abc", signer=signer, scheme=Scheme.CLASSIC)


def test_the_faults_are_those_that_are_told_apart() -> None:
    """The names stand in reports of an audit, so they are part of the interface."""
    names = {each.value for each in SignatureFault}
    assert names == {"unsigned", "altered", "moved", "rolled back", "deleted", "unknown key"}
