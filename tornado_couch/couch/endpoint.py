"""The base class of the parts of `Database`: it knows the database's name and how to call it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from . import names
from .exchange import Answer, Exchange

__all__ = ["DEFAULT_QUORUM", "Endpoint", "Quorum"]


@dataclass(frozen=True)
class Quorum:
    """How many copies must take part before CouchDB answers; None means CouchDB's default, more than half of them.

    https://docs.couchdb.org/en/stable/cluster/sharding.html#quorum

    Attributes:
        read: the parameter `r` for reading documents.
        write: the parameter `w` for writing documents.

    Raises:
        ValueError: a number is less than 1.
    """

    read: int | None = None
    write: int | None = None

    def __post_init__(self) -> None:
        if any(number is not None and number < 1 for number in (self.read, self.write)):
            raise ValueError("a quorum must be at least 1")

    @property
    def reading(self) -> dict[str, str]:
        """The query parameter of a request that reads documents."""
        return {} if self.read is None else {"r": str(self.read)}

    @property
    def writing(self) -> dict[str, str]:
        """The query parameter of a request that writes documents."""
        return {} if self.write is None else {"w": str(self.write)}


DEFAULT_QUORUM = Quorum()


class Endpoint:
    """One database of one server."""

    def __init__(self, exchange: Exchange, name: str, quorum: Quorum = DEFAULT_QUORUM) -> None:
        self._address = names.database(name)  # refuses an invalid name before any request
        self._exchange = exchange
        self._name = name
        self._quorum = quorum

    @property
    def name(self) -> str:
        """The database's name."""
        return self._name

    @property
    def seconds(self) -> float | None:
        """How many seconds a whole call may take; None for no limit."""
        return self._exchange.timeout.total

    async def _call(
        self,
        method: str,
        *path: str,
        query: Mapping[str, str] | None = None,
        body: object = None,
        safe: bool = False,
        most: int | None = None,
        near: str | None = None,
    ) -> Answer:
        """Call the database or, with a path, one of its endpoints, and return the answer."""
        address = names.database(self._name, *path)
        return await self._exchange.call(method, address, query, body, safe=safe, most=most, near=near)
