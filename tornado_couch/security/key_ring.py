"""Our own key ring: a file of keys, of which one writes and all read.

Each operation has a subkey of its own (HKDF-SHA256, RFC 5869, with the operation's name), so that no output of one
can pass for another's. Every output begins with 0x02 and the key's id, which are authenticated with the rest.

Encryption is AES-256-GCM with a random nonce of 96 bits. Such a key is good for 2^32 messages (NIST SP 800-38D
§8.3); here each context (a property of a document) has an AES key of its own, derived from the operation's, so the
bound is on how often one property of one document is written.

A key comes in active, so that every instance of a service can have it before any writes with it; `promote` makes
it primary. A key on its way out is demoted to active, then to inactive, and destroyed when nothing of it is left.

    ring = KeyRing.create()
    ring.save("orchard.keys")
    ring = KeyRing.load("orchard.keys")
"""

from __future__ import annotations

import hmac
import os
import secrets
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from functools import cached_property
from typing import Any

from cryptography.exceptions import InvalidSignature as BadSignature
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from .. import _json
from ..errors import DecryptionFailed, InvalidSignature, KeySetError, SignatureFault
from .encoding import b64_decode, b64_encode
from .key_file import ScryptCost, read_private, unwrap, wrap, write_private

__all__ = ["HEADER_SIZE", "VERSION", "Algorithm", "KeyInfo", "KeyRing", "KeyState", "Purpose", "RingKey", "normalised"]

VERSION = b"\x02"
HEADER_SIZE = 5
_NONCE = 12
_TAG = 16


class KeyState(StrEnum):
    """What a key is used for; the names and meanings are Keyczar's."""

    PRIMARY = "primary"
    """Writes and reads; at most one key of a ring."""
    ACTIVE = "active"
    """Reads."""
    INACTIVE = "inactive"
    """Reads, and may be destroyed: do so when nothing is left that it made."""
    DESTROYED = "destroyed"
    """Does nothing: only its id is left, so that what it made is recognised."""


class Algorithm(StrEnum):
    """How a key signs."""

    HMAC_SHA256 = "HMAC-SHA256"
    ED25519 = "Ed25519"


def derived(secret: bytes, label: str, length: int = 32) -> bytes:
    """A subkey of a secret, for one use."""
    info = b"tornado_couch key ring 2: " + label.encode("ascii")
    return HKDF(algorithm=SHA256(), length=length, salt=None, info=info).derive(secret)


def normalised(material: bytes) -> bytes:
    """The 32 bytes that stand for key material from elsewhere.

    Raises:
        KeySetError: there are fewer than 16 bytes, which is less than any key has.
    """
    if len(material) < 16:
        raise KeySetError("key material has at least 16 bytes")
    return derived(material, "import")


@dataclass(frozen=True, repr=False)
class RingKey:
    """A key.

    Attributes:
        id: four bytes that follow from the secret, so that they are the same wherever it is imported.
        state: what it is used for.
        algorithm: how it signs.
        created: when, `YYYY-MM-DDTHH:MM:SS+00:00`.
        secret: 32 bytes; None where it is destroyed, or only the public half is known.
        public: 32 bytes, for Ed25519.
    """

    id: bytes
    state: KeyState
    algorithm: Algorithm
    created: str
    secret: bytes | None = None
    public: bytes | None = None

    @classmethod
    def of(cls, secret: bytes, state: KeyState, algorithm: Algorithm, created: str) -> RingKey:
        """The key with this secret."""
        public = None
        if algorithm is Algorithm.ED25519:
            public = _ed25519(secret).public_key().public_bytes_raw()
        return cls(derived(secret, "id", 4), state, algorithm, created, secret, public)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.id.hex()}, {self.state.value}, {self.algorithm.value})"

    @property
    def header(self) -> bytes:
        """What each of its outputs begins with."""
        return VERSION + self.id

    def sign(self, message: bytes, context: bytes) -> bytes:
        """The signature, header included."""
        data = self._framed(message, context)
        if self.algorithm is Algorithm.ED25519:
            return self.header + self._private_key.sign(data)
        return self.header + hmac.digest(self._sign_key, data, "sha256")

    def verify(self, message: bytes, signature: bytes, context: bytes) -> None:
        """Raise InvalidSignature unless `sign` made this signature."""
        if self.algorithm is Algorithm.ED25519:
            self._verify_ed25519(message, signature, context)
        elif not hmac.compare_digest(self.sign(message, context), signature):
            raise InvalidSignature("the signature does not verify")

    def encrypt(self, plaintext: bytes, context: bytes) -> bytes:
        """The ciphertext: header, nonce, encrypted bytes and tag."""
        nonce = os.urandom(_NONCE)
        return self.header + nonce + self._aes(context).encrypt(nonce, plaintext, self.header + context)

    def decrypt(self, ciphertext: bytes, context: bytes) -> bytes:
        """The plaintext of what `encrypt` made; else DecryptionFailed, the same for every wrong byte."""
        nonce, sealed = ciphertext[HEADER_SIZE : HEADER_SIZE + _NONCE], ciphertext[HEADER_SIZE + _NONCE :]
        try:
            if len(sealed) >= _TAG:
                return self._aes(context).decrypt(nonce, sealed, self.header + context)
        except InvalidTag:
            pass
        raise DecryptionFailed("the ciphertext does not decrypt")

    def index(self, message: bytes, context: bytes) -> bytes:
        """The blind index, header included."""
        return self.header + hmac.digest(self._index_key, self._framed(message, context), "sha256")

    def _framed(self, message: bytes, context: bytes) -> bytes:
        return self.header + len(context).to_bytes(4, "big") + context + message

    def _aes(self, context: bytes) -> AESGCM:
        return AESGCM(hmac.digest(self._encrypt_key, context, "sha256"))

    def _verify_ed25519(self, message: bytes, signature: bytes, context: bytes) -> None:
        try:
            self._public_key.verify(signature[HEADER_SIZE:], self._framed(message, context))
        except BadSignature:
            raise InvalidSignature("the signature does not verify") from None

    @property
    def _known_secret(self) -> bytes:
        if self.secret is None:
            raise KeySetError(f"the secret of key {self.id.hex()} is not in this key ring")
        return self.secret

    @cached_property
    def _private_key(self) -> Ed25519PrivateKey:
        return _ed25519(self._known_secret)

    @cached_property
    def _public_key(self) -> Ed25519PublicKey:
        return Ed25519PublicKey.from_public_bytes(self.public or b"")

    @cached_property
    def _sign_key(self) -> bytes:
        return derived(self._known_secret, "sign")

    @cached_property
    def _encrypt_key(self) -> bytes:
        return derived(self._known_secret, "encrypt")

    @cached_property
    def _index_key(self) -> bytes:
        return derived(self._known_secret, "index")


def _ed25519(secret: bytes) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(derived(secret, "sign Ed25519"))


_FORMAT = "tornado_couch key ring"


class Purpose(StrEnum):
    """What the keys of a ring may be used for."""

    SIGN = "sign"
    ENCRYPT = "encrypt"
    """Encryption and blind indexes."""
    PROTECT = "protect"
    """All of it."""


@dataclass(frozen=True)
class KeyInfo:
    """What can be shown of a key.

    Attributes:
        id: eight hexadecimal digits.
        state: primary, active, inactive or destroyed.
        algorithm: how it signs.
        created: when, `YYYY-MM-DDTHH:MM:SS+00:00`.
    """

    id: str
    state: KeyState
    algorithm: Algorithm
    created: str


class KeyRing:
    """Keys of one purpose: `Keys` for the rest of the package."""

    def __init__(self, purpose: Purpose = Purpose.PROTECT) -> None:
        """An empty ring; `KeyRing.create` makes one with a key, `KeyRing.load` reads one."""
        self.purpose = purpose
        self._keys: dict[bytes, RingKey] = {}

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.purpose.value}, {len(self._keys)} keys)"

    @classmethod
    def create(cls, purpose: Purpose = Purpose.PROTECT, *, algorithm: Algorithm = Algorithm.HMAC_SHA256) -> KeyRing:
        """A new ring with a primary key."""
        ring = cls(purpose)
        ring.promote(ring.add(algorithm=algorithm))
        return ring

    # Keys

    @property
    def keys(self) -> list[KeyInfo]:
        """What can be shown of each key, destroyed ones included, in the order that they came in."""
        return [KeyInfo(key.id.hex(), key.state, key.algorithm, key.created) for key in self._keys.values()]

    def add(self, material: bytes | None = None, *, algorithm: Algorithm = Algorithm.HMAC_SHA256) -> str:
        """Add an active key.

        Args:
            material: secret bytes from elsewhere, at least 16, to derive the key from. That gives the same key in
                each ring; it does not make the ring read what other software made with those bytes.
            algorithm: how it is to sign.

        Returns:
            the key's id.

        Raises:
            KeySetError: the material is too short, or its key is in the ring, or was.
        """
        if algorithm is Algorithm.ED25519 and self.purpose is Purpose.ENCRYPT:
            raise KeySetError("Ed25519 is for signing, and this key ring for encryption")
        secret = secrets.token_bytes(32) if material is None else normalised(material)
        now = datetime.now(UTC).isoformat(timespec="seconds")
        key = RingKey.of(secret, KeyState.ACTIVE, algorithm, now)
        if key.id in self._keys:
            raise KeySetError(f"key {key.id.hex()} is in the key ring already")
        self._keys[key.id] = key
        return key.id.hex()

    def promote(self, key_id: str) -> KeyState:
        """Raise a key from inactive to active, or from active to primary, which the primary key then leaves.

        Raises:
            KeySetError: there is no such key, or it is primary or destroyed.
        """
        key = self._named(key_id)
        if key.state is KeyState.INACTIVE:
            return self._set(key, KeyState.ACTIVE)
        if key.state is not KeyState.ACTIVE or key.secret is None:
            raise KeySetError(f"key {key_id} cannot be promoted: it is {_standing(key)}")
        for other in list(self._keys.values()):
            if other.state is KeyState.PRIMARY:
                self._set(other, KeyState.ACTIVE)
        return self._set(key, KeyState.PRIMARY)

    def demote(self, key_id: str) -> KeyState:
        """Lower a key from primary to active, or from active to inactive.

        Raises:
            KeySetError: there is no such key, or it is inactive or destroyed.
        """
        key = self._named(key_id)
        lower = {KeyState.PRIMARY: KeyState.ACTIVE, KeyState.ACTIVE: KeyState.INACTIVE}.get(key.state)
        if lower is None:
            raise KeySetError(f"key {key_id} cannot be demoted: it is {key.state.value}")
        return self._set(key, lower)

    def destroy(self, key_id: str) -> None:
        """Erase an inactive key for ever; its id stays.

        Raises:
            KeySetError: there is no such key, or it is not inactive.
        """
        key = self._named(key_id)
        if key.state is not KeyState.INACTIVE:
            raise KeySetError(f"key {key_id} cannot be destroyed: it is {key.state.value}, not inactive")
        self._keys[key.id] = replace(key, state=KeyState.DESTROYED, secret=None, public=None)

    def public(self) -> KeyRing:
        """The ring without its secrets, which can only verify.

        Raises:
            KeySetError: it has keys other than Ed25519, or is not for signing only.
        """
        algorithms = {key.algorithm for key in self._keys.values()}
        if self.purpose is not Purpose.SIGN or algorithms - {Algorithm.ED25519}:
            raise KeySetError("only a ring of Ed25519 keys, for signing only, has a public half")
        ring = KeyRing(self.purpose)
        ring._keys = {
            key.id: replace(key, secret=None, state=KeyState.ACTIVE if key.state is KeyState.PRIMARY else key.state)
            for key in self._keys.values()
        }
        return ring

    # Operations

    def sign(self, message: bytes, *, context: bytes) -> str:
        """Sign with the primary key.

        Raises:
            KeySetError: the ring has no primary key, or is not for signing.
        """
        self._require(Purpose.SIGN)
        return b64_encode(self._primary().sign(message, context))

    def verify(self, message: bytes, signature: str, *, context: bytes) -> None:
        """Verify with the key that the signature names.

        Raises:
            InvalidSignature: that key is not in the ring, or did not make it for this message and context.
            KeySetError: the ring is not for signing.
        """
        self._require(Purpose.SIGN)
        try:
            data = b64_decode(signature)
        except ValueError:
            raise InvalidSignature("the signature is not what a key ring writes") from None
        key, known = self._maker(data)
        try:
            if key is not None:
                key.verify(message, data, context)
        except InvalidSignature:
            if known:
                raise
        if not known:
            raise InvalidSignature("no key of this ring made the signature", SignatureFault.UNKNOWN_KEY)

    def encrypt(self, plaintext: bytes, *, context: bytes) -> str:
        """Encrypt with the primary key.

        Raises:
            KeySetError: the ring has no primary key, or is not for encryption.
        """
        self._require(Purpose.ENCRYPT)
        return b64_encode(self._primary().encrypt(plaintext, context))

    def decrypt(self, ciphertext: str, *, context: bytes) -> bytes:
        """Decrypt with the key that the ciphertext names.

        Raises:
            DecryptionFailed: that key is not in the ring, or did not make it for this context.
            KeySetError: the ring is not for encryption.
        """
        self._require(Purpose.ENCRYPT)
        try:
            data = b64_decode(ciphertext)
        except ValueError:
            raise DecryptionFailed("the ciphertext does not decrypt") from None
        key, known = self._maker(data)
        plaintext = b""
        try:
            if key is not None:
                plaintext = key.decrypt(data, context)
        except DecryptionFailed:
            if known:
                raise
        if not known:
            raise DecryptionFailed("no key of this ring made the ciphertext", unknown_key=True)
        return plaintext

    def index(self, message: bytes, *, context: bytes) -> list[str]:
        """The blind indexes of a message: the primary key's, then those of every other key that reads.

        Raises:
            KeySetError: the ring has no primary key, or is not for encryption.
        """
        self._require(Purpose.ENCRYPT)
        primary = self._primary()
        others = [key for key in self._keys.values() if key.secret is not None and key is not primary]
        return [b64_encode(key.index(message, context)) for key in (primary, *others)]

    def is_current(self, output: str) -> bool:
        """Whether the primary key made an output."""
        try:
            return b64_decode(output)[:HEADER_SIZE] == self._primary().header
        except ValueError:
            return False

    # Files

    def save(
        self,
        path: str | os.PathLike[str],
        *,
        passphrase: str | bytes | None = None,
        outer: bytes | None = None,
        cost: ScryptCost | None = None,
    ) -> None:
        """Write the ring to a file of mode 0600, whole or not at all.

        Args:
            path: the file, in a directory that exists.
            passphrase: wrap the file by scrypt; takes about half a second, so call this in a thread.
            outer: wrap the file by a key of 32 bytes, such as `outer_key` reads from the environment.
            cost: what trying a passphrase is to cost.

        Raises:
            KeySetError: the file cannot be written.
        """
        document = {"format": _FORMAT, "version": 1, "purpose": self.purpose.value, "keys": []}
        document["keys"] = [_entry(key) for key in self._keys.values()]
        contents = _json.dumps(document) + b"\n"
        write_private(path, wrap(contents, passphrase=passphrase, outer=outer, cost=cost))

    @classmethod
    def load(
        cls,
        path: str | os.PathLike[str],
        *,
        passphrase: str | bytes | None = None,
        outer: bytes | None = None,
    ) -> KeyRing:
        """Read a ring from a file; with a passphrase that takes about half a second, so call this in a thread.

        Raises:
            KeySetError: the file is missing, unreadable, open to group or others, no key ring, or wrapped otherwise
                than by what is given.
        """
        document = unwrap(read_private(path), passphrase=passphrase, outer=outer)
        if document.get("format") != _FORMAT or document.get("version") != 1:
            raise KeySetError("the file is no key ring of a version known here")
        try:
            ring = cls(Purpose(document["purpose"]))
            keys = [_read_entry(entry) for entry in document["keys"]]
        except (AttributeError, KeyError, TypeError, ValueError):
            raise KeySetError("the key ring is damaged") from None
        ring._keys = {key.id: key for key in keys}
        if len(ring._keys) < len(keys) or sum(key.state is KeyState.PRIMARY for key in keys) > 1:
            raise KeySetError("the key ring is damaged: two keys have one id, or two are primary")
        return ring

    def _named(self, key_id: str) -> RingKey:
        for key in self._keys.values():
            if key.id.hex() == key_id:
                return key
        raise KeySetError(f"no key {key_id} is in the key ring")

    def _set(self, key: RingKey, state: KeyState) -> KeyState:
        self._keys[key.id] = replace(key, state=state)
        return state

    def _require(self, purpose: Purpose) -> None:
        if self.purpose not in (purpose, Purpose.PROTECT):
            raise KeySetError(f"the key ring is not for this use: its purpose is to {self.purpose.value}")

    def _primary(self) -> RingKey:
        for key in self._keys.values():
            if key.state is KeyState.PRIMARY:
                return key
        raise KeySetError("the key ring has no primary key")

    def _maker(self, output: bytes) -> tuple[RingKey | None, bool]:
        """The key that an output names, and whether there is one.

        In place of one that is unknown or destroyed another stands in, so that the same work is done before the
        answer whichever byte is wrong; for what no ring made, none.
        """
        if output[:1] != VERSION:
            return None, False
        key = self._keys.get(output[1:HEADER_SIZE])
        if key is not None and key.state is not KeyState.DESTROYED:
            return key, True
        readers = (each for each in self._keys.values() if each.state is not KeyState.DESTROYED)
        return next(readers, None), False


def _standing(key: RingKey) -> str:
    return key.state.value if key.secret is not None or key.state is KeyState.DESTROYED else "only a public half"


def _entry(key: RingKey) -> dict[str, Any]:
    entry = {"id": key.id.hex(), "state": key.state.value, "algorithm": key.algorithm.value, "created": key.created}
    if key.secret is not None:
        entry["secret"] = b64_encode(key.secret)
    elif key.public is not None:
        entry["public"] = b64_encode(key.public)
    return entry


def _read_entry(entry: dict[str, Any]) -> RingKey:
    key_id, created = bytes.fromhex(entry["id"]), str(entry["created"])
    state, algorithm = KeyState(entry["state"]), Algorithm(entry["algorithm"])
    if len(key_id) != HEADER_SIZE - len(VERSION):
        raise KeySetError("the key ring is damaged: a key's id is not of four bytes")
    if state is KeyState.DESTROYED:
        return RingKey(key_id, state, algorithm, created)
    if "secret" not in entry:
        public = b64_decode(entry["public"])
        if algorithm is not Algorithm.ED25519 or state is KeyState.PRIMARY or len(public) != 32:
            raise KeySetError("the key ring is damaged: a key has no secret")
        return RingKey(key_id, state, algorithm, created, public=public)
    key = RingKey.of(b64_decode(entry["secret"]), state, algorithm, created)
    # The id follows from the secret, so that a damaged secret is found here and not when data is lost.
    if key.id != key_id:
        raise KeySetError(f"the key ring is damaged: key {key_id.hex()} is not what its id says")
    return key
