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
from .digests import parse_digest, repr_digest
from .disposition import bad_file_name, content_disposition, parse_disposition
from .lines import BrokenStream, Line, LineReader
from .media import HEAD_BYTES, content_fits, is_inline, is_media_type
from .multipart import FORM_DATA, RELATED, MultipartReader, Part
from .negotiation import accepts, choose_coding, compressed, weights
from .preconditions import EntityTag, MalformedEntityTag, Preconditions, entity_tag, http_date, parse_entity_tags
from .prefer import SERVER_TIMING, Preferences, parse_preferences
from .ranges import Byteranges, Span, if_range_holds, requested_spans
from .server_timing import ServerTiming, TimingObserver

__all__ = [
    "DRAINED",
    "FORM_DATA",
    "HEAD_BYTES",
    "RELATED",
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
    "MultipartReader",
    "Part",
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
    "content_fits",
    "content_length",
    "decode",
    "entity_tag",
    "http_date",
    "if_range_holds",
    "is_inline",
    "is_large",
    "is_media_type",
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
