"""Resources that should no longer be used, and when they will be gone (RFC 9745, RFC 8594)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime

__all__ = ["Deprecation"]


@dataclass(frozen=True)
class Deprecation:
    """Says of a resource that it is deprecated: `resource(…, deprecation=Deprecation(since))`.

    Attributes:
        since: from when on; may be in the future. With a time zone.
        sunset: when it will be gone; None where that is not known.

    Raises:
        ValueError: a time has no time zone, or it is gone before it is deprecated.
    """

    since: datetime
    sunset: datetime | None = None

    def __post_init__(self) -> None:
        for moment in (self.since, self.sunset):
            if moment is not None and moment.tzinfo is None:
                raise ValueError("Deprecation: give times with a time zone, such as datetime(2027, 1, 1, tzinfo=UTC)")
        if self.sunset is not None and self.sunset < self.since:  # RFC 9745 §4
            raise ValueError("Deprecation: what is gone before it is deprecated was never deprecated")

    @property
    def headers(self) -> dict[str, str]:
        """The header fields of each answer."""
        found = {"Deprecation": f"@{int(self.since.timestamp())}"}
        if self.sunset is not None:
            found["Sunset"] = format_datetime(self.sunset.astimezone(UTC), usegmt=True)
        return found
