"""Key rings: files with several keys, of which one writes and all read.

Each operation has a subkey of its own (HKDF-SHA256, RFC 5869, with the operation's name), so that an output of one
operation cannot be used as that of another. Every output begins with 0x02 and the key's id, which are authenticated
together with the rest.

Encryption is AES-256-GCM with a random nonce of 96 bits. Such a key is good for 2^32 messages (NIST SP 800-38D
§8.3). Here each context (a property of a document) has an AES key of its own, derived from the operation's, so the
limit applies to how often one property of one document is written.

A new key is active at first, so that every instance of a service can load it before any of them writes with it;
`promote` makes it primary. A key that is no longer wanted is demoted to active, then to inactive, and destroyed once
nothing that it made is in use.

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
    """What a key may be used for; the names and meanings are those of Keyczar."""

    PRIMARY = "primary"
    """The key writes and reads; a ring has at most one such key."""
    ACTIVE = "active"
    """The key only reads."""
    INACTIVE = "inactive"
    """The key only reads, and may be destroyed; do so when nothing that it made is left."""
    DESTROYED = "destroyed"
    """The key cannot be used: only its id is kept, so that its outputs are recognised."""


class Algorithm(StrEnum):
    """The algorithm with which a key signs."""

    HMAC_SHA256 = "HMAC-SHA256"
    ED25519 = "Ed25519"


def derived(secret: bytes, label: str, length: int = 32) -> bytes:
    """Derive a subkey of a secret, for one use."""
    info = b"tornado_couch key ring 2: " + label.encode("ascii")
    return HKDF(algorithm=SHA256(), length=length, salt=None, info=info).derive(secret)


def normalised(material: bytes) -> bytes:
    """Derive the 32 bytes of a key from secret bytes that were made elsewhere.

    Raises:
        KeySetError: there are fewer than 16 bytes, which is too short for a key.
    """
    if len(material) < 16:
        raise KeySetError("key material must have at least 16 bytes")
    return derived(material, "import")


@dataclass(frozen=True, repr=False)
class RingKey:
    """A key of a ring.

    Attributes:
        id: four bytes that are derived from the secret, so that they are the same wherever it is imported.
        state: what the key may be used for.
        algorithm: how it signs.
        created: the time of its creation, as `YYYY-MM-DDTHH:MM:SS+00:00`.
        secret: 32 bytes; None if the key is destroyed, or if only its public half is known.
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
        """Make the key with this secret."""
        public = None
        if algorithm is Algorithm.ED25519:
            public = _ed25519(secret).public_key().public_bytes_raw()
        return cls(derived(secret, "id", 4), state, algorithm, created, secret, public)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.id.hex()}, {self.state.value}, {self.algorithm.value})"

    @property
    def header(self) -> bytes:
        """The first bytes of its outputs."""
        return VERSION + self.id

    def sign(self, message: bytes, context: bytes) -> bytes:
        """Sign a message; the signature includes the header."""
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
        """Encrypt; the ciphertext is the header, the nonce, the encrypted bytes and the tag."""
        nonce = os.urandom(_NONCE)
        return self.header + nonce + self._aes(context).encrypt(nonce, plaintext, self.header + context)

    def decrypt(self, ciphertext: bytes, context: bytes) -> bytes:
        """Decrypt what `encrypt` returned; raises the same DecryptionFailed whichever byte is wrong."""
        nonce, sealed = ciphertext[HEADER_SIZE : HEADER_SIZE + _NONCE], ciphertext[HEADER_SIZE + _NONCE :]
        try:
            if len(sealed) >= _TAG:
                return self._aes(context).decrypt(nonce, sealed, self.header + context)
        except InvalidTag:
            pass
        raise DecryptionFailed("the ciphertext cannot be decrypted")

    def index(self, message: bytes, context: bytes) -> bytes:
        """Make the blind index of a message, header included."""
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
    """Signatures, encryption and blind indexes."""


@dataclass(frozen=True)
class KeyInfo:
    """The information about a key that may be shown.

    Attributes:
        id: eight hexadecimal digits.
        state: primary, active, inactive or destroyed.
        algorithm: how it signs.
        created: the time of its creation, as `YYYY-MM-DDTHH:MM:SS+00:00`.
    """

    id: str
    state: KeyState
    algorithm: Algorithm
    created: str


class KeyRing:
    """Keys for one purpose; implements `Keys`, the interface that the rest of the package uses."""

    def __init__(self, purpose: Purpose = Purpose.PROTECT) -> None:
        """Make an empty ring; use `KeyRing.create` for one with a key, and `KeyRing.load` to read one."""
        self.purpose = purpose
        self._keys: dict[bytes, RingKey] = {}

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.purpose.value}, {len(self._keys)} keys)"

    @classmethod
    def create(cls, purpose: Purpose = Purpose.PROTECT, *, algorithm: Algorithm = Algorithm.HMAC_SHA256) -> KeyRing:
        """Make a new ring with a primary key."""
        ring = cls(purpose)
        ring.promote(ring.add(algorithm=algorithm))
        return ring

    # Keys

    @property
    def keys(self) -> list[KeyInfo]:
        """The information about each key, including destroyed ones, in the order in which they were added."""
        return [KeyInfo(key.id.hex(), key.state, key.algorithm, key.created) for key in self._keys.values()]

    def add(self, material: bytes | None = None, *, algorithm: Algorithm = Algorithm.HMAC_SHA256) -> str:
        """Add an active key.

        Args:
            material: secret bytes from elsewhere, at least 16, to derive the key from. They give the same key in
                each ring; the ring cannot read what other software made with those bytes.
            algorithm: how the key signs.

        Returns:
            the key's id.

        Raises:
            KeySetError: the material is too short, or its key is in the ring or was in it.
        """
        if algorithm is Algorithm.ED25519 and self.purpose is Purpose.ENCRYPT:
            raise KeySetError("Ed25519 keys are for signing, but this key ring is for encryption")
        secret = secrets.token_bytes(32) if material is None else normalised(material)
        now = datetime.now(UTC).isoformat(timespec="seconds")
        key = RingKey.of(secret, KeyState.ACTIVE, algorithm, now)
        if key.id in self._keys:
            raise KeySetError(f"key {key.id.hex()} is already in the key ring")
        self._keys[key.id] = key
        return key.id.hex()

    def promote(self, key_id: str) -> KeyState:
        """Make an inactive key active, or an active key primary; the key that was primary becomes active.

        Raises:
            KeySetError: the key does not exist, or it is primary or destroyed.
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
        """Make a primary key active, or an active key inactive.

        Raises:
            KeySetError: the key does not exist, or it is inactive or destroyed.
        """
        key = self._named(key_id)
        lower = {KeyState.PRIMARY: KeyState.ACTIVE, KeyState.ACTIVE: KeyState.INACTIVE}.get(key.state)
        if lower is None:
            raise KeySetError(f"key {key_id} cannot be demoted: it is {key.state.value}")
        return self._set(key, lower)

    def destroy(self, key_id: str) -> None:
        """Erase an inactive key for ever; its id is kept.

        Raises:
            KeySetError: the key does not exist, or it is not inactive.
        """
        key = self._named(key_id)
        if key.state is not KeyState.INACTIVE:
            raise KeySetError(f"key {key_id} cannot be destroyed: it is {key.state.value}, not inactive")
        self._keys[key.id] = replace(key, state=KeyState.DESTROYED, secret=None, public=None)

    def public(self) -> KeyRing:
        """A copy of the ring without its secrets, which can only verify.

        Raises:
            KeySetError: the ring has other keys than Ed25519 keys, or is not for signing only.
        """
        algorithms = {key.algorithm for key in self._keys.values()}
        if self.purpose is not Purpose.SIGN or algorithms - {Algorithm.ED25519}:
            raise KeySetError("only a ring with nothing but Ed25519 keys, for signing only, has a public half")
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
        """Verify a signature with the key that it names.

        Raises:
            InvalidSignature: that key is not in the ring, or did not make the signature for this message and context.
            KeySetError: the ring is not for signing.
        """
        self._require(Purpose.SIGN)
        try:
            data = b64_decode(signature)
        except ValueError:
            raise InvalidSignature("the signature was not made by a key ring") from None
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
        """Decrypt a ciphertext with the key that it names.

        Raises:
            DecryptionFailed: that key is not in the ring, or did not make the ciphertext for this context.
            KeySetError: the ring is not for encryption.
        """
        self._require(Purpose.ENCRYPT)
        try:
            data = b64_decode(ciphertext)
        except ValueError:
            raise DecryptionFailed("the ciphertext cannot be decrypted") from None
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
        """The blind indexes of a message: that of the primary key, then those of all other keys that read.

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
        """Write the ring to a file of mode 0600, completely or not at all.

        Args:
            path: the file, in a directory that exists.
            passphrase: encrypt the file with a key that scrypt derives from this; that takes about half a second, so
                call this method in a thread.
            outer: encrypt the file with a key of 32 bytes, such as `outer_key` reads from the environment.
            cost: how expensive it is to try a passphrase.

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
            KeySetError: the file is missing, unreadable, accessible to group or others, not a key ring, or protected
                in another way than by the given passphrase or key.
        """
        document = unwrap(read_private(path), passphrase=passphrase, outer=outer)
        if document.get("format") != _FORMAT or document.get("version") != 1:
            raise KeySetError("the file is not a key ring of a known version")
        try:
            ring = cls(Purpose(document["purpose"]))
            keys = [_read_entry(entry) for entry in document["keys"]]
        except (AttributeError, KeyError, TypeError, ValueError):
            raise KeySetError("the key ring is damaged") from None
        ring._keys = {key.id: key for key in keys}
        if len(ring._keys) < len(keys) or sum(key.state is KeyState.PRIMARY for key in keys) > 1:
            raise KeySetError("the key ring is damaged: two keys have the same id, or two are primary")
        return ring

    def _named(self, key_id: str) -> RingKey:
        for key in self._keys.values():
            if key.id.hex() == key_id:
                return key
        raise KeySetError(f"the key ring has no key {key_id}")

    def _set(self, key: RingKey, state: KeyState) -> KeyState:
        self._keys[key.id] = replace(key, state=state)
        return state

    def _require(self, purpose: Purpose) -> None:
        if self.purpose not in (purpose, Purpose.PROTECT):
            raise KeySetError(f"the key ring cannot be used for this: its purpose is to {self.purpose.value}")

    def _primary(self) -> RingKey:
        for key in self._keys.values():
            if key.state is KeyState.PRIMARY:
                return key
        raise KeySetError("the key ring has no primary key")

    def _maker(self, output: bytes) -> tuple[RingKey | None, bool]:
        """The key that an output names, and whether the ring has it.

        If the key is unknown or destroyed, another one takes its place, so that the answer comes after the same work
        whichever byte is wrong; an output that no ring made has none.
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
        raise KeySetError("the key ring is damaged: a key's id does not have four bytes")
    if state is KeyState.DESTROYED:
        return RingKey(key_id, state, algorithm, created)
    if "secret" not in entry:
        public = b64_decode(entry["public"])
        if algorithm is not Algorithm.ED25519 or state is KeyState.PRIMARY or len(public) != 32:
            raise KeySetError("the key ring is damaged: a key has no secret")
        return RingKey(key_id, state, algorithm, created, public=public)
    key = RingKey.of(b64_decode(entry["secret"]), state, algorithm, created)
    # The id is derived from the secret, so a damaged secret is found here and not when data is lost.
    if key.id != key_id:
        raise KeySetError(f"the key ring is damaged: key {key_id.hex()} does not match its id")
    return key
