"""The parameters of a view query: checks them, and refuses wrong ones with CouchDB's words.

They come from a query string and from the body of a POST (CouchDB API, "/db/_design/ddoc/_view/view"). `check` decides,
once the view is known, whether the parameters make sense for it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from tornado_couch.embedded.jsontext import loads
from tornado_couch.embedded.problems import bad_request, query_parse_error, text_form

__all__ = ["Key", "ViewParameters", "check", "view_parameters", "view_queries"]


class Key(NamedTuple):
    """A key that was given; this distinguishes a key `null` from a missing one."""

    value: Any


@dataclass(frozen=True, slots=True)
class ViewParameters:
    """The parameters of a view query; None if a parameter is missing."""

    keys: list[Any] | None = None
    start_key: Key | None = None
    end_key: Key | None = None
    start_id: str | None = None
    end_id: str | None = None
    inclusive_end: bool = True
    descending: bool = False
    limit: int | None = None
    skip: int = 0
    reduce: bool | None = None
    group: bool | None = None
    group_level: int | None = None
    include_docs: bool = False
    conflicts: bool | None = None
    attachments: bool = False
    att_encoding_info: bool = False
    update: bool | str = True
    stable: bool = False
    sorted: bool = True
    update_seq: bool = False
    partition: str | None = None

    @property
    def level(self) -> int | None:
        """How many items of an array key form a group; 0 means one group for all rows, None one group for each key."""
        if self.group_level is not None:
            return self.group_level
        return None if self.group else 0


def view_parameters(query: Iterable[tuple[str, str]], body: Any = None) -> ViewParameters:
    """Read the parameters of a query string, and of the body of a POST; the query string takes precedence.

    Args:
        query: decoded names and values, in their order.
        body: the body's JSON value, or None for a GET.

    Raises:
        Problem: 400 query_parse_error or bad_request.
    """
    parameters = ViewParameters()
    if body is not None:
        parameters = _of_body(body)
    for name, text in query:
        parameters = _with(parameters, name, text, decoded=False)
    return parameters


def view_queries(body: Any, query: Iterable[tuple[str, str]] = ()) -> list[ViewParameters]:
    """Read the parameters of each query in the body of a POST to `/queries`; the query string applies to all."""
    if not isinstance(body, dict):
        raise bad_request("Request body must be a JSON object")
    queries = body.get("queries")
    if queries is None:
        raise bad_request("POST body must include `queries` parameter.")
    if not isinstance(queries, list):
        raise bad_request("`queries` member must be an array.")
    common = list(query)
    return [view_parameters(common, _object(item)) for item in queries]


def check(parameters: ViewParameters, *, reduced: bool) -> ViewParameters:
    """Check that parameters make sense for a view, depending on whether it is reduced.

    Raises:
        Problem: 400 query_parse_error.
    """
    if parameters.reduce and not reduced:
        raise query_parse_error("Reduce is invalid for map-only views.")
    reducing = reduced and parameters.reduce is not False
    _check_group(parameters, reducing=reducing)
    _check_keys(parameters)
    if reducing and parameters.include_docs:
        raise query_parse_error("`include_docs` is invalid for reduce")
    if reducing and parameters.conflicts is not None:
        raise query_parse_error("`conflicts` is invalid for reduce views.")
    return replace(parameters, reduce=reducing)


def _check_group(parameters: ViewParameters, *, reducing: bool) -> None:
    if parameters.group is False and parameters.group_level:
        raise query_parse_error("Can't specify group=false and group_level>0 at the same time")
    if reducing and parameters.keys is not None and parameters.level is not None:
        raise query_parse_error("Multi-key fetches for reduce views must use `group=true`")
    if not reducing and parameters.level != 0:
        raise query_parse_error("Invalid use of grouping on a map view.")


def _check_keys(parameters: ViewParameters) -> None:
    if parameters.keys and (parameters.start_key or parameters.end_key):
        raise query_parse_error("`keys` is incompatible with `key`, `start_key` and `end_key`")


def _object(body: Any) -> Mapping[str, Any]:
    if not isinstance(body, dict):
        raise bad_request("Request body must be a JSON object")
    return body


def _of_body(body: Any) -> ViewParameters:
    members = _object(body)
    if "queries" in members:
        raise bad_request("The `queries` parameter is no longer supported at this endpoint")
    if not isinstance(members.get("keys", []), list):
        raise bad_request("`keys` member must be an array.")
    parameters = ViewParameters()
    for name, value in members.items():
        parameters = _with(parameters, name, value, decoded=True)
    return parameters


def _with(parameters: ViewParameters, name: str, value: Any, *, decoded: bool) -> ViewParameters:
    if name in _KEYS:
        return _with_key(parameters, _KEYS[name], value if decoded else loads(value))
    if name in _READERS:
        member, read = _READERS[name]
        if decoded and read is _natural and isinstance(value, str):
            raise query_parse_error(f"Invalid value for integer: {text_form(value)}")
        return replace(parameters, **{member: read(value)})
    if name in _MODES:
        return replace(parameters, **_mode(name, value))
    return parameters  # CouchDB leaves other parameters to list functions


def _with_key(parameters: ViewParameters, member: str, value: Any) -> ViewParameters:
    if member == "keys":
        if not isinstance(value, list):
            raise query_parse_error("`keys` must be an array of strings.")
        if len(value) != 1:
            return replace(parameters, keys=value)
        member, value = "key", value[0]  # one key is a range, even for a reduce without group
    if member == "key":
        return replace(parameters, start_key=Key(value), end_key=Key(value))
    given: dict[str, Any] = {member: Key(value)}
    return replace(parameters, **given)


def _mode(name: str, value: Any) -> dict[str, Any]:
    value = {True: "true", False: "false"}.get(value, value) if isinstance(value, bool) else value
    modes = _MODES[name]
    if not isinstance(value, str) or value not in modes:
        raise query_parse_error(f"Invalid value for `{name}`.")
    return modes[value]


def _boolean(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in ("true", "false"):
        return value.lower() == "true"
    raise query_parse_error(f"Invalid boolean parameter: {_shown(value)}")


def _natural(value: Any) -> int:
    number = value
    if isinstance(value, str):
        sign, digits = (value[0], value[1:]) if value[:1] in ("+", "-") else ("", value)
        # isdecimal() alone accepts digits of other scripts; int() alone accepts spaces and underscores.
        number = int(sign + digits) if digits.isascii() and digits.isdecimal() and len(digits) < 20 else None
    if isinstance(number, bool) or not isinstance(number, int):
        raise query_parse_error(f"Invalid value for integer: {_shown(value)}")
    if number < 0:
        raise query_parse_error(f"Invalid value for positive integer: {_shown(value)}")
    return number


def _shown(value: Any) -> str:
    """Format a value as CouchDB's messages do, in Erlang's form."""
    if value == "":
        return "[]"
    return json.dumps(value, ensure_ascii=False)


_KEYS = {
    "key": "key",
    "keys": "keys",
    "startkey": "start_key",
    "start_key": "start_key",
    "endkey": "end_key",
    "end_key": "end_key",
}
_READERS: dict[str, tuple[str, Any]] = {
    "startkey_docid": ("start_id", str),
    "start_key_doc_id": ("start_id", str),
    "endkey_docid": ("end_id", str),
    "end_key_doc_id": ("end_id", str),
    "limit": ("limit", _natural),
    "skip": ("skip", _natural),
    "group_level": ("group_level", _natural),
    "reduce": ("reduce", _boolean),
    "group": ("group", _boolean),
    "descending": ("descending", _boolean),
    "inclusive_end": ("inclusive_end", _boolean),
    "include_docs": ("include_docs", _boolean),
    "conflicts": ("conflicts", _boolean),
    "attachments": ("attachments", _boolean),
    "att_encoding_info": ("att_encoding_info", _boolean),
    "update_seq": ("update_seq", _boolean),
    "sorted": ("sorted", _boolean),
    "partition": ("partition", str),
}
_MODES: dict[str, dict[str, dict[str, Any]]] = {
    "stale": {"ok": {"stable": True, "update": False}, "update_after": {"stable": True, "update": "lazy"}},
    "stable": {"true": {"stable": True}, "false": {"stable": False}},
    "update": {"true": {"update": True}, "false": {"update": False}, "lazy": {"update": "lazy"}},
}
