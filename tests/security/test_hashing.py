"""Hashes of property values."""

from __future__ import annotations

import base64
import hashlib
import hmac

import bcrypt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tornado_couch.errors import SecurityError
from tornado_couch.security import BcryptHasher, Sha3Hasher, is_hash
from tornado_couch.security.encoding import b64_encode

PEPPER, OLDER = b"a pepper of 16 bytes", b"another pepper, too"
cheap = BcryptHasher(4)
VALUES = st.text(st.characters(exclude_categories=["Cs"]), max_size=40) | st.binary(max_size=100)


class TestBcrypt:
    """Hashes of what can be guessed."""

    @settings(max_examples=25, deadline=None)
    @given(value=VALUES)
    def test_a_value_verifies_and_another_does_not(self, value: str | bytes) -> None:
        """Whatever was hashed verifies, and with anything after it does not."""
        stored = cheap.hash(value)
        assert cheap.verify(value, stored)
        assert not cheap.verify(value + (b"\0" if isinstance(value, bytes) else "\0"), stored)
        assert not cheap.needs_rehash(stored)

    def test_the_same_value_is_never_hashed_alike(self) -> None:
        """Each hash has a salt of its own."""
        assert cheap.hash("value") != cheap.hash("value")

    @pytest.mark.parametrize("length", [71, 72, 73, 144, 100_000])
    def test_every_byte_of_a_long_value_counts(self, length: int) -> None:
        """bcrypt itself ends at 72 bytes; a difference beyond is found all the same."""
        stored = cheap.hash("x" * length)
        assert stored.startswith("$2b$04$" if length <= 72 else "bcrypt-hmac-sha256:$2b$04$")
        assert cheap.verify("x" * length, stored)
        assert not cheap.verify("x" * (length - 1) + "y", stored)
        assert not cheap.verify("x" * (length + 1), stored)

    def test_a_zero_byte_ends_nothing(self) -> None:
        """Values that differ after a zero byte differ."""
        stored = cheap.hash("a\0b")
        assert cheap.verify("a\0b", stored)
        assert not cheap.verify("a\0c", stored)
        assert not cheap.verify("a", stored)
        assert not cheap.verify("a\0b", cheap.hash("a"))

    @pytest.mark.parametrize("variant", ["2a", "2b", "2y"])
    def test_hashes_of_other_software_verify(self, variant: str) -> None:
        """Each variant of bcrypt is read; those that are not written here are due for a rehash."""
        other = bcrypt.hashpw(b"value", bcrypt.gensalt(4)).decode().replace("$2b$", f"${variant}$")
        assert cheap.verify("value", other)
        assert not cheap.verify("valuf", other)
        assert cheap.needs_rehash(other) is (variant != "2b")

    def test_a_known_hash_of_bcrypt_verifies(self) -> None:
        """A test vector of the original crypt_blowfish."""
        assert cheap.verify("U*U", "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW")

    def test_a_hash_of_another_cost_is_due_for_a_rehash(self) -> None:
        """Verifying works with any cost, and the cost can be raised over time."""
        stored = cheap.hash("value")
        dearer = BcryptHasher(5)
        assert dearer.verify("value", stored)
        assert dearer.needs_rehash(stored)
        assert dearer.needs_rehash("sha3-512:x")

    @pytest.mark.parametrize("stored", ["", "value", "$2b$04$short", "$2x$04$" + "a" * 53, "$2b$31$" + "a" * 53])
    def test_what_is_no_hash_or_would_take_days_is_an_error(self, stored: str) -> None:
        """A stored text that bcrypt cannot have made, or with a cost of 2^31, is not tried."""
        with pytest.raises(SecurityError):
            cheap.verify("value", stored)

    @pytest.mark.parametrize("cost", [3, 19])
    def test_the_cost_has_bounds(self, cost: int) -> None:
        """A cost that protects nothing or stops the service is refused."""
        with pytest.raises(ValueError, match="between 4 and 18"):
            BcryptHasher(cost)

    def test_the_hash_of_a_long_value_is_that_of_its_keyed_digest(self) -> None:
        """So that other software can check it: bcrypt(base64(HMAC-SHA256(salt, value)))."""
        tag, _, stored = cheap.hash("x" * 73).partition(":")
        digest = base64.b64encode(hmac.digest(stored[:29].encode(), b"x" * 73, "sha256"))
        assert tag == "bcrypt-hmac-sha256"
        assert bcrypt.checkpw(digest, stored.encode())

    @settings(max_examples=20, deadline=None)
    @given(value=VALUES)
    def test_nobody_s_hash_is_of_no_value(self, value: str | bytes) -> None:
        """It looks like any other of its cost."""
        stored = cheap.of_nobody()
        assert is_hash(stored)
        assert not cheap.verify(value, stored)

    def test_the_usual_cost_is_12(self) -> None:
        """Unless told otherwise a hash takes 2^12 rounds."""
        assert BcryptHasher().hash("value").startswith("$2b$12$")


@pytest.mark.parametrize("stored", ["", "secret", "$2b$04$short", "sha3-512:", "hmac-sha3-512:" + "A" * 86, None, 3])
def test_values_are_told_from_hashes(stored: object) -> None:
    """By their form."""
    assert not is_hash(stored)
    for hasher in (cheap, Sha3Hasher(), Sha3Hasher(PEPPER)):
        assert is_hash(hasher.hash(str(stored)))
    assert is_hash(cheap.hash("x" * 80))


class TestSha3:
    """Hashes that documents can be found by."""

    def test_without_a_pepper_it_is_plain_sha3(self) -> None:
        """The stored text is the standard's digest of the UTF-8 bytes."""
        assert Sha3Hasher().hash("ü") == "sha3-512:" + b64_encode(hashlib.sha3_512("ü".encode()).digest())

    @settings(deadline=None)
    @given(value=VALUES, other=VALUES)
    def test_a_value_verifies_and_another_does_not(self, value: str | bytes, other: str | bytes) -> None:
        """With and without pepper the same value has the same hash, and another has another."""
        encoded = [each.encode() if isinstance(each, str) else each for each in (value, other)]
        for hasher in (Sha3Hasher(), Sha3Hasher(PEPPER)):
            stored = hasher.hash(value)
            assert hasher.hash(value) == stored
            assert hasher.verify(value, stored)
            assert hasher.verify(other, stored) is (encoded[0] == encoded[1])
            assert not hasher.needs_rehash(stored)

    def test_a_pepper_makes_another_hash(self) -> None:
        """Each pepper gives hashes of its own, recognised by its id."""
        hashes = {Sha3Hasher(pepper).hash("value") for pepper in (None, PEPPER, OLDER)}
        assert len({each.rpartition(":")[2] for each in hashes}) == 3
        assert len({each.rpartition(":")[0] for each in hashes}) == 3

    def test_hashes_with_an_older_pepper_are_found_and_due_for_a_rehash(self) -> None:
        """A pepper can be changed: what was stored before verifies, is looked up, and is then replaced."""
        hasher = Sha3Hasher(PEPPER, older=(OLDER, None))
        for before in (Sha3Hasher(OLDER), Sha3Hasher()):
            stored = before.hash("value")
            assert hasher.verify("value", stored)
            assert not hasher.verify("valuf", stored)
            assert stored in hasher.lookups("value")
            assert hasher.needs_rehash(stored)
        assert hasher.lookups("value")[0] == hasher.hash("value")
        assert not Sha3Hasher(PEPPER).verify("value", Sha3Hasher(OLDER).hash("value"))

    @pytest.mark.parametrize("stored", ["", "value", "é", "\ud800", "sha3-512:"])
    def test_what_is_no_hash_does_not_verify(self, stored: str) -> None:
        """Any text can stand in a document."""
        assert not Sha3Hasher().verify("value", stored)
        assert stored == "sha3-512:" or Sha3Hasher().needs_rehash(stored)

    def test_a_pepper_is_long_and_never_shown(self) -> None:
        """Fewer than 16 bytes are refused; its repr holds nothing of it."""
        with pytest.raises(ValueError, match="16 bytes"):
            Sha3Hasher(b"short")
        with pytest.raises(ValueError, match="16 bytes"):
            Sha3Hasher(older=(b"short",))
        assert "pepper" not in repr(Sha3Hasher(PEPPER))
