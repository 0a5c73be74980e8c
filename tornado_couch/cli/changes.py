"""`tornado-couch changes` and `tornado-couch consumers`."""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import signal
import sys
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from typing import Any, TypeVar

import click

from .. import _json
from ..errors import ChangesLost
from ..models import Model
from ..revision import printable
from ..service.references import load_models
from ..store import DocumentChange, Place, Store
from ..store.consumers import Records, consumers_of
from .options import connection_of, database_options, rotation_key_options, server_options, store_keys, told

__all__ = ["changes", "consumers"]

T = TypeVar("T")

_LOOK = 0.5  # seconds between two looks whether anybody still reads the output


@click.command()
@click.argument("database")
@server_options
@click.option("--model", required=True, metavar="MODULE:MODEL", help="The model whose changes to print.")
@rotation_key_options
@click.option("--since", help="Where to begin: the place that a run printed; by default, now.")
@click.option("--from-beginning", is_flag=True, help="Begin with the first change.")
@click.option("--follow/--no-follow", default=True, show_default=True, help="Whether to wait for further changes.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object in each line.")
@told
def changes(
    url: str, database: str, model: str, since: str | None, from_beginning: bool, follow: bool, as_json: bool,
    **options: Any,
) -> None:  # fmt: skip
    """Print what changes in a model's documents.

    Each change of a document in the DATABASE is a line. It has what became of the document (created, changed or
    deleted; withheld if it cannot be read; unknown if another program has deleted it), its id and its revision. With
    --json it also has the document as it is stored, and the place after the change. CouchDB's feed has each document
    once, after its latest change.

    Ctrl-C ends the command, and the end of whatever reads its output. It then says where to go on, on the standard
    error.
    """
    if since and from_beginning:
        raise click.UsageError("--since and --from-beginning cannot be used together.")
    connection, keys = connection_of(options), store_keys(options)
    known = load_models(model)
    if len(known) != 1:
        raise click.UsageError("--model: name one model, as MODULE:MODEL.")

    async def run() -> None:
        async with connection.database(url, database) as opened:
            store = Store(opened, **keys)
            store.check(known[0])
            try:
                place = await store.live.place("beginning" if from_beginning else since)
                await store.live.check(place)
                printer = _Printer(str(place), as_json)
                await _until_unread(_print(store, known[0], place, follow, printer))
            finally:
                await store.close()
            click.echo(f"--since {printer.place}", err=True)

    try:
        asyncio.run(run())
    except BrokenPipeError:
        # Python flushes the output once more at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class _Printer:
    """Prints changes, and remembers the place after the last one."""

    def __init__(self, place: str, as_json: bool) -> None:
        self.place = place
        self._as_json = as_json

    def show(self, change: DocumentChange[Any]) -> None:
        """Print a change."""
        document = change.document
        if self._as_json:
            key = change.key if isinstance(change.key, int | None) else str(change.key)
            line = _json.dumps(
                {"kind": change.kind, "key": key, "id": document["_id"], "rev": document.get("_rev"),
                 "place": change.place, "document": document}
            ).decode()  # fmt: skip
        else:
            line = f"{change.kind:8}  {printable(document['_id'])}  {document.get('_rev', '')}".rstrip()
        click.echo(line)
        self.place = change.place


async def _print(store: Store, cls: type[Model], place: Place, follow: bool, printer: _Printer) -> None:
    if follow:
        async with aclosing(store.changes(cls, str(place))) as found:
            async for change in found:
                printer.show(change)
        return
    more = True
    while more:
        page = await store.live.page(cls, place)
        for change in page.changes:
            printer.show(change)
        place, more = page.next, page.more
        printer.place = str(place)


async def _until_unread(work: Awaitable[None]) -> None:
    """Wait for work until Ctrl-C, SIGTERM, or until nobody reads the output any more."""
    task, stop = asyncio.ensure_future(work), asyncio.Event()
    loop = asyncio.get_running_loop()
    with contextlib.suppress(NotImplementedError, RuntimeError, ValueError):  # only in the main thread
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stop.set)
    try:
        while not task.done() and not stop.is_set() and not _is_unread():
            waiting = asyncio.ensure_future(stop.wait())
            await asyncio.wait([task, waiting], timeout=_LOOK, return_when=asyncio.FIRST_COMPLETED)
            waiting.cancel()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    if not task.cancelled():
        task.result()


def _is_unread() -> bool:
    """Whether the output is a pipe whose reader has gone."""
    try:
        poll = select.poll()
        poll.register(sys.stdout.fileno(), 0)
        return any(events & select.POLLERR for _, events in poll.poll(0))
    except (AttributeError, OSError, ValueError):  # not on this system, or no file
        return False


# ------------------------------------------------------------ consumers


@click.group()
def consumers() -> None:
    """Look after the consumers of a database.

    None of these commands needs the service to stop.
    """


_JSON = click.option("--json", "as_json", is_flag=True, help="Print a JSON object in each line.")
_KEYS = click.option("--all", "everything", is_flag=True, help="All that the consumer has set aside.")
_IDS = click.argument("document_ids", nargs=-1, metavar="[DOCUMENT_ID]...")


def _on(url: str, database: str, options: dict[str, Any], work: Callable[[Store], Awaitable[T]]) -> T:
    connection, keys = connection_of(options), store_keys(options)

    async def run() -> T:
        async with connection.database(url, database) as opened:
            return await work(Store(opened, **keys))

    return asyncio.run(run())


def _records(store: Store, name: str) -> Records:
    try:
        return Records(store, name)
    except ValueError as error:
        raise click.UsageError(str(error)) from None


@consumers.command("list")
@database_options
@rotation_key_options
@_JSON
@told
def list_(url: str, database: str, as_json: bool, **options: Any) -> None:
    """List the consumers, and how far each has come.

    `pending` says how many changes of any documents follow the place, and `failed` how many changes are set aside.
    """

    async def work(store: Store) -> list[dict[str, Any]]:
        found = []
        for each in await consumers_of(store.database):
            failed = len(await Records(store, each["name"]).failed())
            found.append({
                **{name: each[name] for name in ("name", "partition", "partitions", "place", "kept_on")},
                "pending": await _pending(store, each["place"]), "failed": failed,
            })  # fmt: skip
        return found

    for each in _on(url, database, options, work):
        pending = "its place is lost" if each["pending"] is None else f"{each['pending']} pending"
        text = f"{each['name']}  {each['partition']}/{each['partitions']}  {pending}  {each['failed']} failed"
        click.echo(_json.dumps(each).decode() if as_json else f"{text}  --since {printable(each['place'])}")


async def _pending(store: Store, text: str) -> int | None:
    """How many changes follow a place; None if it is lost."""
    try:
        place = await store.live.place(text)
        await store.live.check(place)
        page = await store.database.changes(since=place.seq, limit=1)
    except ChangesLost:
        return None
    return len(page.results) + (page.pending or 0)


@consumers.command()
@click.argument("name")
@database_options
@rotation_key_options
@_JSON
@told
def failed(url: str, database: str, name: str, as_json: bool, **options: Any) -> None:
    """List the changes that a consumer has set aside.

    The exit status is 0 if there are none, and 1 if there are some.
    """
    found = _on(url, database, options, lambda store: _records(store, name).failures())
    for each in found:
        if as_json:
            click.echo(each.model_dump_json(exclude={"name"}))
        else:
            asked = "  to be replayed" if each.replay else ""
            click.echo(f"{printable(each.document_id)}  {each.attempts} attempts  {printable(each.error)}{asked}")
    if found:
        raise SystemExit(1)


@consumers.command()
@click.argument("name")
@_IDS
@_KEYS
@database_options
@rotation_key_options
@_JSON
@told
def replay(
    url: str, database: str, name: str, document_ids: tuple[str, ...], everything: bool, as_json: bool, **options: Any
) -> None:
    """Let a consumer handle again what it set aside.

    The consumer of this NAME does so as soon as it runs, with each document as it is by then: those of each DOCUMENT_ID
    or, with --all, all. With --keys, what is written is signed.
    """
    count = _with_chosen(url, database, name, document_ids, everything, options, Records.replay)
    click.echo(_json.dumps({"name": name, "replayed": count}).decode() if as_json else f"{count} to be replayed")


@consumers.command()
@click.argument("name")
@_IDS
@_KEYS
@database_options
@rotation_key_options
@_JSON
@told
def drop(
    url: str, database: str, name: str, document_ids: tuple[str, ...], everything: bool, as_json: bool, **options: Any
) -> None:
    """Forget changes that a consumer has set aside.

    These are those of each DOCUMENT_ID or, with --all, all that the consumer of this NAME has set aside. With --keys,
    what is written is signed.
    """
    count = _with_chosen(url, database, name, document_ids, everything, options, Records.drop)
    click.echo(_json.dumps({"name": name, "dropped": count}).decode() if as_json else f"{count} dropped")


def _with_chosen(
    url: str, database: str, name: str, document_ids: tuple[str, ...], everything: bool, options: dict[str, Any],
    work: Callable[[Records, list[str]], Awaitable[int]],
) -> int:  # fmt: skip
    if bool(document_ids) == everything:
        raise click.UsageError("Give the ids of documents, or --all.")

    async def run(store: Store) -> int:
        records = _records(store, name)
        return await work(records, list(document_ids) or await records.failed())

    return _on(url, database, options, run)


@consumers.command()
@click.argument("name")
@click.option("--since", help="Begin with the changes after this place.")
@click.option("--from-beginning", is_flag=True, help="Begin with the first change.")
@click.option("--from-now", is_flag=True, help="Begin with what happens from now on.")
@database_options
@rotation_key_options
@_JSON
@told
def reset(
    url: str, database: str, name: str, since: str | None, from_beginning: bool, from_now: bool, as_json: bool,
    **options: Any,
) -> None:  # fmt: skip
    """Let a consumer begin again at another place.

    The consumer of this NAME does so within seconds if it runs. It may then have another number of partitions; stop
    the service first to change that number. What is set aside stays so.
    """
    if sum((since is not None, from_beginning, from_now)) != 1:
        raise click.UsageError("Give one of --since, --from-beginning and --from-now.")

    async def run(store: Store) -> str:
        place = await store.live.place(None if from_now else since or "beginning")
        await store.live.check(place)
        begun = "beginning" if from_beginning else str(place)
        await _records(store, name).begin(begun, None)
        return begun

    begun = _on(url, database, options, run)
    click.echo(_json.dumps({"name": name, "place": begun}).decode() if as_json else f"{name} begins again")
