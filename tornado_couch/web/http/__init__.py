"""HTTP semantics, after RFC 9110 and its companions."""

from __future__ import annotations

from .bodies import BodyLimits, check_grown, decode, is_large, media_type, parse_json, too_large
from .cors import Cors
from .deprecation import Deprecation
from .lines import BrokenStream, Line, LineReader
from .negotiation import accepts, choose_coding, compressed, weights
from .preconditions import EntityTag, MalformedEntityTag, Preconditions, entity_tag, parse_entity_tags
from .prefer import SERVER_TIMING, Preferences, parse_preferences
from .server_timing import ServerTiming, TimingObserver

__all__ = [
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
    "decode",
    "entity_tag",
    "is_large",
    "media_type",
    "parse_entity_tags",
    "parse_json",
    "parse_preferences",
    "too_large",
    "weights",
]
