"""Sets up everything that a service needs in CouchDB: its database, access rights, design documents and seeds.

    installer = Installer(couch, database="orchard", models=[Fruit], design_docs="design/", seeds="seeds/")
    plan = await installer.plan()
    print(plan.text)
    await installer.apply(plan)

It can run again at any time, and in several processes at once: what exists already is left alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..couch import Couch, Database, Timeout
from ..errors import AlreadyExists, BadRequest, InstallError, NotFound, SecurityError
from ..models import VALIDATION_DOCUMENT, Model, model_info
from ..security import Scheme
from ..store import Store
from ..store.protection.signatures import Guard, NoGuard, SignatureGuard, check_revisions
from .access import ApplicationUser, security_steps, user_steps
from .design_documents import DesignDocuments, Report
from .desired import Wanted, read_wanted, wanted_check
from .plan import Plan, Step

__all__ = ["Installer", "install"]

Told = tuple[list[Step], list[str]]
# CouchDB answers when an index is built, and goes on building if nobody waits any longer.
_INDEX_TIMEOUT = Timeout(read=600.0, total=600.0)
# CouchDB removes the files of a database a little after it has answered that it is deleted, and answers 500 until
# then. It names them by the second of their creation: a database created again in that second would lose its files.
_VANISHING_SECONDS = 1.0


async def install(couch: Couch, database: str, models: Iterable[type[Model]]) -> list[str]:
    """Create the database and the design documents that are missing or out of date, including that of conflicts.

    It is the same as `Installer(couch, database=database, models=models).install()`.

    Args:
        couch: the server, with the credentials of an admin.
        database: the name of the database.
        models: the models whose documents the database contains.

    Returns:
        What was done, one sentence for each step; empty if everything was in place.
    """
    return await Installer(couch, database=database, models=models).install()


def _no_report(_done: int, _pending: int | None) -> None:
    """Ignore the progress."""


_SEEDS = "seed documents"


class Installer:
    """Sets up one database for a service.

    Args:
        couch: the server, with the credentials of an admin.
        database: the name of the database.
        models: the models whose documents the database contains.
        design_docs: a folder of further design documents; see `installation.files`.
        seeds: a folder of documents that must exist; see `installation.files`.
        q, n, partitioned: for a database that is created: the number of shards, of copies of each, and whether ids
            have the form PARTITION:ID, which models with `partition=` need. An existing database keeps its own.
        create: False if the database must exist already.
        delete: delete the database first, with everything in it; with `create=False` do nothing else.
        create_design: False to leave all design documents as they are.
        security: `admins` and `members`, each with `names` and `roles`: the given lists are set, everything else
            stays as it is.
        user: the service's own user, which is created and made a member of the database by its role.
        validate: True to let CouchDB check each write against the models (`database_check`), False to stop that,
            None to leave it as it is, with an existing check kept up to date. Before you turn it on, see
            docs/installing.md: documents that do not fit their model can then no longer be written.
        prune: remove the design documents that came from these models and this folder and are no longer wanted.
        signer, crypter, indexer, scheme: for the seed documents, as `Store` takes them.
        report: called with the progress of an index: the number of changes since the last call, and those to come.
    """

    def __init__(
        self,
        couch: Couch,
        *,
        database: str,
        models: Iterable[type[Model]] = (),
        design_docs: str | Path | None = None,
        seeds: str | Path | None = None,
        q: int | None = None,
        n: int | None = None,
        partitioned: bool = False,
        create: bool = True,
        delete: bool = False,
        create_design: bool = True,
        security: Mapping[str, Any] | None = None,
        user: ApplicationUser | None = None,
        validate: bool | None = None,
        prune: bool = False,
        signer: object = None,
        crypter: object = None,
        indexer: object = None,
        scheme: Scheme = Scheme.V3,
        report: Report = _no_report,
    ) -> None:
        try:
            self._database: Database = couch[database]
        except ValueError as error:
            raise InstallError(f"{database!r} cannot be the name of a database: {error}") from None
        self._couch = couch
        self._models = tuple(dict.fromkeys(models))
        self._design_docs = None if design_docs is None else Path(design_docs)
        self._seeds = None if seeds is None else Path(seeds)
        partitioned = partitioned or any(model_info(model).partition for model in self._models)
        self._shape: dict[str, Any] = {"q": q, "n": n, "partitioned": partitioned}
        self._create, self._delete, self._create_design = create, delete, create_design
        self._security, self._user = security or {}, user
        self._validate, self._prune = validate, prune
        self._store = Store(self._database, signer=signer, crypter=crypter, indexer=indexer, scheme=scheme)
        self._guard: Guard = NoGuard()
        if signer is not None:
            self._guard = SignatureGuard(self._database, signer, scheme=scheme)
        self._scheme = Scheme(scheme)
        self._report = report

    async def install(self) -> list[str]:
        """Plan and apply, and return what was done, one sentence for each step.

        Raises:
            InstallError: what should be installed is wrong; nothing was done.
            CouchError: CouchDB refused something, or cannot be reached.
        """
        return await self.apply(await self.plan())

    async def plan(self) -> Plan:
        """Compare the database with the wanted state, without changing anything.

        Raises:
            InstallError, CouchError: as in `install`.
        """
        wanted = await asyncio.to_thread(read_wanted, self._models, self._design_docs, self._seeds)
        await self._couch.check()  # another server may take what is written for something else
        found = await self._info()
        there = None if self._delete else found
        told = [self._begin(found)]
        if there is not None or self._create:
            told.append(await self._access(fresh=there is None))
            told.append(await self._design(wanted, there))
            told.append((await wanted.seeds.steps(self._store, self._guard, fresh=there is None), []))
        steps = tuple(step for some, _ in told for step in some)
        return Plan(self._database.name, self._couch.url, steps, tuple(text for _, some in told for text in some))

    async def apply(self, plan: Plan) -> list[str]:
        """Carry out the steps of a plan, in order; what another installer did meanwhile is not done again.

        Returns:
            What was done, one sentence for each step.

        Raises:
            CouchError: CouchDB refused something, or cannot be reached; a later run continues from there.
        """
        done, checked = [], False
        for step in plan.steps:
            if step.kind == _SEEDS and not checked:
                await self._check_revisions()
                checked = True
            done.append(await step.work())
        if not checked and self._create:
            await self._check_revisions()
        return [each for each in done if each is not None]

    async def _check_revisions(self) -> None:
        """Refuse to sign by scheme v3 where the server computes revisions otherwise.

        Raises:
            InstallError: it says what to do.
        """
        if self._scheme is not Scheme.V3 or isinstance(self._guard, NoGuard):
            return
        try:
            await check_revisions(self._database)
        except SecurityError as error:
            raise InstallError(f"{self._couch.url}: {error}") from None

    async def _info(self) -> dict[str, Any] | None:
        with self._named():
            try:
                return await self._database.info()
            except NotFound:
                return None

    @contextmanager
    def _named(self) -> Iterator[None]:
        """Turn CouchDB's refusal of a database name into an `InstallError`."""
        try:
            yield
        except BadRequest as error:
            raise InstallError(f"{self._database.name!r}: {error.reason}") from None

    def _begin(self, found: Mapping[str, Any] | None) -> Told:
        """Plan what happens to the database itself."""
        name = self._database.name
        steps = []
        if found is not None and not self._delete:
            return [], self._misshapen(found)
        if found is None and not self._create and not self._delete:
            raise InstallError(f"the database {name} does not exist")
        if found is not None:
            steps.append(Step("delete", "database", name, f"{found['doc_count']} documents", work=self._delete_it))
        if self._create:
            shape = ", ".join(f"{name}={value}" for name, value in self._shape.items() if value)
            steps.append(Step("create", "database", name, shape, work=self._create_it))
        return steps, []

    def _misshapen(self, found: Mapping[str, Any]) -> list[str]:
        """Warnings about an existing database with another shape, which can only be chosen when it is created."""
        cluster = found.get("cluster", {})
        now = {"q": cluster.get("q"), "n": cluster.get("n"), "partitioned": _is_partitioned(found)}
        return [
            f"the database has {name}={now[name]} instead of {name}={wanted}; only a new database can have that"
            for name, wanted in self._shape.items()
            if wanted and now[name] != wanted
        ]

    async def _delete_it(self) -> str | None:
        try:
            await self._couch.delete_database(self._database.name)
        except NotFound:
            return None
        await asyncio.sleep(_VANISHING_SECONDS)
        return f"deleted database {self._database.name}"

    async def _create_it(self) -> str | None:
        with self._named():
            try:
                await self._couch.create_database(self._database.name, **self._shape)
            except AlreadyExists:
                return None
        return f"created database {self._database.name}"

    async def _access(self, *, fresh: bool) -> Told:
        """Plan the security object and the user."""
        name, user = self._database.name, self._user
        steps, warnings = await user_steps(self._couch, user, name) if user else ([], [])
        role = user.role_for(name) if user else None
        return [*steps, *await security_steps(self._database, self._security, role, fresh=fresh)], warnings

    async def _design(self, wanted: Wanted, there: Mapping[str, Any] | None) -> Told:
        """Plan the design documents: those of views, and the one that checks writes."""
        if not self._create_design:
            return [], []
        info = there or {}
        designs = DesignDocuments(
            self._database,
            patient=self._couch.database(self._database.name, timeout=_INDEX_TIMEOUT),
            report=self._report,
            populated=bool(info.get("doc_count")),
            shards=info.get("cluster", {}).get("q", 1),
        )
        stored = await designs.read() if there is not None else {}
        partitioned = self._shape["partitioned"] if there is None else _is_partitioned(there)
        documents = wanted.design_documents(partitioned=partitioned)
        now = stored.get(VALIDATION_DOCUMENT)
        check, warnings = await asyncio.to_thread(wanted_check, self._models, now, self._validate)
        steps = designs.steps([*documents, *([check] if check else [])], stored)
        if now is not None and self._validate is False:
            steps.append(designs.removal(now))
        stale = designs.unwanted([*documents, {"_id": VALIDATION_DOCUMENT}], stored, wanted.origins)
        if self._prune:
            steps += stale
        else:
            warnings += [f"{each.name} is no longer wanted; pass `prune` to remove it" for each in stale]
        if any(each.action in ("rebuild", "remove") for each in steps):
            steps.append(designs.cleaning())
        return steps, warnings


def _is_partitioned(info: Mapping[str, Any]) -> bool:
    return bool(info.get("props", {}).get("partitioned"))
