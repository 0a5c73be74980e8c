"""Encrypted properties and blind indexes."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.security.kinds import CRYPTERS
from tests.security.values import json_values, names
from tornado_couch import _json
from tornado_couch.errors import DecryptionFailed, KeySetError
from tornado_couch.security import (
    KeyChain,
    KeyRing,
    Purpose,
    blind_index,
    blind_indexes,
    canonical,
    ciphertext_of,
    decrypt_value,
    encrypt_value,
    is_encrypted,
)

crypters = pytest.mark.parametrize("make", CRYPTERS.values(), ids=CRYPTERS)
PLACE = {"document_id": "1f", "type_name": "fruit_v1.0", "property_name": "owner_email"}
INDEX = {"type_name": "fruit_v1.0", "property_name": "owner_email"}


@crypters
@settings(deadline=None)
@given(value=json_values(), document_id=names(), type_name=names(), property_name=names())
def test_any_json_value_comes_back_in_its_place(make: Any, value: object, **place: str) -> None:
    """Whatever is encrypted for a property of a document is decrypted there, by keys of every kind."""
    keys = make()
    stored = encrypt_value(value, keys=keys, **place)
    again = decrypt_value(_json.loads(_json.dumps(stored)), keys=keys, **place)
    assert _json.dumps(again) == _json.dumps(value)
    assert is_encrypted(stored)


@crypters
@pytest.mark.parametrize("name", PLACE)
def test_moved_elsewhere_it_does_not_decrypt(make: Any, name: str) -> None:
    """Not in another document, nor another type, nor another property."""
    keys = make()
    stored = encrypt_value("ann@example.com", keys=keys, **PLACE)
    with pytest.raises(DecryptionFailed):
        decrypt_value(stored, keys=keys, **{**PLACE, name: "other"})


def test_a_new_version_of_the_type_can_read_it() -> None:
    """Upgrading a document leaves its encrypted properties and blind indexes as they are."""
    ring = KeyRing.create()
    stored = encrypt_value("a", keys=ring, **PLACE)
    assert decrypt_value(stored, keys=ring, **{**PLACE, "type_name": "fruit_v2.13"}) == "a"
    assert blind_index("a", keys=ring, **INDEX) == blind_index("a", keys=ring, **{**INDEX, "type_name": "fruit"})


def test_the_same_value_never_looks_the_same() -> None:
    """Encryption is randomised."""
    ring = KeyRing.create()
    assert len({encrypt_value("a", keys=ring, **PLACE) for _ in range(100)}) == 100


def test_the_length_tells_little() -> None:
    """True, false, null and short texts and numbers have ciphertexts of one length."""
    ring = KeyRing.create()
    values = [True, False, None, 0, 10**20, "", "ann@example.com", [], {}]
    assert len({len(encrypt_value(value, keys=ring, **PLACE)) for value in values}) == 1


def test_every_flipped_bit_of_what_is_stored_is_found() -> None:
    """No text with one bit flipped decrypts to anything."""
    ring = KeyRing.create()
    stored = encrypt_value({"a": [1]}, keys=ring, **PLACE).encode()
    for i in range(len(stored)):
        for bit in range(8):
            flipped = stored[:i] + bytes([stored[i] ^ 1 << bit]) + stored[i + 1 :]
            with pytest.raises(DecryptionFailed):
                decrypt_value(flipped.decode("latin-1"), keys=ring, **PLACE)


@pytest.mark.parametrize("stored", [None, 5, "", "plain text", "encrypted.v1:", "encrypted.v2:AgAA", ["encrypted.v1:"]])
def test_what_is_not_encrypted_is_not_decrypted(stored: object) -> None:
    """A plain value written straight into the database is an error, never taken for the decrypted one."""
    with pytest.raises(DecryptionFailed):
        decrypt_value(stored, keys=KeyRing.create(), **PLACE)


def test_keys_can_be_changed_and_old_ciphertexts_told() -> None:
    """After promoting a key the old ciphertexts are read and are known not to be current."""
    ring = KeyRing.create()
    stored = encrypt_value("a", keys=ring, **PLACE)
    assert ring.is_current(ciphertext_of(stored))
    ring.promote(ring.add())
    assert decrypt_value(stored, keys=ring, **PLACE) == "a"
    assert not ring.is_current(ciphertext_of(stored))


def test_a_ring_for_signing_encrypts_nothing() -> None:
    """The wrong purpose is an error of the key set, not of the data."""
    ring = KeyRing.create(Purpose.SIGN)
    with pytest.raises(KeySetError):
        encrypt_value("a", keys=ring, **PLACE)
    with pytest.raises(KeySetError):
        blind_index("a", keys=ring, **INDEX)


@crypters
@settings(deadline=None)
@given(value=json_values(), other=json_values())
def test_equal_values_and_only_those_have_equal_blind_indexes(make: Any, value: object, other: object) -> None:
    """Equality queries find what is equal in JSON, also after a journey through the database."""
    keys = make()
    index = blind_index(value, keys=keys, **INDEX)
    assert blind_index(_json.loads(_json.dumps(value)), keys=keys, **INDEX) == index
    assert (blind_index(other, keys=keys, **INDEX) == index) is (canonical(other) == canonical(value))


@settings(deadline=None)
@given(value=json_values(), name=st.sampled_from(["type_name", "property_name"]))
def test_a_blind_index_is_of_one_property_of_one_type(value: object, name: str) -> None:
    """Equal values of other properties cannot be linked by it."""
    ring = KeyRing.create()
    assert blind_index(value, keys=ring, **INDEX) != blind_index(value, keys=ring, **{**INDEX, name: "other"})


def test_without_the_key_nothing_follows_from_a_blind_index() -> None:
    """Another key gives another blind index for the same value."""
    assert blind_index("a", keys=KeyRing.create(), **INDEX) != blind_index("a", keys=KeyRing.create(), **INDEX)


def test_what_older_keys_stored_is_still_found() -> None:
    """While keys are being changed, lookups ask for the blind indexes of all of them."""
    old, new = KeyRing.create(), KeyRing.create()
    before = blind_index("a", keys=old, **INDEX)
    chain = KeyChain(new, old)
    assert blind_index("a", keys=chain, **INDEX) == blind_index("a", keys=new, **INDEX)
    assert before in blind_indexes("a", keys=chain, **INDEX)
    old.promote(old.add())
    assert blind_index("a", keys=old, **INDEX) != before
    assert before in blind_indexes("a", keys=old, **INDEX)
