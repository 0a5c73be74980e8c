"""A CouchDB server: what it is, its databases, and new document ids."""

from __future__ import annotations

from collections import deque
from http import HTTPStatus
from typing import Any

from ..errors import Conflict, Forbidden, InvalidReply, NotFound, Unauthorized
from . import names
from .exchange import SUCCESS, Answer, Exchange, expect
from .observer import Observer
from .scheduler import Grouping, GroupLimits, told

__all__ = ["Server"]

# CouchDB's default [uuids] max_count is 1000.
_UUIDS_AT_MOST = 1000


class Server:
    """The calls to the server itself (https://docs.couchdb.org/en/stable/api/server/common.html).

    Every call raises the errors of `Exchange.call`.

    Args:
        exchange: calls the server.
        uuid_batch: how many ids `new_id` fetches at a time, 1 to 1000.
    """

    def __init__(self, exchange: Exchange, *, uuid_batch: int = 500) -> None:
        if not 1 <= uuid_batch <= _UUIDS_AT_MOST:
            raise ValueError(f"uuid_batch must be from 1 to {_UUIDS_AT_MOST}")
        self._exchange = exchange
        self._uuid_batch = uuid_batch
        self._ids: deque[str] = deque()
        limits = GroupLimits(in_flight=1, documents=_UUIDS_AT_MOST)
        self._id_calls: Grouping[None, str] = Grouping(self._new_ids, limits, seconds=exchange.timeout.total)

    @property
    def observer(self) -> Observer:
        """Who is told what happens; with nobody to tell, its methods do nothing."""
        return self._exchange.observers

    def observe(self, observer: Observer) -> None:
        """Tell one more observer of every exchange, and of what the store does with this server."""
        self._exchange.observers.add(observer)

    async def info(self) -> dict[str, Any]:
        """The server's welcome: `version`, `uuid`, `features`, `vendor`.

        Raises:
            InvalidReply: what answers is not CouchDB.
        """
        answer = await self._call("GET", "/")
        answer.member("couchdb", str)
        return expect(answer.value, dict, answer.request)

    async def check(self) -> None:
        """Refuse a server that is not CouchDB, or that stands behind a proxy which changes paths; nothing is written.

        Where the server's root is closed to this client, only the paths are looked at.

        Raises:
            InvalidReply: the message says which of the two it is.
            Unavailable: there is no answer.
        """
        try:
            await self.info()
        except (Unauthorized, Forbidden, NotFound):
            pass  # a proxy may let through databases alone
        except InvalidReply as error:
            raise InvalidReply(f"what answers there is not CouchDB: {error}") from None
        await self._exchange.check_paths()

    async def up(self) -> bool:
        """Whether the server says that it takes requests; False in maintenance mode.

        Raises:
            Unavailable: there is no answer, or it is 5xx.
        """
        # 404 is what CouchDB has for "not now"; only with a status is it CouchDB that says so.
        success = SUCCESS | {HTTPStatus.NOT_FOUND}
        answer = await self._exchange.call("GET", names.server("/_up"), success=success)
        return answer.member("status", str) == "ok"

    async def session(self) -> dict[str, Any]:
        """Who CouchDB takes this client for: `userCtx` with `name` and `roles`, and `info`."""
        answer = await self._call("GET", "/_session")
        answer.member("userCtx", dict)
        return expect(answer.value, dict, answer.request)

    async def uuids(self, count: int = 1) -> list[str]:
        """New ids from CouchDB, as many as asked for.

        Raises:
            ValueError: `count` is less than 1.
        """
        if count < 1:
            raise ValueError("count must be at least 1")
        found: list[str] = []
        while len(found) < count:
            found += await self._fetch_uuids(min(count - len(found), _UUIDS_AT_MOST))
        return found

    async def new_id(self) -> str:
        """A new id from CouchDB; ids are fetched in batches, and concurrent callers share a batch."""
        if self._ids:
            return self._ids.popleft()
        asked = self._id_calls.ask(object(), None)
        return await (told(self.observer, "id", asked) if self.observer else asked)

    async def _new_ids(self, callers: list[None]) -> list[str]:
        """An id for each of those who found none left; what is over is for the next."""
        while len(self._ids) < len(callers):
            self._ids.extend(await self._fetch_uuids(self._uuid_batch))
        return [self._ids.popleft() for _ in callers]

    async def membership(self) -> tuple[list[str], list[str]]:
        """The names of the nodes that this one is connected to, and of those that are of its cluster.

        https://docs.couchdb.org/en/stable/api/server/common.html#membership
        """
        answer = await self._call("GET", "/_membership")
        connected, members = answer.member("all_nodes", list), answer.member("cluster_nodes", list)
        return [str(each) for each in connected], [str(each) for each in members]

    async def add_node(self, name: str) -> bool:
        """Takes a node into the cluster, such as "couchdb2@couchdb2.example"; it needs an administrator.

        https://docs.couchdb.org/en/stable/cluster/nodes.html#adding-a-node

        Returns:
            False when it was a member already.

        Raises:
            ValueError: it is no node's name. CouchDB takes any, and keeps waiting for it.
        """
        try:
            await self._exchange.call("PUT", names.node(name), body={})
        except Conflict:
            return False
        return True

    async def databases(self) -> list[str]:
        """The names of all databases, in CouchDB's order."""
        answer = await self._call("GET", "/_all_dbs")
        return [expect(name, str, answer.request) for name in expect(answer.value, list, answer.request)]

    async def create_database(
        self, name: str, *, q: int | None = None, n: int | None = None, partitioned: bool = False
    ) -> bool:
        """Creates a database.

        Args:
            name: its name: a-z, 0-9 and any of `_$()+/-`, beginning with a letter.
            q: into how many shards.
            n: how many copies of each.
            partitioned: whether document ids are of the form PARTITION:ID.

        Returns:
            `accepted`: True when fewer nodes than the quorum have confirmed it so far (202), else False.

        Raises:
            AlreadyExists: it is there already.
            BadRequest: CouchDB does not permit the name.
            ValueError: the name can be no database's.
        """
        query = {name: str(value) for name, value in (("q", q), ("n", n)) if value is not None}
        if partitioned:
            query["partitioned"] = "true"
        return (await self._exchange.call("PUT", names.database(name), query)).accepted

    async def delete_database(self, name: str) -> bool:
        """Deletes a database with all its documents; returns `accepted`, as `create_database` does.

        Raises:
            NotFound: there is none of that name.
        """
        return (await self._exchange.call("DELETE", names.database(name))).accepted

    async def close(self) -> None:
        """Closes every connection; the client cannot be used any more."""
        await self._exchange.transport.close()

    async def _fetch_uuids(self, count: int) -> list[str]:
        answer = await self._call("GET", "/_uuids", {"count": str(count)})
        found = [expect(each, str, answer.request) for each in answer.member("uuids", list)]
        if not 0 < len(found) <= count:
            raise InvalidReply(f"{answer.request}: {len(found)} ids for {count} asked for")
        return found

    async def _call(self, method: str, path: str, query: dict[str, str] | None = None) -> Answer:
        return await self._exchange.call(method, names.server(path), query)
