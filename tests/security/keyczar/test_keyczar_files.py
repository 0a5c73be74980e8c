"""Key sets on disk: made, changed, kept from others, and refused with one clear error where they are not right."""

from __future__ import annotations

import json
import os
import stat
import threading
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from tests.security.keyczar import Sets
from tornado_couch.errors import KeySetError, LegacyAlgorithm, SecurityError
from tornado_couch.security import keyczar
from tornado_couch.security.keyczar import keyczart
from tornado_couch.security.keyczar.keyinfo import (
    ACTIVE,
    AES,
    DECRYPT_AND_ENCRYPT,
    INACTIVE,
    PRIMARY,
    RSA_PUB,
    SIGN_AND_VERIFY,
    VERIFY,
    KeyPurpose,
    KeyStatus,
)
from tornado_couch.security.keyczar.keys import generate_key
from tornado_couch.security.keyczar.symmetric import HmacKey

SECRET = "we9JyDt-ub0J_QQ3vKwp-EfD9XoBCv3N1g9vN88RXxY"  # a key of the test vectors


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def statuses(path: Path) -> dict[int, KeyStatus]:
    return {version.number: version.status for version in keyczart.read_metadata(path).versions}


@pytest.fixture
def hmac_set(tmp_path: Path) -> Path:
    """A set of three versions: active, active, primary."""
    path = tmp_path / "keys" / "hmac"
    keyczart.create(path, "für Früchte", SIGN_AND_VERIFY)
    for _ in range(3):
        keyczart.add_key(path, PRIMARY)
    return path


# --- making and changing ----------------------------------------------------------------------------------------------


def test_a_new_key_set_is_closed_to_others(hmac_set: Path) -> None:
    """Directory 0700, each file 0600, whatever the umask, and nothing left over beside them."""
    before = os.umask(0)
    try:
        keyczart.create(hmac_set.parent / "open", "n", SIGN_AND_VERIFY)
        keyczart.add_key(hmac_set.parent / "open", PRIMARY)
    finally:
        os.umask(before)
    for path in (hmac_set, hmac_set.parent / "open"):
        assert mode(path) == 0o700
        assert {mode(file) for file in path.iterdir()} == {0o600}
    assert sorted(file.name for file in hmac_set.iterdir()) == ["1", "2", "3", "meta"]


@pytest.mark.parametrize(
    ("purpose", "asymmetric", "type_name"),
    [
        (SIGN_AND_VERIFY, None, "HMAC_SHA1"),
        (SIGN_AND_VERIFY, "rsa", "RSA_PRIV"),
        (SIGN_AND_VERIFY, "DSA", "DSA_PRIV"),
        (DECRYPT_AND_ENCRYPT, None, "AES"),
        (DECRYPT_AND_ENCRYPT, "rsa", "RSA_PRIV"),
    ],
)
def test_purpose_and_asymmetry_choose_the_type(
    tmp_path: Path, purpose: KeyPurpose, asymmetric: str | None, type_name: str
) -> None:
    """As with keyczart's flags."""
    keyczart.create(tmp_path / "k", "n", purpose, asymmetric)
    assert json.loads((tmp_path / "k" / "meta").read_text()) == {
        "name": "n",
        "purpose": purpose.value,
        "type": type_name,
        "encrypted": False,
        "versions": [],
    }


@pytest.mark.parametrize(
    ("purpose", "asymmetric"), [(VERIFY, None), (DECRYPT_AND_ENCRYPT, "dsa"), (SIGN_AND_VERIFY, "ecdsa")]
)
def test_no_set_is_made_for_what_there_are_no_keys_for(
    tmp_path: Path, purpose: KeyPurpose, asymmetric: str | None
) -> None:
    """And no directory is left behind."""
    with pytest.raises(KeySetError, match=r"keys cannot be used for"):
        keyczart.create(tmp_path / "k", "n", purpose, asymmetric)
    assert not (tmp_path / "k").exists()


def test_no_key_set_is_overwritten(hmac_set: Path) -> None:
    """Neither by a new one nor by exported public keys."""
    before = {file.name: file.read_bytes() for file in hmac_set.iterdir()}
    with pytest.raises(KeySetError, match="already"):
        keyczart.create(hmac_set, "n", SIGN_AND_VERIFY)
    keyczart.create(hmac_set.parent / "rsa", "n", SIGN_AND_VERIFY, "rsa")
    with pytest.raises(KeySetError, match="already"):
        keyczart.export_public(hmac_set.parent / "rsa", hmac_set)
    assert {file.name: file.read_bytes() for file in hmac_set.iterdir()} == before


def test_a_new_primary_version_makes_the_last_one_active(hmac_set: Path) -> None:
    """There is one primary version at most; an active one changes no other."""
    assert statuses(hmac_set) == {1: ACTIVE, 2: ACTIVE, 3: PRIMARY}
    assert keyczart.add_key(hmac_set).number == 4
    assert statuses(hmac_set) == {1: ACTIVE, 2: ACTIVE, 3: PRIMARY, 4: ACTIVE}


def test_promotion_and_demotion_go_one_step(hmac_set: Path) -> None:
    """Inactive, active, primary and back; promotion to primary makes the primary version active."""
    assert keyczart.demote(hmac_set, 1).version(1).status is INACTIVE
    assert keyczart.promote(hmac_set, 1).version(1).status is ACTIVE
    keyczart.promote(hmac_set, 1)
    assert statuses(hmac_set) == {1: PRIMARY, 2: ACTIVE, 3: ACTIVE}
    keyczart.demote(hmac_set, 1)
    assert statuses(hmac_set) == {1: ACTIVE, 2: ACTIVE, 3: ACTIVE}


@pytest.mark.parametrize(
    ("change", "version", "reason"),
    [
        (keyczart.promote, 3, "cannot be promoted"),
        (keyczart.promote, 9, "no version 9"),
        (keyczart.demote, 9, "no version 9"),
        (keyczart.revoke, 9, "no version 9"),
        (keyczart.revoke, 1, "not inactive"),
        (keyczart.revoke, 3, "not inactive"),
    ],
)
def test_what_makes_no_sense_is_refused(
    hmac_set: Path, change: Callable[[Path, int], object], version: int, reason: str
) -> None:
    """And the set stays as it is."""
    before = (hmac_set / "meta").read_bytes()
    with pytest.raises(KeySetError, match=reason):
        change(hmac_set, version)
    assert (hmac_set / "meta").read_bytes() == before


def test_an_inactive_version_can_be_revoked_but_not_demoted(hmac_set: Path) -> None:
    """Revoking removes the key's file, and what it signed verifies no more."""
    signature = keyczar.Signer.Read(hmac_set, allow_legacy=True).Sign("m")
    keyczart.promote(hmac_set, 1)
    keyczart.demote(hmac_set, 3)
    assert keyczar.Verifier.Read(hmac_set).Verify("m", signature)
    with pytest.raises(KeySetError, match="only revoked"):
        keyczart.demote(hmac_set, 3)
    keyczart.revoke(hmac_set, 3)
    assert sorted(file.name for file in hmac_set.iterdir()) == ["1", "2", "meta"]
    assert not keyczar.Verifier.Read(hmac_set).Verify("m", signature)


def test_a_new_key_has_a_hash_of_its_own(hmac_set: Path) -> None:
    """Keys are made until one has a hash that is not in the set, so that outputs name one key."""
    taken = keyczar.Verifier.Read(hmac_set).key(1)
    fresh = HmacKey(b"f" * 32)
    with mock.patch.object(keyczart, "generate_key", side_effect=[taken, taken, fresh]):
        keyczart.add_key(hmac_set)
    assert keyczar.Verifier.Read(hmac_set).key(4).hash == fresh.hash


@pytest.mark.parametrize("size", [128, 192, 256, None])
def test_aes_keys_come_in_three_sizes(tmp_path: Path, size: int | None) -> None:
    """128 bits unless another is asked for; keys of several sizes live in one set."""
    keyczart.create(tmp_path, "n", DECRYPT_AND_ENCRYPT)
    keyczart.add_key(tmp_path, PRIMARY, size=size)
    crypter = keyczar.Crypter.Read(tmp_path, allow_legacy=True)
    assert crypter.key(1).size == (size or 128)
    assert crypter.Decrypt(crypter.Encrypt("m")) == b"m"


def test_keys_of_other_sizes_and_public_types_are_not_made(hmac_set: Path) -> None:
    """And nothing is added to the set."""
    with pytest.raises(KeySetError, match="cannot have 512 bits"):
        keyczart.add_key(hmac_set, size=512)
    with pytest.raises(KeySetError, match="export it from"):
        generate_key(RSA_PUB)
    assert len(statuses(hmac_set)) == 3


def test_public_keys_are_exported(new_sets: Sets) -> None:
    """Versions and statuses as in the private set; no private number in the files."""
    for name, purpose in (("rsa-sign", "VERIFY"), ("dsa-sign", "VERIFY"), ("rsa-crypt", "ENCRYPT")):
        path = new_sets.path(f"{name}-public")
        assert statuses(path) == statuses(new_sets.path(name))
        assert keyczart.read_metadata(path).purpose.value == purpose
        public = set(json.loads((path / "1").read_text()))
        assert public in ({"modulus", "publicExponent", "size"}, {"p", "q", "g", "y", "size"})
    with pytest.raises(KeySetError, match="no public half"):
        keyczart.export_public(new_sets.path("hmac"), new_sets.path("nothing"))


def test_an_encrypted_key_set_can_be_changed_and_exported(new_sets: Sets, tmp_path: Path) -> None:
    """Its keys are in no file in clear; statuses change without the other set, keys are added with it only."""
    crypter, path = new_sets.crypter("aes"), tmp_path / "rsa"
    keyczart.create(path, "n", SIGN_AND_VERIFY, "rsa")
    keyczart.add_key(path, PRIMARY, crypter)
    keyczart.add_key(path, ACTIVE, crypter)
    assert keyczart.read_metadata(path).encrypted
    assert not (path / "1").read_text().startswith("{")
    with pytest.raises(KeySetError, match="encrypted as a whole"):
        keyczart.add_key(path)
    keyczart.promote(path, 2)
    keyczart.export_public(path, tmp_path / "public", crypter)
    signature = keyczar.Signer.Read(path, allow_legacy=True, crypter=crypter).Sign("m")
    assert keyczar.Verifier.Read(tmp_path / "public").Verify("m", signature)
    with pytest.raises(LegacyAlgorithm):
        keyczart.add_key(path, ACTIVE, keyczar.Crypter.Read(new_sets.path("aes")))
    assert len(statuses(path)) == 2


def test_a_set_in_clear_is_not_continued_encrypted(hmac_set: Path, new_sets: Sets) -> None:
    """A set is encrypted as a whole or not at all."""
    with pytest.raises(KeySetError, match="encrypted as a whole"):
        keyczart.add_key(hmac_set, ACTIVE, new_sets.crypter("aes"))


def test_keyczart_s_own_names_work(tmp_path: Path) -> None:
    """Scripts that called keyczart's functions go on doing so."""
    for name in ("rsa", "public"):
        (tmp_path / name).mkdir(mode=0o700)
    path = str(tmp_path / "rsa")
    keyczart.Create(path, "n", SIGN_AND_VERIFY, "rsa")
    keyczart.AddKey(path, PRIMARY)
    keyczart.AddKey(path, ACTIVE)
    keyczart.Promote(path, 2)
    keyczart.Demote(path, 1)
    keyczart.Revoke(path, 1)
    keyczart.PubKey(path, str(tmp_path / "public"))
    assert statuses(tmp_path / "public") == {2: PRIMARY}


def test_a_write_that_fails_changes_nothing(hmac_set: Path) -> None:
    """The old file stays whole, and nothing lies beside it."""
    before = {file.name: file.read_bytes() for file in hmac_set.iterdir()}
    with mock.patch.object(os, "fsync", side_effect=OSError(28, "No space left on device")):
        for change in (keyczart.add_key, lambda path: keyczart.promote(path, 1)):
            with pytest.raises(KeySetError, match="cannot be written: No space left"):
                change(hmac_set)
    assert {file.name: file.read_bytes() for file in hmac_set.iterdir()} == before


def test_a_key_is_there_before_meta_names_it(hmac_set: Path) -> None:
    """Broken off between the two, adding leaves a set that can be read and added to."""
    with (
        mock.patch.object(keyczar.writers.FileWriter, "write_metadata", side_effect=KeyboardInterrupt),
        pytest.raises(KeyboardInterrupt),
    ):
        keyczart.add_key(hmac_set)
    assert (hmac_set / "4").exists()
    assert len(keyczar.Verifier.Read(hmac_set).versions) == 3
    assert keyczart.add_key(hmac_set).number == 4


def test_meta_names_a_revoked_key_no_more_before_it_is_removed(hmac_set: Path) -> None:
    """Broken off between the two, revoking leaves a set that can be read."""
    keyczart.demote(hmac_set, 1)
    with (
        mock.patch.object(keyczar.writers.FileWriter, "remove", side_effect=KeyboardInterrupt),
        pytest.raises(KeyboardInterrupt),
    ):
        keyczart.revoke(hmac_set, 1)
    assert set(statuses(hmac_set)) == {2, 3}
    assert len(keyczar.Verifier.Read(hmac_set).versions) == 2


def test_changes_at_the_same_time_are_all_made(hmac_set: Path) -> None:
    """Eight threads add a key each while others read: eight versions more, and no reader sees half a set."""
    problems: list[BaseException] = []

    def run(what: Callable[[], object]) -> None:
        try:
            what()
        except BaseException as error:  # noqa: BLE001 - a thread's exceptions are shown by the test
            problems.append(error)

    adds = [threading.Thread(target=run, args=(lambda: keyczart.add_key(hmac_set),)) for _ in range(8)]
    reads = [threading.Thread(target=run, args=(lambda: keyczar.Verifier.Read(hmac_set),)) for _ in range(8)]
    for thread in [*adds, *reads]:
        thread.start()
    for thread in [*adds, *reads]:
        thread.join()
    assert problems == []
    assert set(statuses(hmac_set)) == set(range(1, 12))


# --- refusals ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "file", "bits", "reason"),
    [
        ("hmac", "1", 0o644, "can be read by others"),
        ("hmac", "2", 0o604, "can be read by others"),
        ("aes", "1", 0o602, "can be changed by others"),
        ("aes", "1", 0o660, "can be changed by others"),
        ("hmac-encrypted", "1", 0o644, "can be read by others"),
        ("rsa-sign-public", "1", 0o646, "can be changed by others"),
        ("hmac", "meta", 0o666, "can be changed by others"),
        ("hmac", "", 0o777, "can be changed by others"),
    ],
)
def test_what_is_open_to_others_is_refused(own_sets: Sets, name: str, file: str, bits: int, reason: str) -> None:
    """The error names the file and what to do. Mode bits are looked at, so that root is told as well."""
    path = own_sets.path(name) / file
    path.chmod(bits)
    with pytest.raises(KeySetError, match=f"{path} {reason}.*chmod"):
        own_sets.verifier(name) if name != "aes" else own_sets.crypter(name)


@pytest.mark.parametrize(
    ("name", "file", "bits"), [("hmac", "1", 0o640), ("hmac", "meta", 0o644), ("rsa-sign-public", "1", 0o644)]
)
def test_what_need_not_be_secret_may_be_read(own_sets: Sets, name: str, file: str, bits: int) -> None:
    """A service's group may read keys; everyone may read meta and public keys."""
    (own_sets.path(name) / file).chmod(bits)
    own_sets.verifier(name)


@pytest.mark.parametrize("file", ["", "meta", "1"])
def test_what_is_missing_is_named(own_sets: Sets, file: str) -> None:
    """The directory, meta, or a key: one error with its path and the system's reason."""
    path = own_sets.path("hmac") / file
    path.rename(path.with_name("elsewhere"))
    with pytest.raises(KeySetError, match=f"{path}.* cannot be read: No such file"):
        own_sets.verifier("hmac")


@pytest.mark.skipif(os.geteuid() == 0, reason="root is denied nothing: run the tests as another user")
def test_what_may_not_be_read_is_named(own_sets: Sets) -> None:
    """With the system's reason."""
    path = own_sets.path("hmac") / "1"
    path.chmod(0)
    with pytest.raises(KeySetError, match=f"{path} cannot be read: Permission denied"):
        own_sets.verifier("hmac")


def test_what_the_system_refuses_to_open_is_named(own_sets: Sets) -> None:
    """The same for root, who is denied nothing."""
    with (
        mock.patch.object(os, "open", side_effect=PermissionError(13, "Permission denied")),
        pytest.raises(KeySetError, match="meta cannot be read: Permission denied"),
    ):
        own_sets.verifier("hmac")


def test_what_is_no_file_is_refused(own_sets: Sets, tmp_path: Path) -> None:
    """A directory, a named pipe (without waiting for a writer), a file in a directory's place, one too large."""
    path = own_sets.path("hmac") / "1"
    path.unlink()
    os.mkfifo(path, 0o600)
    with pytest.raises(KeySetError, match="not a regular file"):
        own_sets.verifier("hmac")
    path.unlink()
    path.mkdir()
    with pytest.raises(KeySetError, match=r"not a regular file|Is a directory"):
        own_sets.verifier("hmac")
    path.rmdir()
    path.touch(0o600)
    os.truncate(path, 1 << 21)
    with pytest.raises(KeySetError, match="too large"):
        own_sets.verifier("hmac")
    with pytest.raises(KeySetError, match="not a directory"):
        keyczar.Verifier.Read(own_sets.path("hmac") / "meta")


def test_nothing_is_managed_where_there_is_no_key_set(tmp_path: Path) -> None:
    """One error each."""
    for call in (keyczart.add_key, lambda path: keyczart.promote(path, 1), keyczart.read_metadata):
        with pytest.raises(KeySetError, match="No such file"):
            call(tmp_path / "nothing")
    with pytest.raises(KeySetError, match="meta cannot be read: No such file"):
        keyczart.add_key(tmp_path)


META: dict[str, Any] = {
    "name": "n",
    "purpose": "SIGN_AND_VERIFY",
    "type": "HMAC_SHA1",
    "encrypted": False,
    "versions": [{"versionNumber": 1, "status": "PRIMARY", "exportable": False}],
}
VERSION = META["versions"][0]


@pytest.mark.parametrize(
    ("meta", "reason"),
    [
        ("", "not a JSON object"),
        ("[]", "not a JSON object"),
        ('{"name": NaN}', "not a JSON object"),
        ({**META, "name": 5}, "name is not a string"),
        ({**META, "purpose": "TEST"}, "purpose is not one of DECRYPT_AND_ENCRYPT"),
        ({**META, "purpose": "DECRYPT_AND_ENCRYPT"}, "HMAC_SHA1 cannot be used for DECRYPT_AND_ENCRYPT"),
        ({**META, "type": "ROT13"}, "type is not one of AES"),
        ({**META, "encrypted": "no"}, "encrypted is not true or false"),
        ({**META, "versions": {}}, "versions is not an array"),
        ({**META, "versions": [1]}, "a version in it is not an object"),
        ({**META, "versions": [VERSION, VERSION]}, "same number"),
        ({**META, "versions": [VERSION, {**VERSION, "versionNumber": 2}]}, "more than one .* primary"),
        ({**META, "versions": [{**VERSION, "versionNumber": "../1"}]}, "versionNumber is not a whole number"),
        ({**META, "versions": [{**VERSION, "versionNumber": True}]}, "versionNumber is not a whole number"),
        ({**META, "versions": [{**VERSION, "versionNumber": 0}]}, "versionNumber is not greater than 0"),
        ({**META, "versions": [{**VERSION, "status": "REVOKED"}]}, "status is not one of PRIMARY"),
    ],
)
def test_a_malformed_meta_is_refused(own_sets: Sets, meta: str | dict[str, Any], reason: str) -> None:
    """The error names the set and the member that is wrong."""
    path = own_sets.path("hmac")
    (path / "meta").write_text(meta if isinstance(meta, str) else json.dumps(meta))
    with pytest.raises(KeySetError, match=rf"{path} is not valid: .*{reason}"):
        own_sets.verifier("hmac")


def test_a_meta_of_older_sets_and_of_cpp_is_read(own_sets: Sets) -> None:
    """Members that were not there yet are false; others are no concern."""
    path = own_sets.path("hmac")
    old = {name: value for name, value in META.items() if name != "encrypted"}
    versions = [{"versionNumber": 1, "status": "PRIMARY"}]
    (path / "meta").write_text(json.dumps({**old, "versions": versions, "nextKeyVersionNumber": 2}))
    assert statuses(path) == {1: PRIMARY}


def altered(path: Path, **members: Any) -> None:
    """A key file with some members replaced; dotted names reach inside; None removes."""
    value = json.loads(path.read_text())
    for name, new in members.items():
        *outer, last = name.split("__")
        inner = value
        for each in outer:
            inner = inner[each]
        inner[last] = new
        if new is None:
            del inner[last]
    path.write_text(json.dumps(value))


@pytest.mark.parametrize(
    ("name", "members", "reason"),
    [
        ("hmac", {"hmacKeyString": None}, "hmacKeyString is not a string"),
        ("hmac", {"hmacKeyString": SECRET + "="}, "hmacKeyString is not bytes in base64url"),
        ("hmac", {"hmacKeyString": SECRET + "é"}, "hmacKeyString is not bytes in base64url"),
        ("hmac", {"hmacKeyString": SECRET[:-4]}, "hmacKeyString does not have the size that the file says"),
        ("hmac", {"hmacKeyString": "AAAA", "size": 24}, "shorter than 128 bits"),
        ("hmac", {"size": "256"}, "size is not a whole number"),
        ("aes", {"mode": "CTR"}, "mode is not CBC"),
        ("aes", {"aesKeyString": SECRET}, "aesKeyString does not have the size that the file says"),
        ("aes", {"aesKeyString": "AAAAAAAAAAA", "size": 64}, "is not one of"),
        ("aes", {"hmacKey": SECRET}, "hmacKey is not an object"),
        ("rsa-crypt", {"publicKey__modulus": 5}, "modulus is not a string"),
        ("rsa-crypt", {"publicKey__modulus": "AAEC"}, "not form an RSA public key"),
        ("rsa-crypt", {"publicKey__padding": "PKCS"}, "padding is not OAEP"),
        ("rsa-crypt", {"primeP": "AAEAAQ"}, "not form an RSA private key"),
        ("rsa-sign", {"privateExponent": "AAEAAQ"}, "not form an RSA private key"),
        ("dsa-sign", {"publicKey__p": "AAEAAQ"}, "not form a DSA public key"),
        ("dsa-sign", {"x": "AAEAAQ"}, "not form a DSA private key"),
    ],
)
def test_a_malformed_key_file_is_refused(own_sets: Sets, name: str, members: dict[str, Any], reason: str) -> None:
    """The error names version, set and member, and holds nothing of the key."""
    path = own_sets.path(name)
    altered(path / "1", **members)
    with pytest.raises(KeySetError, match=rf"version 1 of the key set '{name}' .*{reason}"):
        keyczar.Keyczar.Read(path)


@pytest.mark.parametrize("text", [b"", b"{", SECRET.encode(), b'{"hmacKeyString": "' + SECRET.encode() + b'"', b"\xff"])
def test_no_error_holds_anything_of_a_key_file(own_sets: Sets, text: bytes) -> None:
    """Neither its message nor an exception that it was raised from or during: those go into logs, too."""
    (own_sets.path("hmac") / "1").write_bytes(text)
    with pytest.raises(KeySetError, match=r"version 1 |key file .*1 is not UTF-8") as caught:
        own_sets.verifier("hmac")
    error: BaseException | None = caught.value
    assert SECRET not in "".join(traceback.format_exception(caught.value))
    while error is not None:
        assert not any(hasattr(error, name) for name in ("doc", "object"))
        assert not text or text not in b"".join(str(each).encode() for each in error.args)
        error = error.__context__


@pytest.mark.parametrize("name", ["hmac", "aes", "rsa-sign", "rsa-crypt", "dsa-sign"])
def test_no_repr_shows_a_secret(sets: Sets, name: str) -> None:
    """Of a key, a set, a reader or a session: type, size and hash, which every output shows, and no more."""
    keyset = keyczar.Keyczar.Read(sets.path(name))
    key = keyset.key(1)
    shown = f"{key!r} {key} {keyset!r} {keyset} {keyczar.readers.FileReader(sets.path(name))!r}"
    file = json.loads((sets.path(name) / "1").read_text())
    values = [*file.values(), *file.get("hmacKey", {}).values()]
    texts = [each for each in values if isinstance(each, str) and len(each) > 10]
    assert texts
    assert not any(text in shown for text in texts)
    assert key.hash.hex() in shown


def test_every_refusal_is_of_one_tree() -> None:
    """One `except` catches them, under python-keyczar's name as well."""
    assert keyczar.KeyczarError is SecurityError
    assert issubclass(KeySetError, keyczar.KeyczarError)


def test_keys_written_here_say_what_the_original_s_say(sets: Sets, new_sets: Sets) -> None:
    """The same members in each type of key file, numbers after a zero byte as Java wants them."""

    def shape(value: Any) -> Any:
        return {name: shape(inner) for name, inner in value.items()} if isinstance(value, dict) else type(value)

    for name in ("hmac", "aes", "rsa-sign", "rsa-crypt", "dsa-sign", "rsa-sign-public", "dsa-sign-public"):
        theirs, ours = (json.loads((each.path(name) / "1").read_text()) for each in (sets, new_sets))
        assert shape(ours) == shape(theirs)
        if "publicKey" in ours:
            assert ours["publicKey"][("modulus" if name.startswith("rsa") else "p")].startswith("A")


def test_the_type_of_keys_is_told_by_meta_alone(own_sets: Sets) -> None:
    """A key file of another type is malformed."""
    (own_sets.path("hmac") / "1").write_bytes((own_sets.path("aes") / "1").read_bytes())
    with pytest.raises(KeySetError, match="hmacKeyString"):
        own_sets.verifier("hmac")
    assert keyczart.read_metadata(own_sets.path("aes")).type is AES
