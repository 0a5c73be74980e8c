"""`tornado-couch reconcile`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

import click

from ..errors import TornadoCouchError, Unmergeable
from ..models import Model, model_info
from ..store import Conflicted, ConflictPage, ReconcileResult, Store, conflicts_since, reconcile_all
from .audit import Finding
from .commanding import database_at, told
from .connecting import connection_of, connection_options
from .key_options import rotation_key_options, store_keys
from .loading import load_models
from .progress import progress
from .tally import Tally, run_tallied

__all__ = ["reconcile"]


@click.command()
@click.argument("database_url", envvar="TORNADO_COUCH_DATABASE_URL")
@connection_options
@click.option(
    "--models", required=True, metavar="MODULE[:MODELS]", help="The models whose documents are to be merged."
)
@rotation_key_options
@click.option("--dry-run", is_flag=True, help="Write nothing; say what the rules can merge, and what they cannot.")
@click.option("--since", default="0", show_default=True, help="Where to begin: what a run printed.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@told
def reconcile(database_url: str, models: str, dry_run: bool, since: str, as_json: bool, **options: Any) -> None:
    """Merge the documents in conflict by their models' rules; readers and writers may go on meanwhile.

    DATABASE_URL is such as http://127.0.0.1:5984/orchard; where none is given, TORNADO_COUCH_DATABASE_URL has it.

    With --keys documents are verified and signed, without it the database is one without signatures. Values that
    are encrypted need --crypter, or --keys where that is not given; what is merged is never encrypted anew.

    What the rules leave in conflict is reported. The exit status is 0 where no conflict is left, 1 where one is,
    2 where the work could not be done. An interrupted run tells where to go on.
    """
    connection = connection_of(options)
    keys = store_keys(options)
    known, tally = load_models(models), Tally(since)

    async def run() -> None:
        async with database_at(database_url, connection) as database:
            store = Store(database, **keys)
            for cls in known:
                store.check(cls)
            with progress() as advance:
                async for page in conflicts_since(database, since):
                    work = _Work(store, known, dry_run)
                    await work.through(page)
                    tally.add(page.since or since, work.findings, examined=len(page.examined), **work.counts)
                    advance(len(page.examined), page.pending)

    run_tallied(run, tally, as_json)


class _Work:
    """What became of one page of documents in conflict."""

    def __init__(self, store: Store, models: list[type[Model]], dry_run: bool) -> None:
        self._store = store
        self._models = {model_info(cls).type.name: cls for cls in models}
        self._dry_run = dry_run
        self.counts: Counter[str] = Counter({"to merge" if dry_run else "merged": 0})
        self.findings: list[Finding] = []

    async def through(self, page: ConflictPage) -> None:
        """Merge, or see what could be merged."""
        self.counts["passed by"] += sum(each.type_name not in self._models for each in page.conflicts)
        if self._dry_run:
            await self._look(page.conflicts)
        else:
            await reconcile_all(self._store, self._models.values(), page.conflicts, self._done)
        if not self.counts["passed by"]:
            del self.counts["passed by"]

    async def _look(self, conflicts: Iterable[Conflicted]) -> None:
        reconciliation = self._store.reconciliation
        for each in conflicts:
            cls = self._models.get(each.type_name)
            found = await reconciliation.read(each.id)
            if cls is None or len(found.revisions) < 2:
                continue
            try:
                await reconciliation.preview(cls, found)
                self.counts["to merge"] += 1
            except Unmergeable as refused:
                self._left(each.id, found.revisions[0], refused.problems)

    def _done(self, conflict: Conflicted, outcome: ReconcileResult | TornadoCouchError) -> None:
        if isinstance(outcome, TornadoCouchError):
            self.findings.append(Finding(conflict.id, "", str(outcome)))
        elif outcome.problems:
            self._left(outcome.id, outcome.revision, outcome.problems)
        else:
            self.counts["merged"] += 1

    def _left(self, document_id: str, revision: str | None, problems: list[dict[str, str]]) -> None:
        reason = "; ".join(f"{each['pointer']} {each['detail']}".strip() for each in problems)
        self.findings.append(Finding(document_id, revision or "", reason))
