"""What is Tink's alone; what all kinds of keys promise is in test_keys."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from tests.security.kinds import tink_keys
from tornado_couch.errors import DecryptionFailed, InvalidSignature, KeySetError
from tornado_couch.security import KeyChain, TinkKeys, ciphertext_of, decrypt_value, encrypt_value


def test_without_the_extra_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """The package works without Tink until keys of it are wanted."""
    monkeypatch.setitem(sys.modules, "tink", None)
    with pytest.raises(KeySetError, match=r"pip install 'tornado-couch\[tink\]'"):
        TinkKeys()


@pytest.fixture(scope="module")
def tink() -> Any:
    tink_keys()  # skips where there is no wheel
    import tink

    return tink


def test_the_public_half_verifies_and_does_not_sign(tink: Any) -> None:
    """A handle of public keys gives a verifier."""
    from tink import signature

    private = tink.new_keyset_handle(signature.signature_key_templates.ED25519)
    signer, verifier = TinkKeys.of(private), TinkKeys.of(private.public_keyset_handle())
    made = signer.sign(b"m", context=b"c")
    verifier.verify(b"m", made, context=b"c")
    with pytest.raises(InvalidSignature):
        verifier.verify(b"n", made, context=b"c")
    with pytest.raises(KeySetError, match="none of them can sign"):
        verifier.sign(b"m", context=b"c")
    assert repr(signer) == "TinkKeys(signer, verifier)"


def test_keys_are_refused_what_they_are_not_for(tink: Any) -> None:
    """A MAC does not encrypt, an Aead neither signs nor makes blind indexes, and a hybrid key does nothing here."""
    from tink import aead, hybrid, mac

    hybrid.register()
    only_mac = TinkKeys.of(tink.new_keyset_handle(mac.mac_key_templates.HMAC_SHA256_256BITTAG))
    only_aead = TinkKeys.of(tink.new_keyset_handle(aead.aead_key_templates.AES256_GCM))
    for attempt in (
        lambda: only_mac.encrypt(b"m", context=b"c"),
        lambda: only_mac.decrypt("AAAA", context=b"c"),
        lambda: only_aead.sign(b"m", context=b"c"),
        lambda: only_aead.verify(b"m", "AAAA", context=b"c"),
        lambda: only_aead.index(b"m", context=b"c"),
    ):
        with pytest.raises(KeySetError, match="none of them can"):
            attempt()
    template = hybrid.hybrid_key_templates.DHKEM_X25519_HKDF_SHA256_HKDF_SHA256_AES_256_GCM
    with pytest.raises(KeySetError, match="neither"):
        TinkKeys.of(tink.new_keyset_handle(template))
    assert only_aead.is_current(only_aead.encrypt(b"m", context=b"c"))
    assert not only_aead.is_current(only_mac.sign(b"m", context=b"c"))


def test_a_rotated_key_set_reads_and_is_told_apart(tink: Any) -> None:
    """What an older key of the set wrote decrypts, and is not current."""
    from tink import aead, proto_keyset_format, secret_key_access
    from tink.proto import tink_pb2

    sets = []
    for _ in range(2):
        handle = tink.new_keyset_handle(aead.aead_key_templates.AES256_GCM)
        sets.append(tink_pb2.Keyset.FromString(proto_keyset_format.serialize(handle, secret_key_access.TOKEN)))
    before, after = sets
    after.key.append(before.key[0])
    old, new = (
        TinkKeys.of(proto_keyset_format.parse(each.SerializeToString(), secret_key_access.TOKEN)) for each in sets
    )
    stored = old.encrypt(b"m", context=b"c")
    assert new.decrypt(stored, context=b"c") == b"m"
    assert old.is_current(stored)
    assert not new.is_current(stored)


def test_envelopes_encrypt_for_their_place_and_are_never_current(tink: Any) -> None:
    """A key in a KMS wraps the key of each value. What is stored does not tell which one, so rotation renews it."""
    from tink import aead

    def envelope() -> TinkKeys:
        remote = tink.new_keyset_handle(aead.aead_key_templates.AES256_GCM).primitive(aead.Aead)
        return TinkKeys(aead=aead.KmsEnvelopeAead(aead.aead_key_templates.AES256_GCM, remote))

    old, new = envelope(), envelope()
    stored = encrypt_value({"a": 1}, keys=old, document_id="1", type_name="t", property_name="p")
    chain = KeyChain(new, old)
    assert decrypt_value(stored, keys=chain, document_id="1", type_name="t", property_name="p") == {"a": 1}
    for keys in (old, new, chain):
        assert not keys.is_current(ciphertext_of(stored))
    with pytest.raises(DecryptionFailed):
        decrypt_value(stored, keys=old, document_id="2", type_name="t", property_name="p")
    with pytest.raises(DecryptionFailed):
        decrypt_value(stored, keys=new, document_id="1", type_name="t", property_name="p")
