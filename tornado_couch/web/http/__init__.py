"""HTTP semantics, after RFC 9110 and its companions.

`media` and `multipart` are for uploads alone; they are imported from their modules, where they are needed, so that a
service without files does not load their libraries.
"""

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
from .digests import parse_digest, repr_digest
from .disposition import bad_file_name, content_disposition, parse_disposition
from .lines import BrokenStream, Line, LineReader
from .negotiation import accepts, choose_coding, compressed, weights
from .preconditions import EntityTag, MalformedEntityTag, Preconditions, entity_tag, http_date, parse_entity_tags
from .prefer import SERVER_TIMING, Preferences, parse_preferences
from .ranges import Byteranges, Span, if_range_holds, requested_spans
from .server_timing import ServerTiming, TimingObserver

__all__ = [
    "DRAINED",
    "SERVER_TIMING",
    "BodyLimits",
    "BrokenStream",
    "Byteranges",
    "Cors",
    "Deprecation",
    "EntityTag",
    "Line",
    "LineReader",
    "MalformedEntityTag",
    "Preconditions",
    "Preferences",
    "ServerTiming",
    "Span",
    "TimingObserver",
    "accepts",
    "bad_file_name",
    "check_grown",
    "choose_coding",
    "compressed",
    "content_disposition",
    "content_length",
    "decode",
    "entity_tag",
    "http_date",
    "if_range_holds",
    "is_large",
    "media_type",
    "parse_digest",
    "parse_disposition",
    "parse_entity_tags",
    "parse_json",
    "parse_preferences",
    "refuse_endless",
    "repr_digest",
    "requested_spans",
    "too_large",
    "weights",
]
