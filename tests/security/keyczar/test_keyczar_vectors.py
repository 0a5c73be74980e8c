"""What python-keyczar 0.716 made is read, and made again byte for byte where no chance is in it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.security.keyczar import DOCUMENTS, VECTORS, Sets, b64
from tornado_couch.security import keyczar

TAMPER = "801dbe4659a641739cbe94fcf0baab03_tampering_v1.0_sig"


def named(kind: str) -> pytest.MarkDecorator:
    cases = [pytest.param(case, id=f"{case['keyset']}-{number}") for number, case in enumerate(VECTORS[kind])]
    return pytest.mark.parametrize("case", cases)


def classic(document: dict[str, Any]) -> str:
    """The text that tor-async-couchdb signs."""
    return json.dumps({k: v for k, v in document.items() if k not in ("_id", "_rev", TAMPER)}, sort_keys=True)


@named("sign")
def test_each_signature_verifies(case: dict[str, str], sets: Sets) -> None:
    """Private key sets, encrypted and rotated ones included, verify what they once signed; public ones too."""
    message = b64(case["message_b64"])
    assert sets.verifier(case["keyset"]).Verify(message, case["signature"])
    if sets.path(case["keyset"] + "-public").exists():
        assert sets.verifier(case["keyset"] + "-public").Verify(message, case["signature"])


@named("sign")
def test_each_signature_without_chance_is_made_again(case: dict[str, str], sets: Sets) -> None:
    """HMAC and RSA signatures are the original's bytes; DSA ones differ each time and verify."""
    message = b64(case["message_b64"])
    made = sets.signer(case["keyset"]).Sign(message)
    if case["keyset"] == "dsa-sign":
        assert sets.verifier("dsa-sign-public").Verify(message, made)
    else:
        assert made == case["signature"]


@named("attached")
def test_each_attached_signature_verifies_and_is_made_again(case: dict[str, str], sets: Sets) -> None:
    """The message comes back out of it with the right nonce, and the same bytes are made of it."""
    message, nonce, signer = b64(case["message_b64"]), b64(case["nonce_b64"]), sets.signer(case["keyset"])
    assert signer.AttachedVerify(case["signed"], nonce) == message
    assert signer.AttachedSign(message, nonce) == case["signed"]
    assert signer.AttachedVerify(case["signed"], nonce + b"x") is None


@named("unversioned")
def test_each_unversioned_signature_verifies_and_is_made_again(case: dict[str, str], sets: Sets) -> None:
    """Plain signatures carry neither header nor version byte."""
    message, signer = b64(case["message_b64"]), sets.unversioned(case["keyset"])
    assert signer.Verify(message, case["signature"])
    assert signer.Sign(message) == case["signature"]


@named("encrypt")
def test_each_ciphertext_decrypts(case: dict[str, str], sets: Sets) -> None:
    """AES and RSA."""
    assert keyczar.Crypter.Read(sets.path(case["keyset"])).Decrypt(case["ciphertext"]) == b64(case["plaintext_b64"])


@named("session")
def test_each_session_decrypts(case: dict[str, str], sets: Sets) -> None:
    """The session's key comes out of the material, the plaintext out of the ciphertext."""
    session = keyczar.SessionDecrypter(sets.crypter(case["keyset"]), case["material"])
    assert session.Decrypt(case["ciphertext"]) == b64(case["message_b64"])


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document["_id"])
def test_each_document_that_tor_async_couchdb_signed_verifies(document: dict[str, Any], sets: Sets) -> None:
    """Its tamper signature is right, and made again byte for byte."""
    signer = sets.signer("hmac")
    assert signer.Verify(classic(document), document[TAMPER])
    assert signer.Sign(classic(document)) == document[TAMPER]
    assert not signer.Verify(classic({**document, "type": "other_v1.0"}), document[TAMPER])
