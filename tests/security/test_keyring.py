"""Our own key ring: the lives of its keys, and its file."""

from __future__ import annotations

import base64
import json
import os
import threading
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from tornado_couch.errors import DecryptionFailed, InvalidSignature, KeySetError, SignatureFault
from tornado_couch.security import Algorithm, KeyRing, KeyState, Purpose, ScryptCost, outer_key
from tornado_couch.security import key_ring as ringkey
from tornado_couch.security.encoding import b64_decode, b64_encode

CHEAP = ScryptCost(n=2**10)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "orchard.keys"


def states(ring: KeyRing) -> list[str]:
    return [key.state.value for key in ring.keys]


class TestLives:
    """Primary, active, inactive, destroyed."""

    def test_a_key_is_promoted_and_demoted_step_by_step(self) -> None:
        """A new key comes in active; promoting it makes the primary key active; demoting goes down to inactive."""
        ring = KeyRing.create()
        (old,) = [key.id for key in ring.keys]
        new = ring.add()
        assert states(ring) == ["primary", "active"]
        assert ring.promote(new) is KeyState.PRIMARY
        assert states(ring) == ["active", "primary"]
        assert ring.demote(old) is KeyState.INACTIVE
        assert ring.promote(old) is KeyState.ACTIVE
        ring.demote(old)
        ring.destroy(old)
        assert states(ring) == ["destroyed", "primary"]

    def test_a_key_reads_until_it_is_destroyed(self) -> None:
        """What a key wrote is read while it is primary, active and inactive; then its key is unknown."""
        ring = KeyRing.create()
        old = ring.keys[0].id
        signature, ciphertext = ring.sign(b"m", context=b"c"), ring.encrypt(b"m", context=b"c")
        (index,) = ring.index(b"m", context=b"c")
        ring.promote(ring.add())
        ring.demote(old)
        ring.verify(b"m", signature, context=b"c")
        assert ring.decrypt(ciphertext, context=b"c") == b"m"
        assert ring.index(b"m", context=b"c")[1] == index
        assert not ring.is_current(signature)
        ring.destroy(old)
        assert len(ring.index(b"m", context=b"c")) == 1
        with pytest.raises(InvalidSignature) as caught:
            ring.verify(b"m", signature, context=b"c")
        assert caught.value.reason is SignatureFault.UNKNOWN_KEY
        with pytest.raises(DecryptionFailed) as failed:
            ring.decrypt(ciphertext, context=b"c")
        assert failed.value.unknown_key

    def test_steps_that_lose_data_or_have_no_meaning_are_refused(self) -> None:
        """Only an inactive key is destroyed, and nothing can be done with a destroyed or a primary key."""
        ring = KeyRing.create()
        (key,) = [each.id for each in ring.keys]
        for attempt in (ring.promote, ring.destroy):
            with pytest.raises(KeySetError, match="primary"):
                attempt(key)
        ring.demote(key)
        with pytest.raises(KeySetError, match="active, not inactive"):
            ring.destroy(key)
        ring.demote(key)
        with pytest.raises(KeySetError, match="inactive"):
            ring.demote(key)
        ring.destroy(key)
        for attempt in (ring.promote, ring.demote, ring.destroy):
            with pytest.raises(KeySetError, match="destroyed"):
                attempt(key)
        with pytest.raises(KeySetError, match="no key 01234567"):
            ring.promote("01234567")

    def test_without_a_primary_key_nothing_is_written(self) -> None:
        """An empty ring and one whose primary key was demoted sign and encrypt nothing."""
        ring = KeyRing.create()
        signature = ring.sign(b"m", context=b"c")
        ring.demote(ring.keys[0].id)
        for attempt in (ring.sign, ring.encrypt, ring.index, KeyRing().sign):
            with pytest.raises(KeySetError, match="no primary key"):
                attempt(b"m", context=b"c")
        ring.verify(b"m", signature, context=b"c")

    def test_a_ring_is_used_for_its_purpose_only(self) -> None:
        """A ring for signing does not encrypt, and one for encryption does not sign."""
        signer, crypter = KeyRing.create(Purpose.SIGN), KeyRing.create(Purpose.ENCRYPT)
        for attempt in (
            lambda: signer.encrypt(b"m", context=b"c"),
            lambda: signer.decrypt("AAAA", context=b"c"),
            lambda: signer.index(b"m", context=b"c"),
            lambda: crypter.sign(b"m", context=b"c"),
            lambda: crypter.verify(b"m", "AAAA", context=b"c"),
            lambda: crypter.add(algorithm=Algorithm.ED25519),
        ):
            with pytest.raises(KeySetError, match="for"):
                attempt()

    def test_key_material_can_be_brought_along(self) -> None:
        """The same material gives the same key in another ring, once in each, and not if it is short."""
        one, other = KeyRing.create(), KeyRing()
        key = one.add(b"material of 16 B")
        assert other.add(b"material of 16 B") == key
        one.promote(key)
        other.verify(b"m", one.sign(b"m", context=b"c"), context=b"c")
        with pytest.raises(KeySetError, match="already"):
            one.add(b"material of 16 B")
        with pytest.raises(KeySetError, match="16 bytes"):
            one.add(b"short")

    def test_the_public_half_of_ed25519_keys_only_verifies(self, path: Path) -> None:
        """A ring of public keys verifies, also from a file, and can neither sign nor be promoted."""
        ring = KeyRing.create(Purpose.SIGN, algorithm=Algorithm.ED25519)
        ring.public().save(path)
        public = KeyRing.load(path)
        public.verify(b"m", ring.sign(b"m", context=b"c"), context=b"c")
        with pytest.raises(InvalidSignature):
            public.verify(b"n", ring.sign(b"m", context=b"c"), context=b"c")
        with pytest.raises(KeySetError, match="no primary key"):
            public.sign(b"m", context=b"c")
        with pytest.raises(KeySetError, match="public half"):
            public.promote(public.keys[0].id)
        with pytest.raises(KeySetError, match="public half"):
            KeyRing.create(Purpose.SIGN).public()

    def test_nothing_shows_a_secret(self, path: Path) -> None:
        """Neither what is listed nor any repr holds the secret that the file holds."""
        ring = KeyRing.create()
        ring.save(path)
        secret = json.loads(path.read_text())["keys"][0]["secret"]
        raw = base64.urlsafe_b64decode(secret + "=")
        shown = f"{ring!r} {ring} {ring.keys} {list(ring._keys.values())}"
        assert secret not in shown
        assert repr(raw)[2:-1] not in shown


class TestWrongBytes:
    """Ciphertexts and signatures of which some byte is wrong: one answer, and the same work before it."""

    def test_a_ciphertext_is_decrypted_once_whichever_byte_is_wrong(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The key's id included: counted, since time varies. Nothing is decrypted in part."""
        ring, calls = KeyRing.create(), 0
        data = b64_decode(ring.encrypt(b"a message of some length", context=b"c"))
        decrypt = ringkey.AESGCM.decrypt

        class Counting:
            def __init__(self, key: bytes) -> None:
                self.inner = AESGCM(key)

            def decrypt(self, *args: bytes) -> bytes:
                nonlocal calls
                calls += 1
                return decrypt(self.inner, *args)

        monkeypatch.setattr(ringkey, "AESGCM", Counting)
        answers = []
        for place in range(1, len(data)):
            wrong = data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]
            with pytest.raises(DecryptionFailed) as found:
                ring.decrypt(b64_encode(wrong), context=b"c")
            answers.append((str(found.value), found.value.unknown_key))
        assert calls == len(data) - 1
        assert set(answers[:4]) == {("no key of this ring made the ciphertext", True)}
        assert set(answers[4:]) == {("the ciphertext cannot be decrypted", False)}

    @pytest.mark.parametrize("algorithm", list(Algorithm))
    def test_a_signature_is_verified_once_whichever_byte_is_wrong(
        self, algorithm: Algorithm, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """As with a ciphertext."""
        ring, calls = KeyRing.create(algorithm=algorithm), 0
        data = b64_decode(ring.sign(b"m", context=b"c"))
        verify = ringkey.RingKey.verify

        def counted(self: ringkey.RingKey, *args: bytes) -> None:
            nonlocal calls
            calls += 1
            verify(self, *args)

        monkeypatch.setattr(ringkey.RingKey, "verify", counted)
        answers = []
        for place in range(1, len(data)):
            wrong = data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]
            with pytest.raises(InvalidSignature) as found:
                ring.verify(b"m", b64_encode(wrong), context=b"c")
            answers.append((str(found.value), found.value.reason))
        assert calls == len(data) - 1
        assert set(answers[:4]) == {("no key of this ring made the signature", SignatureFault.UNKNOWN_KEY)}
        assert set(answers[4:]) == {("the signature does not verify", SignatureFault.ALTERED)}

    def test_what_an_unknown_key_made_is_not_read_by_another(self) -> None:
        """A known key stands in for the work only, even where it made what now bears another id."""
        ring = KeyRing.create()
        data = b64_decode(ring.encrypt(b"m", context=b"c"))
        with pytest.raises(DecryptionFailed) as found:
            ring.decrypt(b64_encode(data[:1] + b"none" + data[5:]), context=b"c")
        assert found.value.unknown_key

    @pytest.mark.parametrize("text", ["", "A", "AgAAAAA", "****", "AgAAAAB=", "\u00e9", "An4V7niav_cwIz_V" * 1000])
    def test_texts_of_any_other_shape_have_the_same_errors(self, text: str) -> None:
        """Too short, too long, or no base64url."""
        ring = KeyRing.create()
        with pytest.raises(DecryptionFailed):
            ring.decrypt(text, context=b"c")
        with pytest.raises(InvalidSignature):
            ring.verify(b"m", text, context=b"c")


class TestFile:
    """The file of a ring."""

    def test_a_saved_ring_is_the_same_ring(self, path: Path) -> None:
        """Keys of every state and algorithm come back, and read what they wrote before."""
        ring = KeyRing.create()
        for _ in range(3):
            ring.add(algorithm=Algorithm.ED25519)
        ids = [key.id for key in ring.keys]
        ring.demote(ids[1])
        ring.demote(ids[2])
        ring.destroy(ids[2])
        ring.save(path)
        again = KeyRing.load(path)
        assert again.keys == ring.keys
        assert again.purpose is ring.purpose
        again.verify(b"m", ring.sign(b"m", context=b"c"), context=b"c")
        assert again.decrypt(ring.encrypt(b"m", context=b"c"), context=b"c") == b"m"

    def test_a_destroyed_secret_is_not_in_the_file(self, path: Path) -> None:
        """Saving after destroying leaves the id and nothing else of the key."""
        ring = KeyRing.create()
        key = ring.add()
        ring.demote(key)
        ring.destroy(key)
        ring.save(path)
        entry = json.loads(path.read_text())["keys"][1]
        assert set(entry) == {"id", "state", "algorithm", "created"}

    def test_the_file_is_private_whatever_the_umask(self, path: Path) -> None:
        """It has mode 0600, also where a file with more rights was there before."""
        path.write_text("{}")
        path.chmod(0o644)
        before = os.umask(0)
        try:
            KeyRing.create().save(path)
        finally:
            os.umask(before)
        assert path.stat().st_mode & 0o777 == 0o600
        assert list(path.parent.iterdir()) == [path]

    @pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o610, 0o644])
    def test_a_file_open_to_others_is_refused(self, path: Path, mode: int) -> None:
        """Group or others may neither read nor write nor execute."""
        KeyRing.create().save(path)
        path.chmod(mode)
        with pytest.raises(KeySetError, match="accessible to group or others"):
            KeyRing.load(path)

    def test_a_missing_file_a_directory_and_a_pipe_are_refused(self, path: Path) -> None:
        """Each has a clear error; a pipe does not make the reader wait."""
        with pytest.raises(KeySetError, match="missing"):
            KeyRing.load(path)
        os.mkfifo(path, 0o600)
        with pytest.raises(KeySetError, match="not a regular file"):
            KeyRing.load(path)
        path.parent.chmod(0o700)
        with pytest.raises(KeySetError, match="regular file"):
            KeyRing.load(path.parent)

    def test_an_unreadable_file_is_refused(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A file that the system does not let us read has a clear error."""

        def denied(*_: object) -> int:
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr(os, "open", denied)
        with pytest.raises(KeySetError, match="cannot be read"):
            KeyRing.load(path)

    def test_a_huge_file_is_refused(self, path: Path) -> None:
        """More than 1 MiB is not read."""
        path.touch(0o600)
        os.truncate(path, 2**30)
        with pytest.raises(KeySetError, match="1 MiB"):
            KeyRing.load(path)

    def test_a_file_that_cannot_be_written_leaves_the_old_one(
        self, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A failure before the new file is whole leaves the old one, and no rest of the new one."""
        ring = KeyRing.create()
        ring.save(path)
        before = path.read_bytes()

        def full(_: int) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(os, "fsync", full)
        ring.add()
        with pytest.raises(KeySetError, match="No space left"):
            ring.save(path)
        assert path.read_bytes() == before
        assert list(path.parent.iterdir()) == [path]

    def test_readers_beside_a_writer_always_find_a_whole_file(self, path: Path) -> None:
        """Loading again and again while another thread saves never fails."""
        ring = KeyRing.create()
        ring.save(path)
        done = threading.Event()

        def write() -> None:
            try:
                for _ in range(50):
                    ring.save(path)
            finally:
                done.set()

        writer = threading.Thread(target=write)
        writer.start()
        loads = 0
        while not done.is_set():
            assert KeyRing.load(path).keys == ring.keys
            loads += 1
        writer.join()
        assert loads > 0

    @pytest.mark.parametrize(
        "change",
        [
            {"format": "another"},
            {"version": 2},
            {"purpose": "spy"},
            {"keys": None},
            {"keys": [1]},
            {"keys": [{"id": "zz"}]},
        ],
    )
    def test_a_damaged_ring_is_refused(self, path: Path, change: dict[str, Any]) -> None:
        """What is no ring of this version has a clear error."""
        KeyRing.create().save(path)
        path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
        with pytest.raises(KeySetError, match=r"damaged|not a key ring"):
            KeyRing.load(path)

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("secret", "AAAA"),
            ("secret", "not base64"),
            ("secret", 5),
            ("id", "00000000"),
            ("id", "00"),
            ("state", "sleeping"),
            ("algorithm", "MD5"),
            ("algorithm", None),
        ],
    )
    def test_a_damaged_key_is_refused(self, path: Path, name: str, value: object) -> None:
        """A key whose secret does not fit its id, or with an unknown state or algorithm, spoils the file."""
        KeyRing.create().save(path)
        document = json.loads(path.read_text())
        document["keys"][0][name] = value
        path.write_text(json.dumps(document))
        with pytest.raises(KeySetError, match="damaged"):
            KeyRing.load(path)

    def test_a_ring_with_two_primary_keys_or_one_key_twice_is_refused(self, path: Path) -> None:
        """No key may be chosen by chance."""
        ring = KeyRing.create()
        ring.add()
        ring.save(path)
        document = json.loads(path.read_text())
        document["keys"][1]["state"] = "primary"
        path.write_text(json.dumps(document))
        with pytest.raises(KeySetError, match="two"):
            KeyRing.load(path)
        document["keys"] = [document["keys"][0]] * 2
        path.write_text(json.dumps(document))
        with pytest.raises(KeySetError, match="two"):
            KeyRing.load(path)

    @pytest.mark.parametrize("text", ["", "[]", "{", "\ud800".encode("utf-8", "surrogatepass"), b"\xff"])
    def test_what_is_no_json_object_is_refused(self, path: Path, text: str | bytes) -> None:
        """The error says so and quotes nothing."""
        path.touch(0o600)
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        with pytest.raises(KeySetError, match="not a JSON object") as caught:
            KeyRing.load(path)
        assert caught.value.__cause__ is None


class TestWrapping:
    """Files that are encrypted themselves."""

    def test_a_passphrase_opens_what_it_wrapped(self, path: Path) -> None:
        """The secrets are not in the file, and the right passphrase brings them back."""
        ring = KeyRing.create()
        ring.save(path, passphrase="käse", cost=CHEAP)
        assert b"secret" not in path.read_bytes()
        assert KeyRing.load(path, passphrase="käse").keys == ring.keys
        assert KeyRing.load(path, passphrase="käse".encode()).keys == ring.keys

    def test_an_outer_key_opens_what_it_wrapped(self, path: Path) -> None:
        """The key of an environment variable brings the secrets back."""
        ring = KeyRing.create()
        key = outer_key("OUTER", {"OUTER": base64.b64encode(bytes(range(32))).decode()})
        ring.save(path, outer=key)
        assert b"secret" not in path.read_bytes()
        assert KeyRing.load(path, outer=key).keys == ring.keys

    @pytest.mark.parametrize("text", [None, "", "AAAA", "!" * 44, "A" * 44, "A" * 42 + "=", "eHh4" * 11])
    def test_an_outer_key_is_32_bytes_in_base64(self, text: str | None) -> None:
        """Anything else in the variable is refused with its name and without its value."""
        with pytest.raises(KeySetError, match="OUTER") as caught:
            outer_key("OUTER", {} if text is None else {"OUTER": text})
        assert not text or text not in str(caught.value)

    @pytest.mark.parametrize("encode", [base64.b64encode, base64.urlsafe_b64encode])
    def test_an_outer_key_is_taken_in_either_alphabet(self, encode: Any) -> None:
        """With or without padding, the same 32 bytes."""
        key = b"\xff\xfb" * 16
        text = encode(key).decode()
        assert outer_key("OUTER", {"OUTER": text}) == outer_key("OUTER", {"OUTER": text.rstrip("=")}) == key

    def test_each_wrong_way_to_open_a_file_is_refused(self, path: Path) -> None:
        """A wrong passphrase or key, one of the wrong kind, none, or one for a file that is not wrapped."""
        ring, key = KeyRing.create(), bytes(32)
        ring.save(path, passphrase="right", cost=CHEAP)
        wrong = [{"passphrase": "wrong"}, {"passphrase": ""}, {"outer": key}, {}, {"passphrase": "right", "outer": key}]
        for given in wrong:
            with pytest.raises(KeySetError):
                KeyRing.load(path, **given)
        ring.save(path, outer=key)
        for given in [{"outer": b"\1" * 32}, {"outer": b"short"}, {"passphrase": "right"}, {}]:
            with pytest.raises(KeySetError):
                KeyRing.load(path, **given)
        ring.save(path)
        for given in [{"passphrase": "right"}, {"outer": key}]:
            with pytest.raises(KeySetError, match="not encrypted"):
                KeyRing.load(path, **given)

    def test_every_changed_bit_of_a_wrapped_file_is_found(self, path: Path) -> None:
        """No flipped bit, blanks aside, gives a ring; each ends in a KeySetError."""
        ring, key = KeyRing.create(), bytes(32)
        ring.save(path, outer=key)
        text = path.read_bytes().strip()
        for i in range(len(text)):
            for bit in range(8):
                path.write_bytes(text[:i] + bytes([text[i] ^ 1 << bit]) + text[i + 1 :])
                with pytest.raises(KeySetError):
                    KeyRing.load(path, outer=key)

    @pytest.mark.parametrize(
        "forged",
        [
            *[{"n": n} for n in (2**30, 2**17 + 1, 1, 1e5, -(2**17), True, "131072")],
            *[{"r": 2**20}, {"r": 0}, {"p": 10**9}, {"n": 2**20, "r": 8}, {"salt": 5}, {"by": "magic"}],
        ],
    )
    def test_a_forged_file_cannot_ask_for_memory_or_time(self, path: Path, forged: dict[str, Any]) -> None:
        """Parameters of scrypt out of bounds are refused before anything is computed."""
        KeyRing.create().save(path, passphrase="p", cost=CHEAP)
        document = json.loads(path.read_text())
        document["wrapping"] |= forged
        path.write_text(json.dumps(document))
        with pytest.raises(KeySetError, match=r"out of range|damaged|encrypted with"):
            KeyRing.load(path, passphrase="p")

    def test_the_usual_cost_is_within_the_bounds(self, path: Path) -> None:
        """What `save` uses unless told otherwise can be read again."""
        ring = KeyRing.create()
        ring.save(path, passphrase="p")
        assert json.loads(path.read_text())["wrapping"]["n"] == 2**17
        assert KeyRing.load(path, passphrase="p").keys == ring.keys
