"""Entity tags and preconditions (RFC 9110 §8.8.3, §13); pure.

A document's entity tag is its revision. After a semicolon, a suffix distinguishes the
representations of one revision, such as `"3-917f…;gzip"`. Proxies that compress add suffixes of their own, as Apache's
`"3-917f…-gzip"`; these are taken off again.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from email.utils import formatdate, parsedate_to_datetime
from functools import lru_cache
from typing import Literal

from ..problems import Problem

__all__ = ["EntityTag", "MalformedEntityTag", "Preconditions", "entity_tag", "http_date", "parse_entity_tags"]

# RFC 9110 §8.8.3: etagc is any visible character but the double quote, and obs-text.
# Unlike `$`, `\Z` does not match before a line feed at the end, where the search would stay forever.
# The repetitions are possessive: a run of blanks is never tried a second time, so that the time is linear.
_LIST_ITEM = re.compile(r'[ \t]*+(?:(?P<weak>W/)?"(?P<opaque>[\x21\x23-\x7e\x80-\U0010ffff]*+)")?[ \t]*+(?:,|\Z)')

# What proxies add inside of the quotes: Apache's mod_deflate and mod_brotli, Jetty, Caddy. Only behind the digest of a
# revision or page, or behind a variant of ours: elsewhere it could be a part of what the tag names.
_ADDED = re.compile(r"([0-9a-f]{32})(?:-(?:gzip|br|zstd))(?=;|\Z)|(;[^;]*?)-(?:gzip|br|zstd)\Z")
_CODINGS = ("-gzip", "-br", "-zstd")

_LONGEST = 16 * 1024  # characters of a field
_MOST = 256  # entity tags in a list; a client needs one for each representation that it has cached


class MalformedEntityTag(ValueError):
    """An If-Match or If-None-Match field is not a list of entity tags."""


@dataclass(frozen=True)
class EntityTag:
    """An entity tag as a client sent it."""

    opaque: str
    weak: bool = False

    @property
    def own(self) -> str:
        """The tag as the service sent it, without what a proxy added."""
        opaque = self.opaque
        if ";" not in opaque and not opaque.endswith(_CODINGS):  # as nearly all are; the expression takes far longer
            return opaque
        return _ADDED.sub(r"\1\2", opaque)

    @property
    def revision(self) -> str:
        """The revision that the tag names, for any representation."""
        return self.own.partition(";")[0]

    def names(self, revision: str) -> bool:
        """Whether the tag stands for a representation of a revision."""
        return self.opaque == revision or self.revision == revision


def entity_tag(revision: str, variant: str = "") -> str:
    """Return the strong entity tag of a representation of a revision, in its double quotes."""
    return f'"{revision};{variant}"' if variant else f'"{revision}"'


def parse_entity_tags(field: str) -> tuple[EntityTag, ...] | Literal["*"]:
    """Return the entity tags of an If-Match or If-None-Match field, or "*".

    Raises:
        MalformedEntityTag: the field is neither.
    """
    if len(field) > _LONGEST:
        raise MalformedEntityTag(f"a list of entity tags cannot have more than {_LONGEST} characters")
    if field.strip(" \t") == "*":
        return "*"
    tags, place = [], 0
    while place < len(field):
        match = _LIST_ITEM.match(field, place)
        if match is None:
            raise MalformedEntityTag('not a list of entity tags: each is quoted, as in "3-917fa238"')
        if match["opaque"] is not None:  # an empty list element is allowed (RFC 9110 §5.6.1.2)
            tags.append(EntityTag(match["opaque"], match["weak"] is not None))
            if len(tags) > _MOST:
                raise MalformedEntityTag(f"a list of entity tags cannot have more than {_MOST} of them")
        place = match.end()
    if not tags:
        raise MalformedEntityTag("the list of entity tags is empty")
    return tuple(tags)


@dataclass(frozen=True)
class Preconditions:
    """The preconditions of a request; a field that was not sent is None.

    A date counts only where the field for entity tags that goes before it was not sent (RFC 9110 §13.2.2); dates are
    seconds since 1970.
    """

    if_match: tuple[EntityTag, ...] | Literal["*"] | None = None
    if_none_match: tuple[EntityTag, ...] | Literal["*"] | None = None
    modified_since: int | None = None
    unmodified_since: int | None = None

    @classmethod
    def from_headers(cls, headers: Mapping[str, str]) -> Preconditions:
        """Read the preconditions from a request's header.

        A date that cannot be read is ignored (RFC 9110 §13.1.3, §13.1.4).

        Raises:
            MalformedEntityTag: a field is not a list of entity tags.
        """
        match, none_match = headers.get("If-Match"), headers.get("If-None-Match")
        modified, unmodified = headers.get("If-Modified-Since"), headers.get("If-Unmodified-Since")
        if match is none_match is modified is unmodified is None:
            return _UNCONDITIONAL
        return cls(
            None if match is None else parse_entity_tags(match),
            None if none_match is None else parse_entity_tags(none_match),
            None if modified is None or none_match is not None else _seconds(modified),
            None if unmodified is None or match is not None else _seconds(unmodified),
        )

    def evaluate_read(
        self, revision: str, modified: int | None = None, *, settled: bool = False
    ) -> Literal[200, 304, 412]:
        """Return the status for a GET or HEAD of a current representation (RFC 9110 §13.2.2).

        Args:
            revision: the current one.
            modified: when it was last modified, in seconds since 1970; None if that is not known.
            settled: whether that is long enough ago to be sure that no later change has the same time.

        Raises:
            Problem: 412, If-Match names the revision by weak tags alone.
        """
        if not self._match_holds(revision) or self.is_outdated(modified):  # steps 1 and 2: If-Match first
            return 412
        if not self._none_match_holds(revision):  # step 3: 304 for GET and HEAD
            return 304
        since = self.modified_since
        return 304 if settled and modified is not None and since is not None and modified <= since else 200

    def is_outdated(self, modified: int | None) -> bool:
        """Whether the document was modified after If-Unmodified-Since."""
        since = self.unmodified_since
        return since is not None and modified is not None and modified > since

    def expectation(self) -> Callable[[str], bool] | None:
        """Return a test that the current revision must pass before a write.

        None means that any revision passes. `If-Match: *` only requires that the document exists, so it needs
        no test either, and a write can be tried again after a conflict. The test raises the `Problem` 412 where
        If-Match names the revision by weak tags alone.
        """
        if self.if_match in (None, "*") and self.if_none_match is None:
            return None
        return lambda revision: self._match_holds(revision) and self._none_match_holds(revision)

    def _match_holds(self, revision: str) -> bool:
        # RFC 9110 §13.1.1: strong comparison, so a weak tag never matches.
        if self.if_match is None or self.if_match == "*":
            return True
        named = [tag for tag in self.if_match if tag.names(revision)]
        if named and all(tag.weak for tag in named):
            raise Problem.of("revision-mismatch", _WEAK, headers={"ETag": entity_tag(revision)})
        return bool(named)

    def _none_match_holds(self, revision: str) -> bool:
        # RFC 9110 §13.1.2: weak comparison; "*" is false if a current representation exists.
        if self.if_none_match is None:
            return True
        return self.if_none_match != "*" and not any(tag.names(revision) for tag in self.if_none_match)


@lru_cache(maxsize=1024)
def http_date(seconds: int) -> str:
    """Return a time, in seconds since 1970, as header fields have it (RFC 9110 §5.6.7)."""
    return formatdate(seconds, usegmt=True)


def _seconds(field: str) -> int | None:
    try:
        return int(parsedate_to_datetime(field).timestamp())
    except (ValueError, OverflowError):
        return None


_UNCONDITIONAL = Preconditions()

_WEAK = (
    "The entity tag names the current revision, but it is weak, and If-Match takes strong ones only. A proxy between"
    " the client and the service weakens tags, as nginx does where it compresses: send the tag without `W/`."
)
