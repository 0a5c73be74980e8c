"""`Server`: calls to a CouchDB server about itself, its databases, and new document ids."""

from __future__ import annotations

from collections import deque
from http import HTTPStatus
from typing import Any, NamedTuple

from .. import _json
from ..errors import Conflict, Forbidden, InvalidReply, NotFound, Unauthorized
from . import names
from .exchange import SUCCESS, Answer, Exchange, expect
from .observer import Observer
from .scheduler import Grouping, GroupLimits, Turns, told

__all__ = ["DatabaseUpdates", "Server"]

# CouchDB's default [uuids] max_count is 1000.
_UUIDS_AT_MOST = 1000
_WELCOME = ("/",)


class DatabaseUpdates(NamedTuple):
    """What has happened to databases.

    Attributes:
        results: the name of each database with "created", "updated" or "deleted": the latest of each kind, and not in
            the order in which it happened.
        last_seq: the `since` for what follows.
    """

    results: list[tuple[str, str]]
    last_seq: str | int


class Server:
    """The calls to the server itself (https://docs.couchdb.org/en/stable/api/server/common.html).

    Every call raises the errors of `Exchange.call`.

    Args:
        exchange: calls the server.
        uuid_batch: how many ids `new_id` fetches at a time, 1 to 1000.

    Attributes:
        turns: writes of one document, known by its database and its id, take turns.
        contended: whether some copy of a document was seen to refuse what another one took, which happens on a cluster
            alone. Whoever is about to write then has to read all leaves: the winning one may be about to be withdrawn.
    """

    def __init__(self, exchange: Exchange, *, uuid_batch: int = 500) -> None:
        if not 1 <= uuid_batch <= _UUIDS_AT_MOST:
            raise ValueError(f"uuid_batch must be from 1 to {_UUIDS_AT_MOST}")
        self._exchange = exchange
        self._uuid_batch = uuid_batch
        self._ids: deque[str] = deque()
        self.turns = Turns()
        self.contended = False
        limits = GroupLimits(in_flight=1, documents=_UUIDS_AT_MOST)
        self._id_calls: Grouping[None, str] = Grouping(self._new_ids, limits, seconds=exchange.timeout.total)

    @property
    def observer(self) -> Observer:
        """Receives what happens; if no observer was added, its methods do nothing."""
        return self._exchange.observers

    def place(self, document_id: str) -> int:  # noqa: ARG002 - `Couch` has several nodes
        """The number of the node that the writes of a document prefer; only writes with one number share a request."""
        return 0

    def contest(self, document_id: str) -> None:
        """Take note that several writers change a document, so that its writes go to one node if there are several."""

    def observe(self, observer: Observer) -> None:
        """Add an observer, which receives every exchange and what the store does with this server."""
        self._exchange.observers.add(observer)

    async def info(self) -> dict[str, Any]:
        """Read the server's welcome, which has `version`, `uuid`, `features` and `vendor`.

        Raises:
            InvalidReply: the answer does not come from CouchDB.
        """
        answer = await self._call("GET", "/")
        answer.member("couchdb", str)
        return expect(answer.value, dict, answer.request)

    async def recognize(self) -> None:
        """Refuse a server that is not CouchDB; called before a write, it asks once if no answer has shown it.

        Raises:
            InvalidReply: it is another server.
        """
        if self._exchange.recognized:
            return
        await self.turns.take(_WELCOME, self._exchange.timeout.total)  # one question is enough for all
        try:
            if not self._exchange.recognized:
                await self._exchange.recognize()
        finally:
            self.turns.give_back(_WELCOME)

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
        """Whether the server says that it accepts requests; False in maintenance mode.

        Raises:
            Unavailable: there is no answer, or the answer is 5xx.
        """
        # CouchDB answers 404 for "not now"; only with a `status` member does the answer come from CouchDB.
        success = SUCCESS | {HTTPStatus.NOT_FOUND}
        answer = await self._exchange.call("GET", names.server("/_up"), success=success)
        return answer.member("status", str) == "ok"

    async def session(self) -> dict[str, Any]:
        """The session as CouchDB sees it: `userCtx` with `name` and `roles`, and `info`."""
        answer = await self._call("GET", "/_session")
        answer.member("userCtx", dict)
        return expect(answer.value, dict, answer.request)

    async def uuids(self, count: int = 1) -> list[str]:
        """Fetch new ids from CouchDB.

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
        """Return a new id from CouchDB; ids are fetched in batches, and concurrent callers share a batch."""
        if self._ids:
            return self._ids.popleft()
        asked = self._id_calls.ask(object(), None)
        return await (told(self.observer, "id", asked) if self.observer else asked)

    async def _new_ids(self, callers: list[None]) -> list[str]:
        """Fetch ids for the callers that found none left, and keep the rest for later ones."""
        while len(self._ids) < len(callers):
            self._ids.extend(await self._fetch_uuids(self._uuid_batch))
        return [self._ids.popleft() for _ in callers]

    async def membership(self) -> tuple[list[str], list[str]]:
        """The names of the nodes that this one is connected to, and of those that belong to its cluster.

        https://docs.couchdb.org/en/stable/api/server/common.html#membership
        """
        answer = await self._call("GET", "/_membership")
        connected, members = answer.member("all_nodes", list), answer.member("cluster_nodes", list)
        return [str(each) for each in connected], [str(each) for each in members]

    async def setting(self, section: str, key: str) -> str | None:
        """A setting of the node, if it is set and this user may read it, which administrators may.

        https://docs.couchdb.org/en/stable/api/server/configuration.html
        """
        try:
            answer = await self._call("GET", f"/_node/_local/_config/{section}/{key}")
        except (NotFound, Unauthorized, Forbidden):
            return None
        return expect(answer.value, str, answer.request)

    async def add_node(self, name: str) -> bool:
        """Add a node to the cluster, such as "couchdb2@couchdb2.example"; the user must be an administrator.

        https://docs.couchdb.org/en/stable/cluster/nodes.html#adding-a-node

        Returns:
            False if it was a member already.

        Raises:
            ValueError: this is not the name of a node. CouchDB would accept any, and keep waiting for it.
        """
        try:
            await self._exchange.call("PUT", names.node(name), body={})
        except Conflict:
            return False
        return True

    async def databases(self, *, prefix: str = "", skip: int = 0, limit: int | None = None) -> list[str]:
        """The names of all databases, in CouchDB's order.

        Args:
            prefix: only those whose names begin so.
            skip: leave so many of them out.
            limit: return at most so many.
        """
        query = {"skip": str(skip)} if skip else {}
        if prefix:  # of the characters that names can have, `~` would come last
            query |= {"startkey": _json.dumps(prefix).decode(), "endkey": _json.dumps(f"{prefix}~").decode()}
        if limit is not None:
            query["limit"] = str(limit)
        answer = await self._call("GET", "/_all_dbs", query)
        return [expect(name, str, answer.request) for name in expect(answer.value, list, answer.request)]

    async def updates(self, *, since: str | int = "now", wait: float | None = None) -> DatabaseUpdates:
        """What has happened to the databases since a sequence; the user must be an administrator.

        https://docs.couchdb.org/en/stable/api/server/common.html#db-updates

        Args:
            since: a `last_seq`; "now" for only what happens from now on.
            wait: seconds to wait if nothing has happened yet; must be less than the client's `read` limit.

        Raises:
            Unauthorized, Forbidden: the user is not an administrator.
            NotFound: the server does not note it, since it has no database `_global_changes`.
        """
        query = {"since": str(since)}
        if wait is not None:
            query |= {"feed": "longpoll", "timeout": str(int(wait * 1000))}
        answer = await self._call("GET", "/_db_updates", query)
        rows = [expect(each, dict, answer.request) for each in answer.member("results", list)]
        found = [(expect(row.get("db_name"), str, answer.request), str(row.get("type"))) for row in rows]
        return DatabaseUpdates(found, answer.value.get("last_seq"))

    async def create_database(
        self, name: str, *, q: int | None = None, n: int | None = None, partitioned: bool = False
    ) -> bool:
        """Create a database.

        Args:
            name: its name, from a-z, 0-9 and `_$()+/-`, beginning with a letter.
            q: the number of shards.
            n: the number of copies of each shard.
            partitioned: whether document ids have the form PARTITION:ID.

        Returns:
            `accepted`: True if fewer nodes than the quorum have confirmed it so far (202), otherwise False.

        Raises:
            AlreadyExists: the database exists already.
            BadRequest: CouchDB does not allow the name.
            ValueError: a database cannot have this name.
        """
        query = {name: str(value) for name, value in (("q", q), ("n", n)) if value is not None}
        if partitioned:
            query["partitioned"] = "true"
        return (await self._exchange.call("PUT", names.database(name), query)).accepted

    async def delete_database(self, name: str) -> bool:
        """Delete a database with all its documents; returns `accepted`, as `create_database` does.

        Raises:
            NotFound: no database has this name.
        """
        return (await self._exchange.call("DELETE", names.database(name))).accepted

    async def close(self) -> None:
        """Close every connection; the client cannot be used afterwards."""
        await self._exchange.transport.close()

    async def _fetch_uuids(self, count: int) -> list[str]:
        answer = await self._call("GET", "/_uuids", {"count": str(count)})
        found = [expect(each, str, answer.request) for each in answer.member("uuids", list)]
        if not 0 < len(found) <= count:
            raise InvalidReply(f"{answer.request}: {len(found)} ids came although {count} were requested")
        return found

    async def _call(self, method: str, path: str, query: dict[str, str] | None = None) -> Answer:
        return await self._exchange.call(method, names.server(path), query)
