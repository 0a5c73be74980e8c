"""`TenantWatch`: hears what happens to the databases of tenants, and has those looked at that changed.

One long poll of `_db_updates` for each process tells of all databases, so that nothing has to follow those that nobody
uses. Where the service may not read it, which only admins can, the databases in use are looked at now and then.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable

from ..couch import Couch
from ..errors import BadRequest, CouchError, Forbidden, NotFound, TornadoCouchError, Unauthorized

__all__ = ["TenantWatch"]

logger = logging.getLogger("tornado_couch.service")

_WAIT = 10.0  # seconds of a long poll
_PAUSE = 0.5  # seconds between two of them: what happens meanwhile comes together
_AT_ONCE = 2  # databases that are looked at


class TenantWatch:
    """Follows the databases of tenants in the background.

    Args:
        couch: the server.
        concerns: whether a database is one of a tenant.
        deleted: called with the name of one that was deleted, and perhaps made again since.
        in_use: returns the names of those that are in use.
        look: looks at a database that changed, or that somebody began to use.
        interval: seconds between two looks at a database in use, where `_db_updates` cannot be read.

    Attributes:
        hears: whether it hears of all databases; None until that is known.
    """

    def __init__(
        self,
        couch: Couch,
        *,
        concerns: Callable[[str], bool],
        deleted: Callable[[str], None],
        in_use: Callable[[], Iterable[str]],
        look: Callable[[str], Awaitable[None]],
        interval: float,
    ) -> None:
        self._couch = couch
        self._concerns, self._deleted, self._in_use, self._look = concerns, deleted, in_use, look
        self._interval = interval
        self._waiting: dict[str, None] = {}  # in the order in which they changed
        self._woken = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self.hears: bool | None = None

    def start(self) -> None:
        """Start in the background of the running event loop."""
        work = [self._listen(), *(self._look_at_all() for _ in range(_AT_ONCE))]
        self._tasks = [asyncio.create_task(each) for each in work]

    async def stop(self) -> None:
        """Stop; what is being looked at is not awaited."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []

    def wake(self, name: str) -> None:
        """Have a database looked at soon."""
        if self._tasks:
            self._waiting[name] = None
            self._woken.set()

    async def _listen(self) -> None:
        since: str | int = "now"
        while True:
            try:
                page = await self._couch.updates(since=since, wait=None if since == "now" else _WAIT)
            except BadRequest:
                since = "now"  # the sequence belongs to another server
            except (Unauthorized, Forbidden, NotFound) as error:
                await self._poll(error)
            except (CouchError, RuntimeError) as error:  # RuntimeError: the client was closed
                logger.warning("the changes of the tenants' databases are not heard of: %s", error)
                await asyncio.sleep(self._interval)
            else:
                since, self.hears = page.last_seq, True
                self._hear(page.results)
            await asyncio.sleep(_PAUSE)

    def _hear(self, results: Iterable[tuple[str, str]]) -> None:
        for name, kind in results:
            if not self._concerns(name):
                continue
            if kind == "deleted":
                self._deleted(name)
            else:
                self.wake(name)

    async def _poll(self, error: CouchError) -> None:
        """Look at the databases in use, a few times before `_db_updates` is asked for again."""
        if self.hears is not False:  # said once
            logger.warning("_db_updates cannot be read, so only databases in use are looked at: %s", error)
        self.hears = False
        for _ in range(12):
            for name in self._in_use():
                self.wake(name)
            await asyncio.sleep(self._interval)

    async def _look_at_all(self) -> None:
        while True:
            while not self._waiting:
                self._woken.clear()
                await self._woken.wait()
            name = next(iter(self._waiting))
            del self._waiting[name]
            try:
                await self._look(name)
            except TornadoCouchError as error:
                logger.warning("the database %s could not be looked at: %s", name, error)
                await asyncio.sleep(self._interval)
                self.wake(name)
