# ruff: noqa: S603, T201  (it starts a server, and prints)
"""Measures audit and rotation in documents per second, and how logins affect the event loop.

usage: python benchmarks/protection.py [--url URL] [--documents N] [--cost C]

Without a URL it starts an embedded CouchDB in its own process. The promises are an audit of 5,000 documents per second
or more on one core, and at 70 % or more of the rate at which the feed is read with its documents and nothing else, so
this process uses only one core meanwhile (Linux) and shows its own time beside the clock's; and an event loop that is
never blocked for 10 ms while eight logins run, which are eight requests with name and password to a mounted resource.
The exit status is 1 if a promise is not kept.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import os
import subprocess
import sys
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Annotated, Any

import aiohttp
from tornado.httpserver import HTTPServer

from tornado_couch import Application, Couch, Database, Encrypted, Model, Store, install, resource
from tornado_couch.maintain.audit import audit
from tornado_couch.maintain.rotate import Rotation
from tornado_couch.security import KeyChain, KeyRing
from tornado_couch.store import Reprotection
from tornado_couch.web import Authenticated, BasicAccounts, create_account

AUDITED = 5000  # documents a second
SHARE = 0.7  # of the rate at which the feed is read
LAG = 10.0  # milliseconds
LOGINS = 8

failures: list[str] = []


class Note(Model, type="note_v1.0"):
    text: str
    owner: Annotated[str, Encrypted(searchable=True)]


@contextmanager
def server(url: str | None) -> Iterator[str]:
    """The URL of a CouchDB."""
    if url is not None:
        yield url
        return
    command = [sys.executable, "-m", "tornado_couch", "couchdb", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().split()[-1].rstrip("/")
        finally:
            process.terminate()


@contextmanager
def one_core() -> Iterator[None]:
    """Use only one core, if the system allows it."""
    before = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set()
    if before:
        os.sched_setaffinity(0, {min(before)})
    yield
    if before:
        os.sched_setaffinity(0, before)


@asynccontextmanager
async def database(couch: Couch) -> AsyncIterator[Database]:
    """A database that is deleted afterwards."""
    name = f"benchmark-{uuid.uuid4().hex}"
    await couch.create_database(name)
    try:
        await install(couch, name, [Note])
        yield couch[name]
    finally:
        await couch.delete_database(name)


class Watch:
    """Measures the clock's time and this process's own."""

    def __init__(self) -> None:
        self.clock, self.own = time.perf_counter(), time.process_time()

    @property
    def elapsed(self) -> float:
        """Seconds by the clock."""
        return time.perf_counter() - self.clock

    def show(self, what: str, count: int) -> float:
        """Print a line, and return the rate per second of this process's own time."""
        clock, own = time.perf_counter() - self.clock, time.process_time() - self.own
        print(f"  {what:<40}{count / clock:8,.0f} a second, {count / own:8,.0f} a second of this process's time")
        return count / own


async def auditing(couch: Couch, documents: int) -> None:
    """Audit and rotate signed documents of about 1 KB."""
    old, new = KeyRing.create(), KeyRing.create()
    async with database(couch) as place:
        store = Store(place, signer=old, crypter=old)
        for start in range(0, documents, 1000):
            notes = [Note(text="x" * 400, owner=f"{start + number}@example.org") for number in range(1000)]
            await store.create_many(Note, notes)
        print(f"{documents} documents, signed, with an encrypted and searchable property")
        with one_core():
            watch, read = Watch(), 0
            async for changes in place.changes_pages(style="all_docs", include_docs=True):
                read += sum(each.doc is not None and not each.id.startswith("_") for each in changes.results)
            bare = watch.elapsed
            watch.show("reading the feed with its documents", read)
            watch, checked = Watch(), 0
            async for page in audit(place, old):
                checked += page.checked
                assert not page.findings
            share = bare / watch.elapsed
            found = watch.show("audit", checked)
            print(f"  {'':<40}{share:8.0%} of the rate of reading the feed; at least {SHARE:.0%}")
            if share < SHARE:
                failures.append(f"audit: {share:.0%} of the rate of reading the feed")
            print(f"  {'':<40}{found / AUDITED:8.1f} times the promised {AUDITED:,}")
            if found < AUDITED:
                failures.append(f"audit: {found:.0f} documents a second")
            keys = KeyChain(new, old)
            watch, renewed = Watch(), 0
            async for done in Rotation(place, keys, protect=Reprotection(keys, models=[Note])).run():
                renewed += done.renewed
            watch.show("rotation: signed and encrypted again", renewed)
            assert renewed == documents


async def logins(couch: Couch, cost: int) -> None:
    """Log in eight times at once, and measure how late the event loop is meanwhile."""
    async with database(couch) as place:
        store = Store(place, crypter=KeyRing.create())
        for number in range(LOGINS):
            await create_account(store, f"user{number}", "secret", rounds=cost)
        accounts = BasicAccounts(store, rounds=cost)
        app = Application(resource("/notes", Note, store, policy=Authenticated(accounts)))
        service = HTTPServer(app)
        service.listen(0, "127.0.0.1")
        port = next(iter(service._sockets.values())).getsockname()[1]
        lags: list[float] = []
        watching = asyncio.ensure_future(watch_loop(lags))
        await asyncio.sleep(2)
        alone = max(lags)
        async with aiohttp.ClientSession() as session:
            await get(session, port, "user0")  # what only the first request has to do is not measured
            accounts.forget()
            lags.clear()
            started = time.perf_counter()
            await asyncio.gather(*(get(session, port, f"user{number}") for number in range(LOGINS)))
            took = time.perf_counter() - started
        watching.cancel()
        service.stop()
        await service.close_all_connections()
    found = sorted(lags)
    print(f"{LOGINS} logins at once, bcrypt of cost {cost}, in {took:.2f} s")
    for name, lag in (("median", found[len(found) // 2]), ("99 of 100", found[len(found) * 99 // 100])):
        print(f"  {'the event loop was late, ' + name:<40}{lag:8.2f} ms")
    print(f"  {'at most':<40}{found[-1]:8.2f} ms, {found[-1] / LAG:.0%} of {LAG:.0f} ms")
    print(f"  {'at most, in two seconds without logins':<40}{alone:8.2f} ms: caused by the machine")
    if found[-1] > max(LAG, 2 * alone):
        failures.append(f"logins: the loop was {found[-1]:.1f} ms late")


async def watch_loop(lags: list[float]) -> None:
    """Record, again and again, by how many milliseconds a wait of one millisecond is too long."""
    while True:
        before = time.perf_counter()
        await asyncio.sleep(0.001)
        lags.append((time.perf_counter() - before) * 1000 - 1)


async def get(session: aiohttp.ClientSession, port: int, name: str) -> None:
    """Read the notes as a user who must log in."""
    credentials = base64.b64encode(f"{name}:secret".encode()).decode()
    headers = {"Authorization": f"Basic {credentials}"}
    async with session.get(f"http://127.0.0.1:{port}/notes", headers=headers) as reply:
        assert reply.status == 200, await reply.text()


async def measured(url: str, options: Any) -> None:
    """Run all measurements."""
    async with Couch(url) as couch:
        await auditing(couch, options.documents)
        await logins(couch, options.cost)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", help="a CouchDB, with an admin's credentials")
    parser.add_argument("--documents", type=int, default=10_000)
    parser.add_argument("--cost", type=int, default=12, help="the cost of bcrypt")
    options = parser.parse_args()
    with server(options.url) as url:
        asyncio.run(measured(url, options))
    if failures:
        raise SystemExit("; ".join(failures))


if __name__ == "__main__":
    main()
