"""Nothing altered is taken for right, nothing is decrypted in part, and the answer is the same each time."""

from __future__ import annotations

from collections.abc import Callable
from unittest import mock

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.security.keyczar import Sets, flipped
from tornado_couch.errors import DecryptionFailed, InvalidSignature
from tornado_couch.security import keyczar
from tornado_couch.security.keyczar import symmetric
from tornado_couch.security.keyczar.encoding import decode, encode
from tornado_couch.security.keyczar.keyinfo import DECRYPT_AND_ENCRYPT
from tornado_couch.security.keyczar.readers import StaticKeyReader
from tornado_couch.security.keyczar.symmetric import AesKey, HmacKey

NOW = 1_700_000_000_000
SIGNING = ["hmac", "rsa-sign", "dsa-sign"]
CRYPTING = ["aes", "rsa-crypt"]


def answer(crypter: keyczar.Crypter, ciphertext: bytes) -> str:
    with pytest.raises(DecryptionFailed) as caught:
        crypter.Decrypt(ciphertext, None)
    return str(caught.value)


@pytest.mark.parametrize("name", CRYPTING)
def test_each_bit_of_a_ciphertext_counts(sets: Sets, name: str) -> None:
    """Header, initialization vector, ciphertext and MAC: one flipped bit, one error, always the same."""
    crypter = sets.crypter(name)
    altered = flipped(crypter.Encrypt("a secret", None))
    assert len({answer(crypter, each) for each in altered}) == 1


@pytest.mark.parametrize("name", CRYPTING)
def test_each_byte_of_a_ciphertext_is_needed(sets: Sets, name: str) -> None:
    """Cut off anywhere, at either end, or lengthened, it is not decrypted."""
    crypter = sets.crypter(name)
    whole = crypter.Encrypt("a secret", None)
    parts = [part for n in range(1, len(whole) + 1) for part in (whole[:-n], whole[n:])]
    assert len({answer(crypter, each) for each in [*parts, whole + b"\x00", b"\x00" + whole]}) == 1


@pytest.mark.parametrize("name", SIGNING)
def test_each_bit_of_a_signature_counts(sets: Sets, name: str) -> None:
    """Of the header too: python-keyczar raised there, we answer as for any other bit."""
    signer = sets.signer(name)
    assert not any(signer.Verify("m", each, None) for each in flipped(signer.Sign("m", None)))


@pytest.mark.parametrize("name", SIGNING)
def test_each_bit_of_an_attached_signature_counts(sets: Sets, name: str) -> None:
    """Header, length, message and signature; and each bit of the nonce."""
    signer = sets.signer(name)
    signed = signer.AttachedSign("m", "n", None)
    assert [each for each in flipped(signed) if signer.AttachedVerify(each, "n", None) is not None] == []
    assert [each for each in flipped(b"n") if signer.AttachedVerify(signed, each, None) is not None] == []


@pytest.mark.parametrize("name", SIGNING)
def test_each_bit_of_a_timeout_signature_counts(sets: Sets, name: str) -> None:
    """Header, time and signature."""
    signer = sets.signer(name)
    assert not any(signer.TimeoutVerify("m", each, None, now=0) for each in flipped(signer.TimeoutSign("m", NOW, None)))


@pytest.mark.parametrize("name", SIGNING)
def test_each_bit_of_an_unversioned_signature_counts(sets: Sets, name: str) -> None:
    """There is nothing but the signature."""
    signer = sets.unversioned(name)
    assert not any(signer.Verify("m", each, None) for each in flipped(signer.Sign("m", None)))


@pytest.mark.parametrize("name", SIGNING)
def test_each_byte_of_a_signature_is_needed(sets: Sets, name: str) -> None:
    """Cut off anywhere it does not verify, whatever its kind."""
    signer, plain = sets.signer(name), sets.unversioned(name)
    asked: list[tuple[bytes, Callable[[bytes], object]]] = [
        (signer.Sign("m", None), lambda part: signer.Verify("m", part, None)),
        (signer.AttachedSign("m", "n", None), lambda part: signer.AttachedVerify(part, "n", None)),
        (signer.TimeoutSign("m", NOW, None), lambda part: signer.TimeoutVerify("m", part, None, now=0)),
    ]
    # RSA signatures are numbers: without a leading zero byte they are the same. Here there is none.
    bare = plain.Sign("m", None)
    assert bare[0] != 0
    asked.append((bare, lambda part: plain.Verify("m", part, None)))
    for whole, verify in asked:
        assert verify(whole)
        assert not any(verify(part) for n in range(1, len(whole) + 1) for part in (whole[:-n], whole[n:]))


@settings(deadline=None)  # RSA on a busy machine
@given(text=st.text() | st.binary())
def test_no_text_makes_reading_raise_anything_else(sets: Sets, text: str | bytes) -> None:
    """Whatever comes in, the answer is no."""
    signer = sets.signer("hmac")
    assert not signer.Verify("m", text)
    assert signer.AttachedVerify(text, "n") is None
    assert not signer.TimeoutVerify("m", text)
    with pytest.raises(InvalidSignature):
        signer.verify("m", text)
    with pytest.raises(DecryptionFailed):
        sets.crypter("aes").Decrypt(text)


@settings(deadline=None)  # RSA on a busy machine
@given(output=st.binary(max_size=120))
def test_no_bytes_under_a_right_header_make_reading_raise_anything_else(sets: Sets, output: bytes) -> None:
    """The key is found, and what follows is refused."""
    for name in CRYPTING:
        crypter = sets.crypter(name)
        assert answer(crypter, crypter.key(1).header + output)
    for name in SIGNING:
        signer = sets.signer(name)
        assert not signer.Verify("m", signer.key(1).header + output, None)
        assert signer.AttachedVerify(signer.key(1).header + output, "n", None) is None


def test_nothing_is_decrypted_before_the_mac_is_found_right(sets: Sets) -> None:
    """With one wrong bit AES is never asked."""
    crypter = sets.crypter("aes")
    with mock.patch.object(symmetric, "Cipher", side_effect=AssertionError("decrypted")):
        for altered in flipped(decode("AORGfW5-2BLp20X3OCiFDSPMuOiHsaRJDDNOw-1V_aIoDH2B-zc4B04Yf3w4dqtryoLZrEGT3A9O")):
            answer(crypter, altered)


def test_the_same_work_is_done_whichever_byte_is_wrong(sets: Sets) -> None:
    """One HMAC over all but the MAC, for an unknown key and another version too; counted, since time varies."""
    crypter, signer = sets.crypter("aes"), sets.signer("hmac")
    ciphertext, signature = crypter.Encrypt("m", None), signer.Sign("m", None)
    with mock.patch.object(HmacKey, "sign", autospec=True, side_effect=HmacKey.sign) as work:
        for altered in flipped(ciphertext):
            answer(crypter, altered)
        for altered in flipped(signature):
            assert not signer.Verify("m", altered, None)
    sizes = {len(call.args[1]) for call in work.call_args_list}
    assert work.call_count == 8 * (len(ciphertext) + len(signature))
    assert sizes == {len(ciphertext) - 20, len(b"m\x00")}


@pytest.mark.parametrize(
    "padded",
    [b"x" * 15 + b"\x00", b"x" * 15 + b"\x11", b"\x11" * 32, b"\xff" * 256, b"x" * 14 + b"\x01\x02"],
    ids=["none", "too long", "longer than a block", "longest", "of unequal bytes"],
)
def test_authentic_outputs_with_wrong_padding_are_refused_too(padded: bytes) -> None:
    """Only somebody with the key can make them; they are no plaintext all the same."""
    key = AesKey(b"k" * 16, HmacKey(b"h" * 32))
    crypter = keyczar.Crypter(StaticKeyReader(key, DECRYPT_AND_ENCRYPT))
    cipher = Cipher(algorithms.AES(key.secret), modes.CBC(bytes(16))).encryptor()
    body = key.header + bytes(16) + cipher.update(padded) + cipher.finalize()
    assert answer(crypter, body + key.hmac_key.sign(body))


@pytest.mark.parametrize("size", [0, 1, 15, 17, 31])
def test_authentic_outputs_of_no_whole_block_are_refused_too(size: int) -> None:
    """As with wrong padding."""
    key = AesKey(b"k" * 16, HmacKey(b"h" * 32))
    crypter = keyczar.Crypter(StaticKeyReader(key, DECRYPT_AND_ENCRYPT))
    body = key.header + bytes(16) + bytes(size)
    assert answer(crypter, body + key.hmac_key.sign(body))


def test_session_material_of_another_shape_is_refused(sets: Sets) -> None:
    """Right ciphertexts of something else: one error, no key made of it."""
    crypter, verifier = sets.crypter("aes"), sets.verifier("hmac")
    for inside in (b"", b"text", b"\x00\x00\x00\x02", b"{}", b'{"key": {}, "nonce": "AA"}', bytes(60)):
        material = crypter.Encrypt(inside)
        with pytest.raises(DecryptionFailed):
            keyczar.SessionDecrypter(crypter, material)
        with pytest.raises(DecryptionFailed):
            keyczar.SignedSessionDecrypter(crypter, verifier, material)


def test_an_altered_signed_session_is_refused(sets: Sets) -> None:
    """By its signature; and one of another session by that as well, since its nonce is another."""
    crypter, signer = sets.crypter("aes"), sets.signer("hmac")
    first, second = (keyczar.SignedSessionEncrypter(crypter, signer) for _ in range(2))
    reader = keyczar.SignedSessionDecrypter(crypter, signer, first.session_material)
    assert reader.Decrypt(first.Encrypt("m")) == b"m"
    for wrong in (second.Encrypt("m"), *map(encode, flipped(decode(first.Encrypt("m"))))):
        with pytest.raises(InvalidSignature):
            reader.Decrypt(wrong)
