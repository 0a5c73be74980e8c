"""Time stamps as they are stored and sent: RFC 3339, UTC, always six decimals, so that they sort as strings."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

from pydantic_core import core_schema

__all__ = ["format_timestamp", "in_utc", "is_timestamp", "utc_now", "with_sortable_datetimes"]

# RFC 3339 §5.6, which is what `format: date-time` means; whether there is such a day is for the calendar.
_TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)", re.ASCII)


def utc_now() -> datetime:
    """The time now, in UTC."""
    return datetime.now(UTC)


def format_timestamp(moment: datetime) -> str:
    """A time stamp's text, such as "2026-11-22T02:29:25.000000+00:00".

    A naive `moment` is taken as UTC. `isoformat()` alone leaves the decimals out when they are
    zero, and such a text sorts wrongly among others.
    """
    text = moment.isoformat(timespec="microseconds")
    if text.endswith("+00:00"):  # in UTC, by whatever name
        return text
    moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    return moment.isoformat(timespec="microseconds")


def is_timestamp(text: str) -> bool:
    """Whether a text has the form of a time stamp; pydantic also takes seconds since 1970, and parts of one."""
    return _TIMESTAMP.fullmatch(text) is not None


def with_sortable_datetimes(schema: Any) -> Any:
    """A copy of a core schema in which each datetime is written by `format_timestamp`."""
    if isinstance(schema, list):
        return [with_sortable_datetimes(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    copy = {name: with_sortable_datetimes(each) for name, each in schema.items()}
    if copy.get("type") == "datetime" and "serialization" not in copy:
        copy["serialization"] = core_schema.plain_serializer_function_ser_schema(
            format_timestamp, return_schema=core_schema.str_schema(), when_used="json-unless-none"
        )
        return core_schema.no_info_after_validator_function(in_utc, copy)
    return copy


def in_utc(moment: datetime) -> datetime:
    """The moment in UTC, which is how it is stored and read again; a naive one is taken as UTC."""
    try:
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except OverflowError:  # such as the first hours of the year 1 with an offset
        raise ValueError("in UTC, the time lies outside of the calendar") from None
