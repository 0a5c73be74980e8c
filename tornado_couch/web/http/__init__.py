"""HTTP semantics, after RFC 9110 and its companions."""

from __future__ import annotations

from .bodies import (
    DRAINED,
    BodyLimits,
    check_grown,
    content_length,
    decode,
    is_large,
    media_type,
    parse_json,
    refuse_endless,
    too_large,
)
from .cors import Cors
from .deprecation import Deprecation
from .lines import BrokenStream, Line, LineReader
from .negotiation import accepts, choose_coding, compressed, weights
from .preconditions import EntityTag, MalformedEntityTag, Preconditions, entity_tag, http_date, parse_entity_tags
from .prefer import SERVER_TIMING, Preferences, parse_preferences
from .server_timing import ServerTiming, TimingObserver

__all__ = [
    "DRAINED",
    "SERVER_TIMING",
    "BodyLimits",
    "BrokenStream",
    "Cors",
    "Deprecation",
    "EntityTag",
    "Line",
    "LineReader",
    "MalformedEntityTag",
    "Preconditions",
    "Preferences",
    "ServerTiming",
    "TimingObserver",
    "accepts",
    "check_grown",
    "choose_coding",
    "compressed",
    "content_length",
    "decode",
    "entity_tag",
    "http_date",
    "is_large",
    "media_type",
    "parse_entity_tags",
    "parse_json",
    "parse_preferences",
    "refuse_endless",
    "too_large",
    "weights",
]
