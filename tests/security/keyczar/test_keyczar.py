"""Key sets in use: round trips, the legacy switch, purposes, statuses, and the traps of the format."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.security.keyczar import Sets
from tornado_couch.errors import (
    DecryptionFailed,
    InvalidSignature,
    KeySetError,
    LegacyAlgorithm,
    SecurityError,
    SignatureFault,
)
from tornado_couch.security import keyczar
from tornado_couch.security.keyczar import keyczart
from tornado_couch.security.keyczar.encoding import decode, encode, pack, pack_all, unpack_all
from tornado_couch.security.keyczar.key import Key
from tornado_couch.security.keyczar.keyinfo import ACTIVE, DECRYPT_AND_ENCRYPT, PRIMARY, SIGN_AND_VERIFY, KeyPurpose
from tornado_couch.security.keyczar.keys import key_text
from tornado_couch.security.keyczar.metadata import KeyMetadata, KeyVersion
from tornado_couch.security.keyczar.readers import StaticKeyReader
from tornado_couch.security.keyczar.symmetric import AesKey, HmacKey

SIGNING = ["hmac", "hmac-encrypted", "rsa-sign", "dsa-sign"]
CRYPTING = ["aes", "rsa-crypt"]
NOW = 1_700_000_000_000

names = st.sampled_from(SIGNING)
messages = st.binary(max_size=200) | st.text(max_size=60)


def as_bytes(message: str | bytes) -> bytes:
    return message.encode() if isinstance(message, str) else message


class Memory:
    """A reader of keys in memory, as an application may have one of its own."""

    def __init__(self, keys: Sequence[Key], purpose: KeyPurpose) -> None:
        versions = tuple(KeyVersion(number, ACTIVE if number > 1 else PRIMARY) for number in range(1, len(keys) + 1))
        self._metadata = KeyMetadata("in memory", purpose, keys[0].type, versions=versions)
        self._keys = keys

    def GetMetadata(self) -> str:  # noqa: N802 - python-keyczar's name
        return str(self._metadata)

    def GetKey(self, version_number: int, /) -> str:  # noqa: N802 - python-keyczar's name
        return key_text(self._keys[version_number - 1])


# --- round trips ---------------------------------------------------------------------------------------------------


@settings(deadline=None)  # RSA on a busy machine
@given(name=names, message=messages)
def test_what_is_signed_verifies_in_every_way(new_sets: Sets, name: str, message: str | bytes) -> None:
    """Detached, attached, timeout and unversioned signatures of any message verify, and none for another one."""
    signer, plain = new_sets.signer(name), new_sets.unversioned(name)
    assert signer.Verify(message, signer.Sign(message))
    assert signer.AttachedVerify(signer.AttachedSign(message, "nonce"), b"nonce") == as_bytes(message)
    assert signer.TimeoutVerify(message, signer.TimeoutSign(message, NOW), now=NOW)
    assert plain.Verify(message, plain.Sign(message))
    assert not signer.Verify(as_bytes(message) + b"x", signer.Sign(message))
    assert not plain.Verify(as_bytes(message) + b"x", plain.Sign(message))


@settings(deadline=None)  # RSA on a busy machine
@given(name=st.sampled_from(CRYPTING), message=st.binary(max_size=200) | st.text(max_size=50))
def test_what_is_encrypted_decrypts(new_sets: Sets, name: str, message: str | bytes) -> None:
    """Any bytes come back; text comes back as its UTF-8."""
    crypter = new_sets.crypter(name)
    assert crypter.Decrypt(crypter.Encrypt(message)) == as_bytes(message)


@settings(deadline=None)  # RSA on a busy machine
@given(message=st.binary(max_size=3000))
def test_sessions_carry_any_size_under_a_small_key(new_sets: Sets, message: bytes) -> None:
    """A public RSA set encrypts, the private one decrypts; signed sessions verify the signer as well."""
    crypter = new_sets.crypter("rsa-crypt")
    public = keyczar.Encrypter.Read(new_sets.path("rsa-crypt-public"), allow_legacy=True)
    session = keyczar.SessionEncrypter(public)
    assert keyczar.SessionDecrypter(crypter, session.session_material).Decrypt(session.Encrypt(message)) == message
    signed = keyczar.SignedSessionEncrypter(public, new_sets.signer("hmac"))
    reader = keyczar.SignedSessionDecrypter(crypter, new_sets.verifier("hmac"), signed.session_material)
    assert reader.Decrypt(signed.Encrypt(message)) == message


@pytest.mark.parametrize("name", ["rsa-sign", "dsa-sign"])
def test_a_public_key_set_verifies_what_the_private_one_signed(new_sets: Sets, name: str) -> None:
    """Both know the key by the same hash."""
    assert new_sets.verifier(f"{name}-public").Verify("m", new_sets.signer(name).Sign("m"))


def test_both_spellings_do_the_same(sets: Sets) -> None:
    """The snake_case methods take and give what the others do, except that they raise where those answer False."""
    signer, crypter = sets.signer("hmac"), sets.crypter("aes")
    assert signer.sign("m") == signer.Sign("m")
    assert signer.attached_verify(signer.attached_sign("m", "n"), "n") == b"m"
    signer.verify("m", signer.sign("m"))
    signer.timeout_verify("m", signer.timeout_sign("m", NOW), now=NOW)
    plain = sets.unversioned("hmac")
    plain.verify("m", plain.sign("m"))
    assert crypter.decrypt(crypter.encrypt("m")) == b"m"
    with pytest.raises(InvalidSignature):
        signer.verify("other", signer.sign("m"))
    with pytest.raises(InvalidSignature):
        signer.attached_verify(signer.attached_sign("m", "n"), "other")
    with pytest.raises(InvalidSignature):
        signer.timeout_verify("m", signer.timeout_sign("m", NOW), now=NOW + 1)
    with pytest.raises(InvalidSignature):
        plain.verify("other", plain.sign("m"))


def test_without_an_encoder_outputs_are_bytes(sets: Sets) -> None:
    """`encoder=None` and `decoder=None` leave base64 out, as they did in python-keyczar."""
    signer, crypter, plain = sets.signer("hmac"), sets.crypter("aes"), sets.unversioned("hmac")
    assert signer.Sign("m", None) == decode(signer.Sign("m"))
    assert signer.Verify("m", signer.Sign("m", None), None)
    assert signer.AttachedVerify(signer.AttachedSign("m", "n", None), "n", None) == b"m"
    assert signer.TimeoutVerify("m", signer.TimeoutSign("m", NOW, None), None, now=NOW)
    assert plain.Verify("m", plain.Sign("m", None), None)
    assert crypter.Decrypt(crypter.Encrypt("m", encoder=None), decoder=None) == b"m"
    session = keyczar.SessionEncrypter(crypter)
    reader = keyczar.SessionDecrypter(crypter, session.session_material)
    assert reader.Decrypt(session.Encrypt("m", None), None) == b"m"


def test_only_bytes_and_text_are_data(sets: Sets) -> None:
    """A number is no message: bytes(5) would be five zeros."""
    assert sets.signer("hmac").Verify(bytearray(b"m"), sets.signer("hmac").Sign(memoryview(b"m")))  # type: ignore[arg-type,call-overload]
    with pytest.raises(TypeError):
        sets.signer("hmac").Sign(5)  # type: ignore[call-overload]


# --- the legacy switch, purposes, statuses ----------------------------------------------------------------------------


def test_new_data_need_allow_legacy(sets: Sets) -> None:
    """Without it every way to write says what to do, while reading works."""
    signer = keyczar.Signer.Read(sets.path("hmac"))
    for write in (
        lambda: signer.Sign("m"),
        lambda: signer.AttachedSign("m", "n"),
        lambda: signer.TimeoutSign("m", NOW),
        lambda: keyczar.UnversionedSigner.Read(sets.path("hmac")).Sign("m"),
        lambda: keyczar.Crypter.Read(sets.path("aes")).Encrypt("m"),
        lambda: keyczar.Encrypter.Read(sets.path("rsa-crypt-public")).Encrypt("m"),
        lambda: keyczar.SessionEncrypter(keyczar.Crypter.Read(sets.path("aes"))),
        lambda: keyczar.SignedSessionEncrypter(sets.crypter("aes"), signer).Encrypt("m"),
    ):
        with pytest.raises(LegacyAlgorithm, match=r"SHA-1.*allow_legacy=True"):
            write()
    assert signer.Verify("m", sets.signer("hmac").Sign("m"))


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (keyczar.Signer, "aes"),
        (keyczar.Signer, "rsa-crypt"),
        (keyczar.Signer, "rsa-sign-public"),
        (keyczar.UnversionedSigner, "dsa-sign-public"),
        (keyczar.Verifier, "rsa-crypt-public"),
        (keyczar.Crypter, "hmac"),
        (keyczar.Crypter, "rsa-crypt-public"),
        (keyczar.Encrypter, "rsa-sign-public"),
    ],
)
def test_a_key_set_is_used_for_its_purpose_only(sets: Sets, kind: type[keyczar.Keyczar], name: str) -> None:
    """Reading it for another one is refused, and the error names both."""
    with pytest.raises(KeySetError, match=rf"is for [A-Z_]+, which a {kind.__name__} cannot use"):
        kind.Read(sets.path(name))


def test_the_primary_key_writes_and_all_keys_read(own_sets: Sets) -> None:
    """Outputs bear the primary key's hash; what an active or inactive version made is still read."""
    path, signer = own_sets.path("hmac"), own_sets.signer("hmac")
    by_second = signer.Sign("m")
    keyczart.promote(path, 1)
    keyczart.demote(path, 2)
    signer = own_sets.signer("hmac")
    by_first = signer.Sign("m")
    assert decode(by_first)[1:5] == signer.key(1).hash != decode(by_second)[1:5]
    assert signer.Verify("m", by_second)
    assert own_sets.unversioned("hmac").Verify("m", encode(signer.key(2).sign(b"m")))


def test_a_key_set_without_a_primary_key_only_reads(own_sets: Sets) -> None:
    """Signing says that there is none."""
    signature = own_sets.signer("hmac").Sign("m")
    keyczart.demote(own_sets.path("hmac"), 2)
    signer = own_sets.signer("hmac")
    assert signer.Verify("m", signature)
    with pytest.raises(KeySetError, match="no primary"):
        signer.Sign("m")


def test_a_key_set_without_keys_reads_nothing(tmp_path: Path) -> None:
    """It answers as for an unknown key."""
    keyczart.create(tmp_path / "crypt", "empty", DECRYPT_AND_ENCRYPT)
    keyczart.create(tmp_path / "sign", "empty", SIGN_AND_VERIFY)
    assert not keyczar.Verifier.Read(tmp_path / "sign").Verify("m", encode(bytes(25)))
    with pytest.raises(DecryptionFailed):
        keyczar.Crypter.Read(tmp_path / "crypt").Decrypt(encode(bytes(57)))


def test_timeout_signatures_end_with_their_last_millisecond(sets: Sets) -> None:
    """The time is signed too, and without one given the clock's counts."""
    signer = sets.signer("hmac")
    signature = signer.TimeoutSign("m", NOW)
    assert signer.TimeoutVerify("m", signature, now=NOW)
    assert not signer.TimeoutVerify("m", signature, now=NOW + 1)
    assert not signer.TimeoutVerify("m", signature)
    assert signer.TimeoutVerify("m", signer.TimeoutSign("m", 2**62))
    assert not signer.TimeoutVerify("m", signer.TimeoutSign("m", -1), now=0)
    later = decode(signature)[:5] + (2**62).to_bytes(8, "big") + decode(signature)[13:]
    assert not signer.TimeoutVerify("m", encode(later))


def test_timeout_signatures_are_java_s(sets: Sets) -> None:
    """Header, time in milliseconds, and the signature of time, message and version byte."""
    signer = sets.signer("hmac")
    key, time = signer.key(2), NOW.to_bytes(8, "big")
    assert signer.TimeoutSign("m", NOW, None) == key.header + time + key.sign(time + b"m" + b"\x00")


def test_an_encrypted_key_set_needs_the_one_it_is_encrypted_with(sets: Sets, tmp_path: Path) -> None:
    """Without, with another one, and with one though it is in clear: each is one error."""
    with pytest.raises(KeySetError, match="is encrypted: give the set"):
        keyczar.Signer.Read(sets.path("hmac-encrypted"))
    keyczart.create(tmp_path / "other", "other", DECRYPT_AND_ENCRYPT)
    keyczart.add_key(tmp_path / "other", PRIMARY)
    for name, crypter in [("hmac-encrypted", keyczar.Crypter.Read(tmp_path / "other")), ("hmac", sets.crypter("aes"))]:
        with pytest.raises(KeySetError, match="not encrypted with the given key set"):
            keyczar.Signer.Read(sets.path(name), crypter=crypter)


def test_readers_compose_as_in_python_keyczar(sets: Sets) -> None:
    """`Signer(EncryptedReader(FileReader(…), crypter))` reads what `Signer.Read(…, crypter=…)` reads."""
    readers = keyczar.readers
    reader = readers.EncryptedReader(readers.FileReader(str(sets.path("hmac-encrypted"))), sets.crypter("aes"))
    assert keyczar.Verifier(reader).Verify("m", sets.signer("hmac-encrypted").Sign("m"))


# --- traps of the format ----------------------------------------------------------------------------------------------


def test_the_version_byte_is_signed_after_the_message(sets: Sets) -> None:
    """HMAC-SHA1 over the message and a zero byte; without it for unversioned signatures."""
    key = sets.signer("hmac").key(2)
    assert isinstance(key, HmacKey)
    versioned, plain = (hmac.digest(key.secret, data, "sha1") for data in (b"m\x00", b"m"))
    assert decode(sets.signer("hmac").Sign("m")) == b"\x00" + hashlib.sha1(key.secret).digest()[:4] + versioned
    assert decode(sets.unversioned("hmac").Sign("m")) == plain


def test_the_hash_of_an_aes_key_covers_both_keys(sets: Sets) -> None:
    """SHA-1 over the AES key's size in bytes, the AES key and the HMAC key."""
    for number, size in ((1, b"\x00\x00\x00\x10"), (2, b"\x00\x00\x00\x20")):
        key = sets.crypter("aes").key(number)
        assert isinstance(key, AesKey)
        assert key.hash == hashlib.sha1(size + key.secret + key.hmac_key.secret).digest()[:4]


def test_the_hash_of_a_public_key_covers_its_numbers_without_leading_zeros(sets: Sets) -> None:
    """The files have a zero byte before each number; the hash has the number's bytes after their length."""
    for name, members in (("rsa-sign-public", ("modulus", "publicExponent")), ("dsa-sign-public", "pqgy")):
        key = sets.verifier(name).key(1)
        numbers = [decode(key.to_json()[member]) for member in members]
        assert all(number.startswith(b"\x00") for number in numbers)
        assert key.hash == hashlib.sha1(b"".join(pack(each.lstrip(b"\x00")) for each in numbers)).digest()[:4]


def old_output(key: AesKey, old_hash: bytes) -> str:
    """What an implementation that knew the key by another hash would have encrypted."""
    body = b"\x00" + old_hash + key.encrypt(b"old")[5:-20]
    return encode(body + key.hmac_key.sign(body))


@pytest.mark.parametrize("size", [24, 32])
def test_ciphertexts_of_old_java_are_read(size: int) -> None:
    """It hashed the size of a block in place of the key's."""
    key = AesKey(bytes(range(1, size + 1)), HmacKey(b"h" * 32))
    old = hashlib.sha1(b"\x00\x00\x00\x10" + key.secret + key.hmac_key.secret).digest()[:4]
    assert keyczar.Crypter(StaticKeyReader(key, DECRYPT_AND_ENCRYPT)).Decrypt(old_output(key, old)) == b"old"


def test_ciphertexts_of_old_cpp_are_read() -> None:
    """It dropped the leading zeros of an AES key before it hashed it."""
    key = AesKey(b"\x00\x00" + b"k" * 14, HmacKey(b"h" * 32))
    old = hashlib.sha1(b"\x00\x00\x00\x0e" + b"k" * 14 + key.hmac_key.secret).digest()[:4]
    assert keyczar.Crypter(StaticKeyReader(key, DECRYPT_AND_ENCRYPT)).Decrypt(old_output(key, old)) == b"old"


def test_new_ciphertexts_never_bear_an_old_hash() -> None:
    """The right hash is the one that is written."""
    key = AesKey(b"\x00" * 3 + b"k" * 29, HmacKey(b"h" * 32))
    crypter = keyczar.Crypter(StaticKeyReader(key, DECRYPT_AND_ENCRYPT), allow_legacy=True)
    assert len(key.fallback_hashes) == 2
    assert decode(crypter.Encrypt("m"))[1:5] == key.hash
    assert key.hash not in key.fallback_hashes


def colliding(make: Callable[[bytes], Key]) -> tuple[Key, Key]:
    """Two keys of one hash; four bytes collide among some 80,000 keys."""
    seen: dict[bytes, Key] = {}
    for number in range(1_000_000):
        key = make(number.to_bytes(32, "big"))
        if key.hash in seen:
            return seen[key.hash], key
        seen[key.hash] = key
    raise AssertionError("no collision")


def test_ciphertexts_of_keys_that_share_a_hash_are_decrypted() -> None:
    """Each key of that hash is tried, whichever made the output."""
    shared = HmacKey(b"h" * 32)
    keys = colliding(lambda secret: AesKey(secret, shared))
    crypter = keyczar.Crypter(Memory(keys, DECRYPT_AND_ENCRYPT))
    assert keys[0].header == keys[1].header
    assert [crypter.Decrypt(key.encrypt(b"m"), None) for key in keys] == [b"m", b"m"]


def test_signatures_of_keys_that_share_a_hash_verify() -> None:
    """Detached, attached and timeout ones."""
    keys = colliding(HmacKey)
    verifier = keyczar.Verifier(Memory(keys, SIGN_AND_VERIFY))
    for key in keys:
        signer = keyczar.Signer(Memory([key], SIGN_AND_VERIFY), allow_legacy=True)
        assert verifier.Verify("m", signer.Sign("m"))
        assert verifier.AttachedVerify(signer.AttachedSign("m", "n"), "n") == b"m"
        assert verifier.TimeoutVerify("m", signer.TimeoutSign("m", NOW), now=NOW)


def test_an_rsa_ciphertext_without_its_leading_zeros_is_read(sets: Sets) -> None:
    """python-keyczar wrote one ciphertext in 256 so."""
    crypter = sets.crypter("rsa-crypt")
    output = b""
    while output[5:6] != b"\x00":
        output = crypter.Encrypt("m", None)
    assert len(output) == 5 + 256
    assert crypter.Decrypt(output, None) == b"m"
    assert crypter.Decrypt(output[:5] + output[5:].lstrip(b"\x00"), None) == b"m"


def test_an_rsa_signature_without_its_leading_zeros_verifies(sets: Sets) -> None:
    """Every Keyczar took it for a number; what is written has the modulus's size."""
    signer = sets.signer("rsa-sign")
    message = next(str(n) for n in range(9999) if signer.Sign(str(n), None)[5] == 0)
    signature = signer.Sign(message, None)
    assert len(signature) == 5 + 256
    assert signer.Verify(message, signature[:5] + signature[5:].lstrip(b"\x00"), None)


@pytest.mark.parametrize("junk", [b"\x00" * 3, b"junk"])
def test_a_dsa_signature_may_be_followed_by_anything(sets: Sets, junk: bytes) -> None:
    """Old Java filled signatures up with zeros, and every Keyczar reads to the end that the signature names."""
    signature = sets.signer("dsa-sign").Sign("m", None)
    assert sets.verifier("dsa-sign-public").Verify("m", signature + junk, None)
    assert not sets.verifier("dsa-sign-public").Verify("n", signature + junk, None)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda text: text + "=",
        lambda text: text + "\n",
        lambda text: " " + text,
        lambda text: text[:9] + "\n" + text[9:],
        lambda text: text.replace("-", "+").replace("_", "/"),
        lambda text: text[:-1] + chr(ord(text[-1]) + 1),
        lambda text: text + "A",
        lambda text: text + "é",
    ],
    ids=["padding", "line break", "space", "line break inside", "alphabet", "stray bits", "length", "not ASCII"],
)
def test_only_canonical_base64_is_read(sets: Sets, spoil: Callable[[str], str]) -> None:
    """One output has one text: anything that a lenient decoder takes for the same bytes is refused."""
    signer, crypter = sets.signer("hmac"), sets.crypter("aes")
    # 25 and 57 + 1 bytes: the last character has bits to spare; and - or _ occurs in the texts chosen.
    signature = next(text for n in range(99) if {"-", "_"} & set(text := signer.Sign(str(n))) and len(text) % 4 == 2)
    message = next(str(n) for n in range(99) if signer.Sign(str(n)) == signature)
    assert signer.Verify(message, signature)
    assert not signer.Verify(message, spoil(signature))
    ciphertext = next(text for _ in range(99) if "-" in (text := crypter.Encrypt("m")))
    with pytest.raises(DecryptionFailed):
        crypter.Decrypt(spoil(ciphertext))


@given(st.binary())
def test_base64_is_a_bijection(data: bytes) -> None:
    """The text is that of base64url, and gives the bytes back."""
    assert encode(data) == base64.urlsafe_b64encode(data).decode().rstrip("=")
    assert decode(encode(data)) == decode(encode(data).encode()) == data


@given(st.lists(st.binary(min_size=1), max_size=4))
def test_packed_strings_unpack(parts: list[bytes]) -> None:
    """And neither cut off nor with another count."""
    packed = pack_all(*parts)
    assert unpack_all(packed) == parts
    for wrong in (packed + b"\x00", packed[:-1], b"\x00\x00\x00\x09" + packed[4:]):
        with pytest.raises(ValueError, match="packed"):
            unpack_all(wrong)


def test_an_rsa_key_says_how_much_it_encrypts(sets: Sets) -> None:
    """214 bytes for 2048 bits; more is an error that names the way out."""
    crypter = sets.crypter("rsa-crypt")
    assert crypter.Decrypt(crypter.Encrypt(b"x" * 214)) == b"x" * 214
    with pytest.raises(SecurityError, match=r"214 bytes.*SessionEncrypter"):
        crypter.Encrypt(b"x" * 215)


def test_an_attached_signature_without_a_nonce_is_the_original_s(sets: Sets) -> None:
    """None adds nothing to what is signed; the empty nonce adds its length."""
    signer = sets.signer("hmac")
    key = signer.key(2)
    assert signer.AttachedSign("m", None, None) == key.header + pack(b"m") + key.sign(b"m\x00")
    assert signer.AttachedSign("m", "", None) == key.header + pack(b"m") + key.sign(b"m" + bytes(4) + b"\x00")


def test_an_unknown_key_is_told_from_an_altered_signature(sets: Sets) -> None:
    """For a chain of key sets, which asks the next one only then; the message is the same."""
    signer, crypter = sets.signer("hmac"), sets.crypter("aes")
    other = sets.signer("rotated").Sign("m")
    faults = []
    for signature in (other, signer.Sign("n"), other[:4], "AQ" + other[2:]):
        with pytest.raises(InvalidSignature) as caught:
            signer.verify("m", signature)
        faults.append((caught.value.reason, str(caught.value)))
    unknown, altered = SignatureFault.UNKNOWN_KEY, SignatureFault.ALTERED
    assert [reason for reason, _ in faults] == [unknown, altered, altered, unknown]
    assert len({message for _, message in faults}) == 1
    ciphertext = decode(crypter.Encrypt("m"))
    found = []
    for output in (b"\x00none" + ciphertext[5:], ciphertext[:-1], b"\x00"):
        with pytest.raises(DecryptionFailed) as failed:
            crypter.Decrypt(output, None)
        found.append((failed.value.unknown_key, str(failed.value)))
    assert [unknown for unknown, _ in found] == [True, False, False]
    assert len({message for _, message in found}) == 1
