"""`Form`: receives a multipart body, each part as what it is: a file, the JSON of a document, or nothing."""

from __future__ import annotations

from collections.abc import Callable

from ..http import too_large
from ..http.multipart import MultipartReader, Part
from .receiving import Receiver

__all__ = ["Form", "Ignored", "Text", "is_ignored"]

_OF_FORMS = ("_charset_", "_xsrf")  # fields that forms have beside their files


class Text:
    """A part that is kept in memory.

    Args:
        limit: the largest number of bytes.

    Attributes:
        content: what has come of it.
    """

    def __init__(self, limit: int) -> None:
        self.content = b""
        self._limit = limit

    async def feed(self, data: bytes) -> None:
        """Take more of it.

        Raises:
            Problem: 413.
        """
        self.content += data
        if len(self.content) > self._limit:
            raise too_large(self._limit)

    async def end(self) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""


class Ignored(Text):
    """A part that nobody needs, such as the field of a form in which no file was chosen."""

    async def feed(self, data: bytes) -> None:
        """Drop it."""


def is_ignored(part: Part) -> bool:
    """Whether nobody needs a part: the form has a field for a file, and none was chosen, or a field of its own."""
    return part.filename == "" or part.name in _OF_FORMS


class Form:
    """A multipart body.

    Args:
        content_type: its Content-Type.
        most: the largest number of parts.
        take: returns what receives a part, or raises the exception that refuses the body.
    """

    def __init__(self, content_type: str, most: int, take: Callable[[Part], Receiver]) -> None:
        self._reader = MultipartReader(content_type, most)
        self._take = take
        self._receivers: list[Receiver] = []

    async def feed(self, data: bytes) -> None:
        """Take more of the body."""
        for each in self._reader.feed(data):
            if isinstance(each, Part):
                self._receivers.append(self._take(each))
            elif each is None:
                await self._receivers[-1].end()
            else:
                await self._receivers[-1].feed(each)

    async def end(self) -> None:
        """Take note that all of it has come.

        Raises:
            Problem: 400, it has not.
        """
        self._reader.end()

    def close(self) -> None:
        """Give back what the parts hold."""
        for each in self._receivers:
            each.close()
