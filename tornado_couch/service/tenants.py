"""`Tenants`: a database for each tenant, opened when somebody uses it and closed when others need its place."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import logging
import re
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any, Protocol
from urllib.parse import unquote

from ..couch import Couch
from ..errors import NotFound
from ..installation import Installer
from ..models import CONFLICTS_VIEW, Model, design_documents, model_info
from ..store import ReadCache, Reconciler, SharedFeeds, Store
from ..web import Caller, Problem, RateLimit
from ..web.access import caller_identity
from .tenant_watch import TenantWatch

__all__ = ["Tenants"]

logger = logging.getLogger("tornado_couch.service")

_PLACE = re.compile(r"\{(hex|name)\}")
_BEGINNING = re.compile(r"[a-z][a-z0-9_$()+/-]*")
_REST = re.compile(r"[a-z0-9_$()+/-]*")  # https://docs.couchdb.org/en/stable/api/database/common.html#put--db
_LONGEST = 238  # characters of a database's name, in CouchDB 3.5
_KEYS = 200_000  # keys whose documents all stores together remember

TenantOf = Callable[[Caller], "str | Awaitable[str | None] | None"]
MayUse = Callable[[Caller, str], "bool | Awaitable[bool]"]


class Prepare(Protocol):
    """Makes everything that a tenant's database needs; called again if another process was cut off while it did so."""

    async def __call__(self, database: str, /) -> object: ...


@dataclass(eq=False)
class _Held:
    """A store that is open.

    Attributes:
        store: the store.
        users: how many requests use it now.
        checked: when its database was last seen.
        gone: whether the store must not be used by further requests.
    """

    store: Store
    checked: float
    users: int = 0
    gone: bool = False


class Tenants:
    """Gives each user, or each customer of a service, a database of their own. Mount it in the place of a store.

        tenants = Tenants(couch, models=[Note], create=True)
        app = Application([*resource("/notes", Note, tenants)], policy=Authenticated(accounts))

    Here every user has a database that is called as CouchDB itself calls them (`couch_peruser`): alice's notes are in
    `userdb-616c696365`. Nothing of one tenant is ever shown to another, or counted for them: each store has its own
    caches and groups, and a cursor, an idempotency key, a signed document or an encrypted value is good for one
    database alone.

    At most `most` stores are open at once. Where another one is needed, the one that was not used for the longest time
    is closed; one that a request still uses never is.

        async with tenants:
            await serve_until_stopped()

    Meanwhile one long poll tells of all databases that change, if the service may read `_db_updates`: a deleted one is
    noticed, and with `reconcile=True` conflicts are merged, also in databases that nobody uses. At the end, all stores
    are closed.

    Args:
        couch: the server. It needs the credentials of an admin to create databases.
        tenant: returns the name of the tenant that a `Caller` means, or None, which is answered with 404; see `by_path`
            and `by_host`. By default, each user is a tenant, so that an anonymous request is answered with 401.
        database: what the databases are called. `{hex}` stands for the tenant's name in hexadecimal digits, so that a
            tenant can have any name; `{name}` for the name as it is, so that a name that is none for a database is
            answered with 404.
        models: the models whose documents the databases contain.
        allow: whether a caller may use a tenant; if not, the answer is 404, as for one that does not exist. Without it
            a tenant that is not the user is open to the users whose accounts are in its database; see `BasicAccounts`.
        create: whether a tenant's first use makes its database; or a function that says so of a caller and a tenant.
        prepare: makes a database with everything in it; by default, an `Installer` with the models does.
        most: how many stores are open at once. Each takes a few KiB, and what its cache keeps; a request keeps its
            store from being closed, so there should be more than tenants who send requests at the same time.
        most_databases: how many databases there may be, by their names; for a further one the answer is 503. Several
            processes may exceed it by the few that they make at the same time.
        feeds: how many of the stores may follow their changes feed at once, if they have a cache. The `content_bytes`
            of the cache are those of all of them together.
        opening: how many times each caller may ask for a store that is not open; what is beyond is answered with 429.
            So nobody can empty the cache, or search for tenants, by using many of them.
        reconcile: merge documents in conflict in the background, as `Reconciler` does, in databases that change or that
            somebody begins to use.
        interval: how many seconds pass between two looks at a database in use, where `_db_updates` cannot be read.
        wait: how many seconds a request waits for a place where all stores are in use; then the answer is 503.
        recheck: after this many seconds a database is looked for again, since it may have been deleted.
        clock: returns seconds that never go back.
        **options: the further arguments of each `Store`, such as `signer` and `cache`.

    Raises:
        ValueError: no database can have such a name, or a number is not positive.
    """

    def __init__(
        self,
        couch: Couch,
        tenant: TenantOf | None = None,
        *,
        database: str = "userdb-{hex}",
        models: Iterable[type[Model]] = (),
        allow: MayUse | None = None,
        create: bool | MayUse = False,
        prepare: Prepare | None = None,
        most: int = 1000,
        most_databases: int = 10_000,
        feeds: int = 20,
        opening: RateLimit | None = None,
        reconcile: bool = False,
        interval: float = 5.0,
        wait: float = 5.0,
        recheck: float = 60.0,
        clock: Callable[[], float] = time.monotonic,
        **options: Any,
    ) -> None:
        if min(most, most_databases, feeds) < 1 or min(wait, recheck, interval) <= 0:
            raise ValueError("every limit of the tenants must be greater than 0")
        self._before, self._way, self._after = _parts(database)
        self.server = couch
        self._tenant = tenant
        self._models = tuple(dict.fromkeys(models))
        self._wanted = {each["_id"] for model in self._models for each in design_documents(model)}
        self._wanted.add(f"_design/{CONFLICTS_VIEW}")
        self._allow, self._create = allow, create
        self._prepare = prepare or self._install
        self._most, self._most_databases = most, most_databases
        self._opening = RateLimit(100, 60, name="tenants") if opening is None else opening
        self._wait, self._recheck, self._clock = wait, recheck, clock
        self._options = _bounded(options, most, feeds)
        self._held: OrderedDict[str, _Held] = OrderedDict()  # the one that was used last is at the end
        self._looking: dict[tuple[str, bool], asyncio.Task[None]] = {}
        self._making = 0
        self._freed = asyncio.Event()
        self._closed = False
        self._reconcile = reconcile
        self._watch = TenantWatch(
            couch, concerns=self._concerns, deleted=self._recheck_soon, in_use=lambda: self.open_databases,
            look=self._merge, interval=interval,
        )  # fmt: skip

    # ------------------------------------------------------------ which tenant

    @staticmethod
    def by_path(template: str) -> Callable[[Caller], str | None]:
        """Return a function that takes the tenant's name from the path of a request.

        Args:
            template: how the path begins, such as "/customers/{tenant}".

        Raises:
            ValueError: the template does not have `{tenant}` once, between slashes.
        """
        before, found, after = template.partition("{tenant}")
        if not found or not before.endswith("/") or (after and not after.startswith("/")) or "{" in before + after:
            raise ValueError(f"{template!r} must have the segment {{tenant}} once, as in /customers/{{tenant}}")
        pattern = re.compile(rf"{re.escape(before)}([^/]+){re.escape(after.rstrip('/'))}(?:/|\Z)")

        def tenant(caller: Caller) -> str | None:
            match = pattern.match(caller.request.path)
            try:
                return unquote(match[1], errors="strict") if match else None
            except UnicodeDecodeError:
                return None

        return tenant

    @staticmethod
    def by_host(template: str) -> Callable[[Caller], str | None]:
        """Return a function that takes the tenant's name from the host that a request is sent to.

        Args:
            template: the host, such as "{tenant}.example.com"; a port does not count.

        Raises:
            ValueError: the template does not have `{tenant}` once.
        """
        before, found, after = template.lower().partition("{tenant}")
        if not found or "{" in after:
            raise ValueError(f"{template!r} must have {{tenant}} once, as in {{tenant}}.example.com")
        pattern = re.compile(rf"{re.escape(before)}([a-z0-9-]+){re.escape(after)}(?::\d+)?")

        def tenant(caller: Caller) -> str | None:
            match = pattern.fullmatch(caller.request.host.lower())
            return match[1] if match else None

        return tenant

    def database_name(self, tenant: str) -> str | None:
        """Return what the database of a tenant is called; None if no database can be called so."""
        middle = tenant
        if self._way == "hex":
            try:
                middle = tenant.encode().hex()
            except UnicodeEncodeError:  # a lone surrogate
                return None
        found = f"{self._before}{middle}{self._after}"
        return found if middle and _REST.fullmatch(middle) and len(found) <= _LONGEST else None

    @property
    def pattern(self) -> str:
        """The pattern that all names of the databases match, such as `userdb-*`, for `tornado-couch … --each`."""
        return f"{self._before}*{self._after}"

    def check(self, model: type[Model]) -> None:
        """Refuse a model that the databases are not made for.

        Raises:
            ValueError: it is not among `models`.
            KeySetError: it has encrypted properties, and there are no keys.
        """
        if model not in self._models:
            name = model_info(model).type.name
            raise ValueError(f"the databases of the tenants are not made for {name}: add it to Tenants(models=…)")
        Store(self.server[f"{self._before}0{self._after}"], **self._options).check(model)

    # ------------------------------------------------------------ stores

    @property
    def open_databases(self) -> list[str]:
        """The names of the databases whose stores are open, the one that was used last at the end."""
        return list(self._held)

    @asynccontextmanager
    async def __call__(self, caller: Caller) -> AsyncIterator[Store]:
        """Open the store of a caller's tenant for the duration of a block; a resource does it for each request.

        Raises:
            Problem: 401, the caller is anonymous; 404, there is no such tenant, or not for this caller; 429, the caller
                used too many of them; 503, all stores are in use, or there are too many databases.
        """
        tenant = await self._named(caller)
        database = self.database_name(tenant) if tenant is not None else None
        if tenant is None or database is None or not await self._may_use(caller, tenant, database):
            raise Problem.of("no-such-tenant")
        if not self._is_fresh(database):
            self._count(caller, database)
            await self._look(database, create=not caller.authenticating and await self._may_create(caller, tenant))
        async with self._used(database) as store:
            yield store

    @asynccontextmanager
    async def open(self, tenant: str, *, create: bool = False) -> AsyncIterator[Store]:
        """Open the store of a tenant for the duration of a block, outside of a request.

        Args:
            tenant: the tenant's name.
            create: whether to make the database, if there is none.

        Raises:
            Problem: 404, there is no such tenant; 503, all stores are in use, or there are too many databases.
        """
        database = self.database_name(tenant)
        if database is None:
            raise Problem.of("no-such-tenant")
        if create or not self._is_fresh(database):
            await self._look(database, create=create)
        async with self._used(database) as store:
            yield store

    async def close(self) -> None:
        """Close every store. Requests that still use one can end, but no further one is opened."""
        self._closed = True
        self._freed.set()
        await self._watch.stop()
        tasks = [*self._looking.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        while self._held:
            _, held = self._held.popitem()
            await held.store.close()

    async def __aenter__(self) -> Tenants:
        self._watch.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    # ------------------------------------------------------------ who may use it

    async def _named(self, caller: Caller) -> str | None:
        if self._tenant is not None:
            found = self._tenant(caller)
            return await found if inspect.isawaitable(found) else found
        if caller.authenticating:
            raise RuntimeError(
                "accounts cannot be in the databases of users who are not known yet: keep them in one store, or give"
                " Tenants a function that says which tenant a request means, such as Tenants.by_path(…)"
            )
        if caller.principal is None:
            raise Problem.of("authentication-required")
        return caller.principal.name

    async def _may_use(self, caller: Caller, tenant: str, database: str) -> bool:
        if caller.authenticating:
            return True
        home = caller.principal.tenant if caller.principal else ""
        if home and home != database:
            return False  # another tenant's user, whatever their name is
        if self._allow is not None:
            return await _said(self._allow, caller, tenant)
        return self._tenant is None or home == database

    def _count(self, caller: Caller, database: str) -> None:
        """Count one more store that a caller asks for although it is not open.

        Raises:
            Problem: 429, they have asked for too many.
        """
        if database in self._held or any((database, create) in self._looking for create in (False, True)):
            return
        decision = self._opening.decide(caller_identity(caller.principal, caller.request.remote_ip))
        if not decision.allowed:
            raise decision.problem()

    async def _may_create(self, caller: Caller, tenant: str) -> bool:
        return self._create if isinstance(self._create, bool) else await _said(self._create, caller, tenant)

    # ------------------------------------------------------------ databases

    def _is_fresh(self, database: str) -> bool:
        held = self._held.get(database)
        return held is not None and self._clock() - held.checked < self._recheck

    async def _look(self, database: str, *, create: bool) -> None:
        """See that the database is there, or make it: once for all who ask at the same time.

        Raises:
            Problem: 404, there is none; 503, there are too many.
        """
        key = database, create
        task = self._looking.get(key)
        if task is None:
            # It gets a context of its own, since it belongs to no single request.
            made = contextvars.Context().run(asyncio.create_task, self._find_or_make(database, create))
            task = self._looking[key] = made
            task.add_done_callback(lambda done: self._looked(key, done))
        try:
            await asyncio.shield(task)  # others may wait for it when this caller goes away
        except asyncio.CancelledError:
            if self._closed and task.cancelled():
                raise Problem.of("tenants-busy", headers={"Retry-After": "1"}) from None
            raise

    def _looked(self, key: tuple[str, bool], task: asyncio.Task[None]) -> None:
        self._looking.pop(key, None)
        if not task.cancelled():
            task.exception()  # perhaps nobody waits any more

    async def _find_or_make(self, database: str, create: bool) -> None:
        there = await self._design_documents(database)
        held = self._held.get(database)
        if there is None:
            if held is not None:
                await self._forget(database, held)
            if not create:
                logger.info("there is no database %s, and this request may not have it made (`create`)", database)
                raise Problem.of("no-such-tenant")
            await self._make(database)
        elif create and not self._wanted <= there:
            await self._prepare(database)  # whoever made it was cut off
        if there is not None and held is not None:
            held.checked = self._clock()

    async def _design_documents(self, database: str) -> set[str] | None:
        """The ids of the design documents of a database; None if there is no such database."""
        try:
            rows = (await self.server[database].all_docs(startkey="_design/", endkey="_design0")).rows
        except NotFound:
            return None
        return {row.id for row in rows if row.id}

    async def _make(self, database: str) -> None:
        self._making += 1
        try:
            # One name is enough to know that there are as many as there may be, with those that are being made.
            skip = max(0, self._most_databases - self._making)
            others = await self.server.databases(prefix=self._before, skip=skip, limit=1)
            if others or self._making > self._most_databases:
                raise Problem.of("tenants-full", headers={"Retry-After": "60"})
            await self._prepare(database)
        finally:
            self._making -= 1

    def _concerns(self, database: str) -> bool:
        return database.startswith(self._before) and database.endswith(self._after)

    def _recheck_soon(self, database: str) -> None:
        if held := self._held.get(database):
            held.checked = float("-inf")

    async def _merge(self, database: str) -> None:
        """Merge the documents in conflict of a database, with a store that takes no place from requests."""
        if not self._reconcile:
            return
        store = Store(self.server[database], **{**self._options, "cache": False})
        try:
            conflicts = await store.database.view(CONFLICTS_VIEW, CONFLICTS_VIEW, limit=1, reduce=False)
        except NotFound:
            return  # it was deleted, or is about to be made
        if conflicts.rows:
            await Reconciler(store, self._models).once()

    async def _install(self, database: str) -> object:
        return await Installer(self.server, database=database, models=self._models).install()

    # ------------------------------------------------------------ places

    @asynccontextmanager
    async def _used(self, database: str) -> AsyncIterator[Store]:
        held = await self._hold(database)
        try:
            yield held.store
        finally:
            held.users -= 1
            if not held.users:
                self._freed.set()
                if held.gone:
                    await held.store.close()

    async def _hold(self, database: str) -> _Held:
        """Return the open store, with this request among its users; wait for a place if there is none.

        Raises:
            Problem: 503.
        """
        over = self._clock() + self._wait
        while (held := self._held.get(database)) is None:
            if self._closed:
                raise Problem.of("tenants-busy", headers={"Retry-After": "1"})
            if len(self._held) < self._most:
                store = Store(self.server[database], **self._options)
                held = self._held[database] = _Held(store, self._clock())
                self._watch.wake(database)
                break
            idle = next((name for name, each in self._held.items() if not each.users), None)
            if idle is not None:
                await self._held.pop(idle).store.close()
                continue
            await self._freed_within(over - self._clock())
        held.users += 1
        self._held.move_to_end(database)
        return held

    async def _freed_within(self, seconds: float) -> None:
        self._freed.clear()
        try:
            async with asyncio.timeout(seconds):
                await self._freed.wait()
        except TimeoutError:
            raise Problem.of("tenants-busy", headers={"Retry-After": "1"}) from None

    async def _forget(self, database: str, held: _Held) -> None:
        """Let further requests have a new store; this one is closed once nobody uses it."""
        if self._held.get(database) is held:
            del self._held[database]
            self._freed.set()
        held.gone = True
        if not held.users:
            await held.store.close()


def _parts(database: str) -> tuple[str, str, str]:
    """What stands before the tenant's name in that of its database, how the name is written, and what follows."""
    pieces = _PLACE.split(database)
    if len(pieces) != 3 or not _BEGINNING.fullmatch(pieces[0]) or not _REST.fullmatch(pieces[2]):
        raise ValueError(
            f"database={database!r} must begin with a lower-case letter and have one {{hex}} or {{name}}, as in"
            " userdb-{hex}; beside it only a-z, 0-9 and _$()+/- are allowed"
        )
    return pieces[0], pieces[1], pieces[2]


def _bounded(options: dict[str, Any], most: int, feeds: int) -> dict[str, Any]:
    """The arguments of each store, so that all of them together need no more memory than one would."""
    found = {"remembered_keys": max(_KEYS // most, 100), "bind_encryption": True, **options}
    cache = options.get("cache", False)
    if cache:
        limits = ReadCache() if cache is True else cache
        each = max(1, limits.content_bytes // feeds)
        found["cache"] = replace(limits, content_bytes=each, feeds=SharedFeeds(feeds))
    return found


async def _said(may: MayUse, caller: Caller, tenant: str) -> bool:
    found = may(caller, tenant)
    return await found if inspect.isawaitable(found) else found
