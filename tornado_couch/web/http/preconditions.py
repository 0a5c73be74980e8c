"""Entity tags and preconditions (RFC 9110 §8.8.3, §13); pure.

A document's entity tag is its revision. After a semicolon, a suffix distinguishes the
representations of one revision, such as `"3-917f…;gzip"`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

__all__ = ["EntityTag", "MalformedEntityTag", "Preconditions", "entity_tag", "parse_entity_tags"]

# RFC 9110 §8.8.3: etagc is any visible character but the double quote, and obs-text.
# Unlike `$`, `\Z` does not match before a line feed at the end, where the search would stay forever.
# The repetitions are possessive: a run of blanks is never tried a second time, so that the time is linear.
_LIST_ITEM = re.compile(r'[ \t]*+(?:(?P<weak>W/)?"(?P<opaque>[\x21\x23-\x7e\x80-\U0010ffff]*+)")?[ \t]*+(?:,|\Z)')

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
    def revision(self) -> str:
        """The revision that the tag names, for any representation."""
        return self.opaque.partition(";")[0]


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
    """The preconditions of a request; a field that was not sent is None."""

    if_match: tuple[EntityTag, ...] | Literal["*"] | None = None
    if_none_match: tuple[EntityTag, ...] | Literal["*"] | None = None

    @classmethod
    def from_headers(cls, headers: Mapping[str, str]) -> Preconditions:
        """Read the preconditions from a request's header.

        If-Modified-Since and If-Unmodified-Since are ignored: a document has no modification date
        (RFC 9110 §13.1.3, §13.1.4).

        Raises:
            MalformedEntityTag: a field is not a list of entity tags.
        """
        match, none_match = headers.get("If-Match"), headers.get("If-None-Match")
        if match is None and none_match is None:
            return _UNCONDITIONAL
        return cls(
            None if match is None else parse_entity_tags(match),
            None if none_match is None else parse_entity_tags(none_match),
        )

    def evaluate_read(self, revision: str) -> Literal[200, 304, 412]:
        """Return the status for a GET or HEAD of a current representation (RFC 9110 §13.2.2)."""
        if not self._match_holds(revision):  # steps 1 and 2: If-Match first
            return 412
        return 200 if self._none_match_holds(revision) else 304  # step 3: 304 for GET and HEAD

    def expectation(self) -> Callable[[str], bool] | None:
        """Return a test that the current revision must pass before a write.

        None means that any revision passes. `If-Match: *` only requires that the document exists, so it needs
        no test either, and a write can be tried again after a conflict.
        """
        if self.if_match in (None, "*") and self.if_none_match is None:
            return None
        return lambda revision: self._match_holds(revision) and self._none_match_holds(revision)

    def _match_holds(self, revision: str) -> bool:
        # RFC 9110 §13.1.1: strong comparison, so a weak tag never matches.
        if self.if_match is None or self.if_match == "*":
            return True
        return any(not tag.weak and tag.revision == revision for tag in self.if_match)

    def _none_match_holds(self, revision: str) -> bool:
        # RFC 9110 §13.1.2: weak comparison; "*" is false if a current representation exists.
        if self.if_none_match is None:
            return True
        return self.if_none_match != "*" and all(tag.revision != revision for tag in self.if_none_match)


_UNCONDITIONAL = Preconditions()
