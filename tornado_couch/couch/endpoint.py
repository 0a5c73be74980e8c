"""What the parts of `Database` have in common: the database's name and the way to it."""

from __future__ import annotations

from collections.abc import Mapping

from . import names
from .exchange import Answer, Exchange

__all__ = ["Endpoint"]


class Endpoint:
    """One database of one server."""

    def __init__(self, exchange: Exchange, name: str) -> None:
        self._address = names.database(name)  # refuses what is no name before any request
        self._exchange = exchange
        self._name = name

    @property
    def name(self) -> str:
        """The database's name."""
        return self._name

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
