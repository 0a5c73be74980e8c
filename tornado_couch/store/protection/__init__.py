"""Protects values at rest: hashes, encrypts and signs them between a model and its stored document."""

from __future__ import annotations

from .conversion import Conversion, in_partition
from .properties import Protection
from .renewal import Reprotection
from .signatures import Guard, NoGuard, SignatureGuard, Verification, winner

__all__ = [
    "Conversion",
    "Guard",
    "NoGuard",
    "Protection",
    "Reprotection",
    "SignatureGuard",
    "Verification",
    "in_partition",
    "winner",
]
