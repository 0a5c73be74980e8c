"""Protects data at rest: hashing, encryption, signatures, and the keys for them. Only key files do I/O.

`Keys` is the interface of all keys; `KeyRing` (this package's own), `KeyczarKeys` and `TinkKeys` implement it, and
`KeyChain` joins several of them. `as_keys` turns the keys that an application has into `Keys`. They are used by
`encrypt_value` and `decrypt_value`, `blind_index`, `sign_document` and `verify_document`. The hashers need no keys.

`tornado_couch.security.keyczar` reads and writes Keyczar's key sets.
"""

from __future__ import annotations

from .encoding import b64_encode, canonical
from .encryption import (
    blind_index,
    blind_indexes,
    ciphertext_of,
    decrypt_value,
    encrypt_value,
    is_bound_to_database,
    is_encrypted,
)
from .hashing import BcryptHasher, Sha3Hasher, is_hash
from .key_file import ScryptCost, outer_key
from .key_ring import Algorithm, KeyInfo, KeyRing, KeyState, Purpose
from .keyczar_keys import KeyczarKeys, as_keys
from .keys import Crypter, Indexer, KeyChain, Keys, Signer
from .signing import (
    RESERVED_PROPERTIES,
    SIGNATURE_PROPERTY,
    Scheme,
    refuse_malleable,
    scheme_of,
    sign_document,
    sign_tombstone,
    signature_of,
    signed_revision,
    signed_sha256,
    verify_document,
)
from .streams import CHUNK_BYTES, FileCipher, new_file_key
from .tink_keys import TinkKeys

__all__ = [
    "CHUNK_BYTES",
    "RESERVED_PROPERTIES",
    "SIGNATURE_PROPERTY",
    "Algorithm",
    "BcryptHasher",
    "Crypter",
    "FileCipher",
    "Indexer",
    "KeyChain",
    "KeyInfo",
    "KeyRing",
    "KeyState",
    "KeyczarKeys",
    "Keys",
    "Purpose",
    "Scheme",
    "ScryptCost",
    "Sha3Hasher",
    "Signer",
    "TinkKeys",
    "as_keys",
    "b64_encode",
    "blind_index",
    "blind_indexes",
    "canonical",
    "ciphertext_of",
    "decrypt_value",
    "encrypt_value",
    "is_bound_to_database",
    "is_encrypted",
    "is_hash",
    "new_file_key",
    "outer_key",
    "refuse_malleable",
    "scheme_of",
    "sign_document",
    "sign_tombstone",
    "signature_of",
    "signed_revision",
    "signed_sha256",
    "verify_document",
]
