"""Header fields of resources that are deprecated or will be removed (RFC 9745, RFC 8594)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime

__all__ = ["Deprecation"]


@dataclass(frozen=True)
class Deprecation:
    """Declares that a resource is deprecated: `resource(…, deprecation=Deprecation(since))`.

    Attributes:
        since: when the resource is or was deprecated, with a time zone; may be in the future.
        sunset: when it will be removed; None if unknown.

    Raises:
        ValueError: a time has no time zone, or the resource is removed before it is deprecated.
    """

    since: datetime
    sunset: datetime | None = None

    def __post_init__(self) -> None:
        for moment in (self.since, self.sunset):
            if moment is not None and moment.tzinfo is None:
                raise ValueError("Deprecation: use times with a time zone, such as datetime(2027, 1, 1, tzinfo=UTC)")
        if self.sunset is not None and self.sunset < self.since:  # RFC 9745 §4
            raise ValueError("Deprecation: `sunset` must not be earlier than `since`")

    @property
    def headers(self) -> dict[str, str]:
        """Return the header fields of each answer."""
        found = {"Deprecation": f"@{int(self.since.timestamp())}"}
        if self.sunset is not None:
            found["Sunset"] = format_datetime(self.sunset.astimezone(UTC), usegmt=True)
        return found
