"""Keyczar key sets."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from tornado_couch.security import keyczar

Kind = TypeVar("Kind", bound=keyczar.Keyczar)

DATA = Path(__file__).parents[2] / "data" / "keyczar"
VECTORS: dict[str, Any] = json.loads((DATA / "vectors.json").read_text())
DOCUMENTS: list[dict[str, Any]] = json.loads((DATA / "signed_documents.json").read_text())["documents"]


def flipped(data: bytes) -> list[bytes]:
    """The data with each of its bits flipped, one at a time."""
    whole = int.from_bytes(data, "big")
    return [(whole ^ 1 << bit).to_bytes(len(data), "big") for bit in range(8 * len(data))]


def b64(text: str) -> bytes:
    """The bytes of ordinary base64, as the vectors have messages."""
    return base64.b64decode(text)


@dataclass
class Sets:
    """A directory of key sets. Each is read once, or with `afresh` each time, as is right where tests change them."""

    root: Path
    afresh: bool = False
    _read: dict[tuple[type[keyczar.Keyczar], str], Any] = field(default_factory=dict, repr=False)

    def path(self, name: str) -> Path:
        return self.root / name

    def signer(self, name: str) -> keyczar.Signer:
        return self._get(keyczar.Signer, name)

    def verifier(self, name: str) -> keyczar.Verifier:
        return self._get(keyczar.Verifier, name)

    def unversioned(self, name: str) -> keyczar.UnversionedSigner:
        return self._get(keyczar.UnversionedSigner, name)

    def crypter(self, name: str) -> keyczar.Crypter:
        return self._get(keyczar.Crypter, name)

    def _get(self, kind: type[Kind], name: str) -> Kind:
        if self.afresh or (kind, name) not in self._read:
            crypter = self.crypter("aes") if name.endswith("-encrypted") else None
            self._read[kind, name] = kind.Read(self.root / name, allow_legacy=True, crypter=crypter)
        found: Kind = self._read[kind, name]
        return found
