"""What the parts of `Database` have in common: the database's name and the way to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from . import names
from .exchange import Answer, Exchange

__all__ = ["DEFAULT_QUORUM", "Endpoint", "Quorum"]


@dataclass(frozen=True)
class Quorum:
    """How many copies take part before CouchDB answers; None leaves it to CouchDB, which has more than half.

    https://docs.couchdb.org/en/stable/cluster/sharding.html#quorum

    Attributes:
        read: the `r` of reading documents.
        write: the `w` of writing them.

    Raises:
        ValueError: a number is less than 1.
    """

    read: int | None = None
    write: int | None = None

    def __post_init__(self) -> None:
        if any(number is not None and number < 1 for number in (self.read, self.write)):
            raise ValueError("a quorum is at least 1")

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
        self._address = names.database(name)  # refuses what is no name before any request
        self._exchange = exchange
        self._name = name
        self._quorum = quorum

    @property
    def name(self) -> str:
        """The database's name."""
        return self._name

    @property
    def seconds(self) -> float | None:
        """How long a call may take in all; None is for ever."""
        return self._exchange.timeout.total

    async def _call(
        self,
        method: str,
        *path: str,
        query: Mapping[str, str] | None = None,
        body: object = None,
        safe: bool = False,
    ) -> Answer:
        """An answer from the database or, with a path of CouchDB's own words, from one of its endpoints."""
        address = names.database(self._name, *path)
        return await self._exchange.call(method, address, query, body, safe=safe)
