"""How often, and how far apart, to retry a write that met a conflict or whose answer was lost."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["Retry"]


@dataclass(frozen=True)
class Retry:
    """Exponential backoff with full jitter: each delay is drawn from zero to a growing, capped bound.

    The jitter is full because writers that met in a conflict would meet again after equal delays.

    Attributes:
        attempts: how often a write is tried in all; at least 1.
        base: the bound of the first delay in seconds; it doubles with each further try.
        cap: the highest bound of a delay, in seconds.
        patience: seconds to spend, after an answer was lost, on finding out about the write before it fails with
            `OutcomeUnknown`. An exchange that has begun may finish, within the client's time limits.
        random: returns numbers in [0, 1).
    """

    attempts: int = 20
    base: float = 0.01
    cap: float = 1.0
    patience: float = 5.0
    random: Callable[[], float] = random.random

    def __post_init__(self) -> None:
        if self.attempts < 1 or min(self.base, self.cap, self.patience) < 0:
            raise ValueError("Retry: attempts must be at least 1; base, cap and patience must be at least 0")

    def delay(self, failures: int) -> float:
        """Seconds to wait after this many failures (at least 1)."""
        # The exponent is bounded because 2.0 ** 1024 overflows.
        bound = min(self.cap, self.base * 2.0 ** min(failures - 1, 60))
        return bound * self.random()
