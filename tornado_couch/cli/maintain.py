"""`tornado-couch migrate`, `reconcile`, `audit`, `clear`, `rotate`, `sweep` and `policy-report`."""

from __future__ import annotations

import asyncio
import dataclasses
from collections import Counter
from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path
from typing import Any

import click

from .. import _json
from ..couch import Database
from ..errors import ModelDefinitionError, TornadoCouchError, Unmergeable
from ..maintain.anchor import AnchoredAudit
from ..maintain.audit import Finding
from ..maintain.audit import audit as audit_database
from ..maintain.clearing import Clearing
from ..maintain.migrate import Migration
from ..maintain.policy_report import UNCLASSIFIED, policy_json, policy_report, policy_table
from ..maintain.rotate import Rotation
from ..maintain.sweep import sweep as sweep_database
from ..models import Model, model_info
from ..security import Scheme
from ..service.references import load_models
from ..store import Conflicted, ConflictPage, ReconcileResult, Reprotection, Store, conflicts_since, reconcile_all
from .each import chosen_of, databases_options, work_on
from .options import (
    FINDINGS,
    audit_keys,
    connection_of,
    database_options,
    key_set_options,
    rotation_key_options,
    rotation_keys,
    store_keys,
    told,
)
from .report import Advance, Tally, progress, run_tallied

__all__ = ["audit", "clear", "migrate", "policy_report_command", "reconcile", "rotate", "sweep"]


@click.command()
@databases_options
@click.option("--models", required=True, metavar="MODULE[:MODELS]", help="The models whose documents to migrate.")
@rotation_key_options
@click.option("--dry-run", is_flag=True, help="Write nothing; only count the documents that would be migrated.")
@click.option("--since", default="0", show_default=True, help="Where to begin: the value that a run printed.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
@told
def migrate(url: str, models: str, dry_run: bool, since: str, as_json: bool, **options: Any) -> None:
    """Rewrite documents in their model's current version.

    The service may keep running meanwhile.

    With --keys, documents are verified and signed; without it, the database has no signatures. Values are encrypted
    with --crypter, or with --keys if --crypter is not given.

    Documents that cannot be migrated are reported and left unchanged. The exit status is 0 on success, 1 if some
    documents could not be migrated, and 2 if the command failed. An interrupted run prints where to resume.

    With --each, a failure on one database does not stop the work on the others; the exit status is then 2.
    """
    chosen = chosen_of(options, since)
    connection = connection_of(options)
    keys = store_keys(options)
    known = load_models(models)

    async def work(opened: Database, tally: Tally, advance: Advance) -> None:
        migration = Migration(Store(opened, **keys), known, dry_run=dry_run)
        async for page in migration.run(since=tally.since):
            counts = {"to migrate" if dry_run else "migrated": page.migrated, "current": page.current}
            tally.add(page.since, page.findings, **counts, **({"kept": page.kept} if page.kept else {}))
            advance(page.migrated + page.current + page.kept, page.pending)

    work_on(connection, url, chosen, since, work, as_json=as_json)


@click.command()
@database_options
@click.option("--models", required=True, metavar="MODULE[:MODELS]", help="The models whose documents to merge.")
@rotation_key_options
@click.option(
    "--dry-run", is_flag=True, help="Write nothing; only report what the rules can merge and what they cannot."
)
@click.option("--since", default="0", show_default=True, help="Where to begin: the value that a run printed.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
@told
def reconcile(url: str, database: str, models: str, dry_run: bool, since: str, as_json: bool, **options: Any) -> None:
    """Merge conflicting documents by their models' rules.

    The service may keep running meanwhile.

    With --keys, documents are verified and signed; without it, the database has no signatures. Encrypted values
    are read with --crypter, or with --keys if --crypter is not given; merging never encrypts values anew.

    Conflicts that the rules cannot resolve are reported. The exit status is 0 if no conflicts remain, 1 if some
    remain, and 2 if the command failed. An interrupted run prints where to resume.
    """
    connection = connection_of(options)
    keys = store_keys(options)
    known, tally = load_models(models), Tally(since)

    async def run() -> None:
        async with connection.database(url, database) as opened:
            store = Store(opened, **keys)
            for cls in known:
                store.check(cls)
            with progress() as advance:
                async for page in conflicts_since(opened, since):
                    work = _Work(store, known, dry_run)
                    await work.through(page)
                    tally.add(page.since or since, work.findings, examined=len(page.examined), **work.counts)
                    advance(len(page.examined), page.pending)

    run_tallied(run, tally, as_json)


class _Work:
    """The results for one page of conflicting documents."""

    def __init__(self, store: Store, models: list[type[Model]], dry_run: bool) -> None:
        self._store = store
        self._models = {model_info(cls).type.name: cls for cls in models}
        self._dry_run = dry_run
        self.counts: Counter[str] = Counter({"to merge" if dry_run else "merged": 0})
        self.findings: list[Finding] = []

    async def through(self, page: ConflictPage) -> None:
        """Merge the conflicts, or only find out which could be merged."""
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


_FILE = click.Path(path_type=Path, dir_okay=False)
_SINCE = click.option("--since", default="0", show_default=True, help="Where to begin: the value that a run printed.")
_JSON = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
_CLASSIC = click.option("--classic", is_flag=True, help="Also accept the signatures of tor-async-couchdb.")


@click.command()
@databases_options
@key_set_options
@_SINCE
@_CLASSIC
@click.option("--only-v3", is_flag=True, help="Accept scheme v3 alone; for a database that has been rotated.")
@click.option("--anchor", type=_FILE, help="The file, outside of the database, that remembers what was there.")
@click.option("--root", type=_FILE, help="The anchor's signed root, if it is kept elsewhere.  [default: FILE.root]")
@click.option("--full", is_flag=True, help="With --anchor, read all documents, not only those that changed.")
@click.option("--no-files", is_flag=True, help="Leave the bytes of attached files unread.")
@_JSON
@told
def audit(
    url: str,
    since: str,
    classic: bool,
    only_v3: bool,
    anchor: Path | None,
    root: Path | None,
    full: bool,
    no_files: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Verify the signatures of every document of a database.

    All revisions of a document are judged together: tombstones and conflicting ones as well. With --anchor, documents
    that were purged or put back to an earlier state are found as well, and only what changed is read.

    The exit status is 0 if every document verifies, 1 if some do not, and 2 if the command failed.
    """
    if anchor is None and (root or full):
        raise click.UsageError("--root and --full need --anchor.")
    if anchor is not None and since != "0":
        raise click.UsageError("--anchor and --since cannot be used together: the anchor knows where to begin.")
    chosen = chosen_of(options, since)
    if anchor is not None and chosen.pattern:
        raise click.UsageError("--anchor and --each cannot be used together: each database has an anchor of its own.")
    connection = connection_of(options)
    keys, accept = audit_keys(options), _schemes(classic, only_v3)

    async def work(opened: Database, tally: Tally, advance: Advance) -> None:
        if anchor is None:
            pages = audit_database(opened, keys, accept=accept, since=tally.since, files=not no_files)
        else:
            pages = AnchoredAudit(opened, keys, anchor, root=root, accept=accept, files=not no_files).run(full=full)
        async for page in pages:
            tally.add(page.since, page.findings, checked=page.checked)
            advance(page.checked, page.pending)

    work_on(connection, url, chosen, since, work, as_json=as_json)


@click.command()
@databases_options
@rotation_key_options
@click.option(
    "--models", metavar="MODULE[:MODELS]", help="The models of the documents; needed for classes of your own."
)
@click.option("--sign-only", is_flag=True, help="Leave encrypted values unchanged.")
@click.option(
    "--adopt", is_flag=True, help="Also sign unsigned documents, trusting their content; only for the first run."
)
@click.option(
    "--protect-plaintext",
    is_flag=True,
    help="Also hash and encrypt values stored before their property was classified, trusting them; needs --models.",
)
@_SINCE
@_CLASSIC
@_JSON
@told
def rotate(
    url: str,
    models: str | None,
    sign_only: bool,
    since: str,
    as_json: bool,
    classic: bool,
    **options: Any,
) -> None:
    """Re-sign and re-encrypt what older keys protect.

    The service may keep running meanwhile.

    With --keys, documents are signed, by scheme v3 unless --scheme says v2; without it, the database has no signatures.
    Values are encrypted with --crypter, or with --keys if --crypter is not given. Hashes stay unchanged.

    Documents that do not verify and values that do not decrypt are reported and left unchanged. The exit status has
    the same meaning as for `audit`. Run it until nothing is left to do, then demote and revoke the old key.
    """
    chosen = chosen_of(options, since)
    connection, adopt, plaintext = connection_of(options), options.pop("adopt"), options.pop("protect_plaintext")
    scheme = Scheme(options.pop("scheme"))
    if plaintext and models is None:
        raise click.UsageError("--protect-plaintext needs --models, since only models say what to protect.")
    found = rotation_keys(options)
    known = load_models(models) if models else []

    async def work(opened: Database, tally: Tally, advance: Advance) -> None:
        keys = {"models": known, "plaintext": plaintext, "database": opened.name}
        protect = None if sign_only else Reprotection(found.crypter, found.indexer, **keys)
        accept = _schemes(classic)
        rotation = Rotation(opened, found.signer, scheme=scheme, accept=accept, adopt=adopt, protect=protect)
        async for page in rotation.run(since=tally.since):
            tally.add(page.since, page.findings, renewed=page.renewed, current=page.current)
            advance(page.renewed + page.current, page.pending)

    work_on(connection, url, chosen, since, work, as_json=as_json)


@click.command()
@click.argument("document_id")
@click.argument("revision", required=False)
@database_options
@rotation_key_options
@click.option("--adopt", is_flag=True, help="Sign the leaf as it stands, trusting its contents.")
@click.option("--delete", is_flag=True, help="Put a signed tombstone upon the leaf.")
@click.option(
    "--restore", metavar="EARLIER", help="Write the body of this earlier revision, which must verify, upon it."
)
@click.option("--anchor", type=_FILE, help="Also take the document for what it is now, whatever the anchor knew of it.")
@click.option("--root", type=_FILE, help="The anchor's signed root, if it is kept elsewhere.  [default: FILE.root]")
@_JSON
@told
def clear(
    document_id: str,
    revision: str | None,
    url: str,
    database: str,
    adopt: bool,
    delete: bool,
    restore: str | None,
    anchor: Path | None,
    root: Path | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Decide what becomes of a finding of the audit.

    DOCUMENT_ID and REVISION are those of the finding: a leaf that does not count, or that hides another one. One of
    --adopt, --delete and --restore says what is written upon it; the new revision is printed. Without REVISION only the
    anchor is changed.
    """
    if bool(revision) != (adopt + delete + (restore is not None) == 1) or not (revision or anchor):
        raise click.UsageError("Give a REVISION with one of --adopt, --delete and --restore, or --anchor alone.")
    connection, scheme = connection_of(options), Scheme(options.pop("scheme"))
    keys = rotation_keys(options).signer
    if keys is None:
        raise click.UsageError("Give --keys, which sign what is written.")

    async def run() -> str | None:
        written = None
        async with connection.database(url, database) as opened:
            clearing = Clearing(opened, keys, scheme=scheme)
            if revision and restore is not None:
                written = await clearing.restore(document_id, revision, restore)
            elif revision:
                written = await (clearing.adopt if adopt else clearing.delete)(document_id, revision)
            if anchor is not None:
                await AnchoredAudit(opened, keys, anchor, root=root).clear([document_id])
        return written

    written = asyncio.run(run())
    if as_json:
        click.echo(_json.dumps({"id": document_id, "rev": written}).decode())
    elif written:
        click.echo(written)


@click.command()
@database_options
@rotation_key_options
@click.option("--days", type=click.FloatRange(min=0), default=1.0, show_default=True, help="How long marks must stand.")
@click.option("--dry-run", is_flag=True, help="Write nothing; only count the files that would be marked or deleted.")
@_JSON
@told
def sweep(url: str, database: str, days: float, dry_run: bool, as_json: bool, **options: Any) -> None:
    """Delete attached files that no version of a document names.

    The service may keep running meanwhile. A file that is not named is marked, and deleted by a run that finds the mark
    --days later. Where clusters replicate to each other, --days must be longer than replication is ever behind.

    With --keys, what is written is signed; without it, the database has no signatures.
    """
    connection = connection_of(options)
    keys = store_keys(options)

    async def run() -> dict[str, int]:
        async with connection.database(url, database) as opened:
            found = await sweep_database(Store(opened, **keys), grace=timedelta(days=days), dry_run=dry_run)
            return dataclasses.asdict(found)

    counts = asyncio.run(run())
    words = ", ".join(f"{count} {name}" for name, count in counts.items())
    click.echo(_json.dumps(counts).decode() if as_json else words)


def _schemes(classic: bool, only_v3: bool = False) -> tuple[Scheme, ...]:
    if classic and only_v3:
        raise click.UsageError("--classic and --only-v3 cannot be used together.")
    return (Scheme.V3,) if only_v3 else (Scheme.V3, Scheme.V2, *((Scheme.CLASSIC,) if classic else ()))


@click.command("policy-report")
@click.argument("models", metavar="MODULE[:MODELS]")
@click.option("--strict", is_flag=True, help="Require every property to be classified, even if its model does not.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
@told
def policy_report_command(models: str, strict: bool, as_json: bool) -> None:
    """Show how the properties of models are protected in storage.

    MODULE[:MODELS] is a module with models, one of its models, or a list of models.

    The exit status is 1 if a property is not classified although its model or --strict requires it.
    """
    try:
        rows = policy_report(load_models(models))
    except ModelDefinitionError as error:
        # Such models cannot even be defined, so this error is the whole report.
        click.echo(str(error), err=True)
        raise SystemExit(FINDINGS) from None
    click.echo(policy_json(rows).decode() if as_json else policy_table(rows), nl=as_json)
    missing = [f"{each.type}: {each.property}" for each in rows if each.classification == UNCLASSIFIED]
    if strict and missing:
        click.echo(f"not classified: {', '.join(missing)}", err=True)
        raise SystemExit(FINDINGS)
