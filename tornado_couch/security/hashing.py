"""Hashes property values into texts that say how they were made.

    $2b$12$...                              bcrypt of the value; $2a$ and $2y$ of other software verify as well
    bcrypt-hmac-sha256:$2b$12$...           bcrypt of an HMAC of the value
    sha3-512:<base64url>                    SHA3-512 of the value
    hmac-sha3-512:<8 digits>:<base64url>    HMAC-SHA3-512 of the value under the pepper with this id

bcrypt uses at most 72 bytes, and some software stops at a zero byte. Values that are longer or contain a zero byte
are therefore hashed first: base64 of HMAC-SHA256, with bcrypt's salt as the key. So nobody can try plain SHA-256
hashes of the same values, leaked elsewhere, in their place.

All functions are synchronous. bcrypt takes a quarter of a second at cost 12 and releases the GIL: call it in a thread.
"""

from __future__ import annotations

import binascii
import hashlib
import hmac
import re

import bcrypt

from ..errors import SecurityError
from .encoding import b64_encode

__all__ = ["BcryptHasher", "Sha3Hasher", "is_hash"]

_BCRYPT = re.compile(r"(bcrypt-hmac-sha256:)?(\$2[aby]\$(\d\d)\$[./A-Za-z0-9]{53})", re.ASCII)
_BCRYPT_TAG = "bcrypt-hmac-sha256:"
_BCRYPT_LONGEST = 72
_SALT_LENGTH = 29  # "$2b$", two digits of cost, "$", 22 characters of salt
# Cost 18 takes about 15 seconds; a stored hash must not be able to demand days.
_MIN_COST, _MAX_COST = 4, 18
_SHA3 = "sha3-512:"
_KEYED_SHA3 = "hmac-sha3-512:"
_SHA3_FORM = re.compile(r"(sha3-512:|hmac-sha3-512:[0-9a-f]{8}:)[A-Za-z0-9_-]{86}", re.ASCII)


def is_hash(stored: object) -> bool:
    """Whether a stored value has one of the forms above, so that it can be considered a hash."""
    return isinstance(stored, str) and (_BCRYPT.fullmatch(stored) or _SHA3_FORM.fullmatch(stored)) is not None


class BcryptHasher:
    """Hashes with bcrypt, for values that can be guessed, such as passwords and PINs."""

    slow = True

    def __init__(self, cost: int = 12) -> None:
        """Choose how long hashing should take.

        Args:
            cost: each step doubles the time; 12 is about a quarter of a second.

        Raises:
            ValueError: the cost is not between 4 and 18.
        """
        if not _MIN_COST <= cost <= _MAX_COST:
            raise ValueError(f"the cost of bcrypt must be between {_MIN_COST} and {_MAX_COST}")
        self.cost = cost

    def hash(self, value: str | bytes) -> str:
        """Make the salted hash of a value of any length."""
        data = _bytes(value)
        tag = "" if _fits(data) else _BCRYPT_TAG
        salt = bcrypt.gensalt(self.cost)
        return tag + bcrypt.hashpw(_prehash(data, salt) if tag else data, salt).decode("ascii")

    def of_nobody(self) -> str:
        """A hash that matches no value, and takes as long to check as any: for users who do not exist."""
        # bcrypt uses four bits of the last character, and this one has a fifth.
        return bcrypt.gensalt(self.cost).decode("ascii") + "." * 30 + "/"

    def verify(self, value: str | bytes, stored: str) -> bool:
        """Whether a stored hash belongs to this value.

        A value that is too long for bcrypt, or contains a zero byte, never matches a hash without our prefix:
        software that cut the value off would have accepted any other ending as well.

        Raises:
            SecurityError: the stored text is not a bcrypt hash, or its cost is too high.
        """
        data, found = _bytes(value), _parsed(stored)
        hashed_first, salt = found[1] is not None, found[2][:_SALT_LENGTH].encode("ascii")
        # A wrong value takes the same time, whatever is wrong with it.
        matches = _check(_prehash(data, salt) if hashed_first or not _fits(data) else data, found[2])
        return matches and (hashed_first or _fits(data))

    def needs_rehash(self, stored: str) -> bool:
        """Whether the stored hash has another cost or variant, or is not a bcrypt hash at all."""
        found = _BCRYPT.fullmatch(stored)
        return found is None or not found[2].startswith("$2b$") or int(found[3]) != self.cost


def _bytes(value: str | bytes) -> bytes:
    return value.encode("utf-8") if isinstance(value, str) else value


def _fits(data: bytes) -> bool:
    return len(data) <= _BCRYPT_LONGEST and b"\0" not in data


def _prehash(data: bytes, salt: bytes) -> bytes:
    """44 bytes for any value, in base64, since some software's bcrypt stops at a zero byte."""
    return binascii.b2a_base64(hmac.digest(salt, data, "sha256"), newline=False)


def _check(data: bytes, stored: str) -> bool:
    try:
        return bcrypt.checkpw(data, stored.encode("ascii"))
    except ValueError:
        raise SecurityError("the stored text is not a bcrypt hash") from None


def _parsed(stored: str) -> re.Match[str]:
    found = _BCRYPT.fullmatch(stored)
    if found is None:
        raise SecurityError("the stored text is not a bcrypt hash")
    if not _MIN_COST <= int(found[3]) <= _MAX_COST:
        raise SecurityError(f"the stored hash has a cost of {found[3]}, which is outside of the allowed range")
    return found


class Sha3Hasher:
    """Hashes with SHA3-512, which gives the same hash for the same value, so that documents can be found by it.

    Without a pepper it is only for values that cannot be guessed (random tokens): somebody who can read the database
    can try as many values as they like.
    """

    slow = False

    def __init__(self, pepper: bytes | None = None, *, older: tuple[bytes | None, ...] = ()) -> None:
        """Choose the key.

        Args:
            pepper: a secret of at least 16 bytes, kept outside of the database; None for plain SHA3-512.
            older: peppers with which stored hashes may have been made; None in it stands for plain SHA3-512.

        Raises:
            ValueError: a pepper has fewer than 16 bytes.
        """
        if any(len(each) < 16 for each in (pepper, *older) if each is not None):
            raise ValueError("a pepper must have at least 16 bytes")
        self._pepper = pepper
        self._older = older

    def __repr__(self) -> str:
        return f"{type(self).__name__}({'keyed' if self._pepper is not None else 'plain'})"

    def hash(self, value: str | bytes) -> str:
        """Make the hash of a value."""
        return _sha3(_bytes(value), self._pepper)

    def verify(self, value: str | bytes, stored: str) -> bool:
        """Whether a stored hash belongs to this value, with the pepper or one of the older ones."""
        wanted = stored.encode("utf-8", "surrogatepass")
        # All candidates are compared, so that the time does not reveal which one matches.
        return sum([hmac.compare_digest(each.encode("ascii"), wanted) for each in self.lookups(value)]) > 0

    def lookups(self, value: str | bytes) -> list[str]:
        """All texts that may be stored for a value, the current one first; use them to look documents up."""
        data = _bytes(value)
        return [_sha3(data, pepper) for pepper in (self._pepper, *self._older)]

    def needs_rehash(self, stored: str) -> bool:
        """Whether the stored hash was made with another pepper, or with none."""
        return stored[: stored.rfind(":")] != (today := self.hash(b""))[: today.rfind(":")]


def _sha3(data: bytes, pepper: bytes | None) -> str:
    if pepper is None:
        return _SHA3 + b64_encode(hashlib.sha3_512(data).digest())
    pepper_id = hmac.digest(pepper, b"tornado_couch pepper id", "sha3-256")[:4].hex()
    key = hmac.digest(pepper, b"tornado_couch pepper key", "sha3-512")
    return f"{_KEYED_SHA3}{pepper_id}:{b64_encode(hmac.digest(key, data, 'sha3-512'))}"
