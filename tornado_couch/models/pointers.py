"""What a fault is about: JSON Pointers (RFC 6901), and details of a length that can be read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

from pydantic import ValidationError

__all__ = ["faults", "json_pointer", "path_within", "shortened"]

_LONGEST = 300  # characters
_MOST_READINGS = 64  # of one location


def json_pointer(path: Iterable[object]) -> str:
    """The pointer with these reference tokens; the empty text is the whole document (RFC 6901 §3, §5)."""
    return "".join("/" + str(token).replace("~", "~0").replace("/", "~1") for token in path)


def shortened(detail: str) -> str:
    """A sentence for a client, without the end where it is very long, as for an enum of all countries."""
    return detail if len(detail) <= _LONGEST else f"{detail[: _LONGEST - 1]}…"


def faults(error: ValidationError, body: Any) -> list[dict[str, str]]:
    """Pydantic's faults without the values, which must reach neither log nor client."""
    found: dict[tuple[str, ...], dict[str, str]] = {}
    for each in error.errors(include_url=False, include_context=False):
        path = path_within(body, each["loc"], each["input"], missing=each["type"] == "missing")
        fault = {"pointer": json_pointer(path), "keyword": each["type"], "detail": shortened(each["msg"])}
        found.setdefault(tuple(fault.values()), fault)
    return list(found.values())


def path_within(body: Any, location: Sequence[str | int], held: Any, *, missing: bool) -> list[str | int]:
    """Where in a body pydantic found a fault.

    Pydantic's location also names what is not a member of the body: the branch of a union, and `[key]` for a
    dictionary's key. A member can be called like a branch, so of all readings that one is taken which leads to the
    value that pydantic held.

    Args:
        body: what was validated.
        location: pydantic's, the `loc` of an error.
        held: the value that the error is about; of a missing member, what it is missing from.
        missing: the last token of the location is the name of a member that is not there.
    """
    tokens, name = (location[:-1], list(location[-1:])) if missing else (location, [])
    found = list(islice(_readings(body, tuple(tokens), []), _MOST_READINGS))
    best = next((path for path, value in found if value is held), found[0][0])
    return [*best, *name]


def _readings(
    value: Any, tokens: tuple[str | int, ...], path: list[str | int]
) -> Iterator[tuple[list[str | int], Any]]:
    """Each way to follow a location, with where it leads; those first that skip the fewest tokens."""
    if not tokens:
        yield path, value
        return
    token, rest = tokens[0], tokens[1:]
    for name, inner in _member(value, token):
        yield from _readings(inner, rest, [*path, name])
    yield from _readings(value, rest, path)


def _member(value: Any, token: str | int) -> Iterator[tuple[str | int, Any]]:
    if isinstance(value, dict):
        # JSON has names as text, also where the dictionary's type makes numbers of them.
        name = token if token in value else str(token)
        if name in value:
            yield name, value[name]
    elif isinstance(value, list) and isinstance(token, int) and 0 <= token < len(value):
        yield token, value[token]
