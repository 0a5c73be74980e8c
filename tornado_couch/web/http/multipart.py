"""The parts of a multipart body (RFC 2046 §5.1), as they come: forms (RFC 7578) and multipart/related (RFC 2387)."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from ..problems import Problem
from .disposition import Disposition, parse_disposition

__all__ = ["FORM_DATA", "RELATED", "MultipartReader", "Part"]

FORM_DATA = "multipart/form-data"
RELATED = "multipart/related"

_MOST_FIELDS = 16  # of a part's header
_LONGEST_FIELD = 8 * 1024  # bytes
_PLAIN = ("", "7bit", "8bit", "binary")  # transfer encodings that change nothing

_quiet = logging.getLogger(f"{__name__}.parser")  # the parser logs what is wrong; whoever sent it is told instead
_quiet.addHandler(logging.NullHandler())
_quiet.propagate = False


@dataclass(frozen=True)
class Part:
    """The header of a part.

    Attributes:
        name: the name of the form's field, or what Content-ID says; None without either.
        filename: the name of the file; None if the part is none.
        media_type: what Content-Type says, in lower case and without parameters; empty without it.
    """

    name: str | None
    filename: str | None
    media_type: str


class MultipartReader:
    """Takes a multipart body apart while it comes.

    Args:
        content_type: the Content-Type of the body.
        most: the largest number of parts.

    Raises:
        Problem: 400, there is no boundary, or none that can be.
    """

    def __init__(self, content_type: str, most: int) -> None:
        kind, options = parse_options_header(content_type)
        boundary = options.get(b"boundary", b"")
        self._of_form = kind.decode("latin-1") == FORM_DATA
        if not boundary:
            raise _broken("Content-Type names no boundary.")
        self._found: list[Part | bytes | None] = []
        self._fields: dict[str, bytes] = {}
        self._name = self._value = b""
        self._left = most
        self._ended = False
        try:
            self._parser = MultipartParser(
                boundary, self._callbacks(), max_header_count=_MOST_FIELDS, max_header_size=_LONGEST_FIELD
            )
        except FormParserError as error:
            raise _broken(f"{error}.") from None
        self._parser.logger = _quiet

    def feed(self, data: bytes) -> Iterator[Part | bytes | None]:
        """Take more of the body; yield the header of each part, its bytes as they come, and None at its end.

        Raises:
            Problem: 400, the body is not of the form that Content-Type says; 413, it has too many parts.
        """
        try:
            self._parser.write(data)
        except FormParserError as error:
            raise _broken(f"{error}.") from None
        found, self._found = self._found, []
        yield from found

    def end(self) -> None:
        """Take note that nothing more comes.

        Raises:
            Problem: 400, the body was cut off.
        """
        if not self._ended:
            raise _broken("The body ends before its last boundary.")

    def _callbacks(self) -> Any:
        return {
            "on_part_begin": self._begin,
            "on_part_data": lambda data, start, end: self._found.append(data[start:end]),
            "on_part_end": lambda: self._found.append(None),
            "on_header_field": self._add_name,
            "on_header_value": self._add_value,
            "on_header_end": self._end_field,
            "on_headers_finished": lambda: self._found.append(self._part()),
            "on_end": self._end,
        }

    def _begin(self) -> None:
        self._fields = {}
        self._left -= 1
        if self._left < 0:
            raise Problem(413, detail="The body has more parts than there can be files.")

    def _end(self) -> None:
        self._ended = True

    def _add_name(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]

    def _add_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _end_field(self) -> None:
        name = self._name.decode("latin-1").strip().lower()
        if name in self._fields:
            raise _broken(f"A part has two fields `{name}`." if name.isascii() else "A part has a field twice.")
        self._fields[name] = self._value.strip()
        self._name = self._value = b""

    def _part(self) -> Part:
        text = {name: value.decode("latin-1") for name, value in self._fields.items()}
        if text.get("content-transfer-encoding", "").lower() not in _PLAIN:
            raise _broken("Parts are sent as they are: leave out `Content-Transfer-Encoding` (RFC 7578 §4.7).")
        field = text.get("content-disposition")
        said = Disposition("") if field is None else parse_disposition(field, of_form=self._of_form)
        if said is None or (self._of_form and said.name is None):
            raise _broken("The part of a form needs a Content-Disposition with its `name` (RFC 7578 §4.2).")
        name = said.name if said.name is not None else text.get("content-id", "").strip("<>") or None
        return Part(name, said.filename, text.get("content-type", "").partition(";")[0].strip().lower())


def _broken(detail: str) -> Problem:
    return Problem.of("malformed-body", detail)
