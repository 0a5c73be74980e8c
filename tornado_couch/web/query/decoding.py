"""Decodes the parameters of a query string into text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..problems import Problem

__all__ = ["decode_names", "decode_parameter", "flag"]


def flag(name: str, text: str | None) -> bool:
    """The value of a parameter that is true or false; false if it is missing.

    Raises:
        Problem: 400, it is neither.
    """
    if text not in (None, "true", "false"):
        raise bad_parameter(name, f"`{name}` must be true or false.")
    return text == "true"


def decode_names(arguments: Mapping[str, list[bytes]]) -> dict[str, list[bytes]]:
    """Decode the names of a query string's parameters, which Tornado leaves as Latin-1.

    Raises:
        Problem: 400, a name is not UTF-8.
    """
    try:
        return {name.encode("latin-1").decode("utf-8"): values for name, values in arguments.items()}
    except UnicodeDecodeError:
        raise Problem.of("bad-parameter", "The name of a parameter is not valid UTF-8.", parameter="") from None


def bad_parameter(parameter: str, detail: str) -> Problem:
    return Problem.of("bad-parameter", detail, parameter=parameter)


def decode_parameter(name: str, values: Sequence[bytes]) -> str:
    """The text of a parameter that can be given only once.

    Raises:
        Problem: 400, it is given more than once, or is not UTF-8.
    """
    if len(values) > 1:
        raise Problem.of("bad-parameter", f"`{name}` can only be given once.", parameter=name)
    try:
        return values[0].decode("utf-8")
    except UnicodeDecodeError:
        raise Problem.of("bad-parameter", f"`{name}` is not valid UTF-8.", parameter=name) from None
