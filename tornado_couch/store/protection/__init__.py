"""Protects values at rest: hashes, encrypts and signs them between a model and its stored document."""

from __future__ import annotations

from .properties import Conversion, Protection, in_partition
from .renewal import Reprotection
from .signatures import Guard, NoGuard, SignatureGuard, Verification, winner
from .trees import Judgement, judge

__all__ = [
    "Conversion",
    "Guard",
    "Judgement",
    "NoGuard",
    "Protection",
    "Reprotection",
    "SignatureGuard",
    "Verification",
    "in_partition",
    "judge",
    "winner",
]
