# ruff: noqa: T201  (it prints its report)
"""Measures large files over HTTP, up and down: the memory of the service, and how late its event loop is.

usage: python -m benchmarks.attachments [--megabytes 1000] [--encrypted] [--quick]

It uses COUCHDB_URL if that is set, and otherwise the embedded server, with a smaller file. The client is in this
process, the service is in another one. It ends with an error if the service uses 60 MB more than when it is idle, if
its event loop is ever late by more than 50 ms, or if a byte is wrong.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import hashlib
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Annotated

import aiohttp

from tornado_couch import (
    AllowAny,
    Application,
    Attachment,
    Couch,
    Encrypted,
    Key,
    MaxBytes,
    Model,
    ProblemHandler,
    Store,
    assigned,
    resource,
)
from tornado_couch.security import KeyRing
from tornado_couch.service.listening import bind
from tornado_couch.service.server import server_class
from tornado_couch.service.worker import run

from .dataset import new_database
from .processes import Cores, Watched, embedded_server, service

_MOST_MEGABYTES = 60.0  # above the idle service
_LATEST = 0.05  # seconds
_MOST_EMBEDDED = 50  # megabytes; the embedded server takes no larger document with its files
_PART = 1_000_000
_TICK = 0.005  # seconds


class Film(Model, type="film_v1.0", key="film_id"):
    film_id: Key = assigned()
    video: Annotated[Attachment | None, MaxBytes(4_000_000_000)] = None


class SecretFilm(Model, type="secret_film_v1.0", key="film_id"):
    film_id: Key = assigned()
    video: Annotated[Attachment | None, MaxBytes(4_000_000_000), Encrypted()] = None


# ---------------------------------------------------------------- the service


class Lateness(ProblemHandler):
    """GET: by how many seconds the event loop was late at most since the last GET.

    What counts is the time in which it had a core: on a busy machine it may wait long for one.
    """

    worst = whole = 0.0

    def get(self) -> None:
        """Answer, and forget."""
        self.write({"seconds": Lateness.worst, "with_waiting": Lateness.whole})
        Lateness.worst = Lateness.whole = 0.0


async def _watch() -> None:
    loop = asyncio.get_running_loop()
    while True:
        due, waited = loop.time() + _TICK, _waited()
        await asyncio.sleep(_TICK)
        late = loop.time() - due
        Lateness.whole = max(Lateness.whole, late)
        Lateness.worst = max(Lateness.worst, late - (_waited() - waited))


def _waited() -> float:
    """The seconds that this thread has waited for a core so far."""
    return int(Path("/proc/thread-self/schedstat").read_text(encoding="ascii").split()[1]) / 1e9


async def _serve(url: str, database: str, keys: str) -> None:
    async with Couch(url) as couch:
        ring = KeyRing.load(keys)
        store = Store(couch[database], signer=ring, crypter=ring)
        routes = [*resource("/films", Film, store), *resource("/secret-films", SecretFilm, store)]
        application = Application([*routes, ("/lateness", Lateness)], policy=AllowAny())
        server, sockets = server_class("auto")(application), bind("127.0.0.1", 0)
        server.accept_from(sockets)
        watching = asyncio.create_task(_watch())
        print(sockets[0].getsockname()[1], flush=True)
        with contextlib.suppress(asyncio.CancelledError):
            await watching


# ---------------------------------------------------------------- the client


def _parts(megabytes: int) -> Iterator[bytes]:
    """The bytes of a file, no two parts of which are the same."""
    block = bytearray(hashlib.shake_128(b"benchmark").digest(_PART))
    for number in range(megabytes):
        block[:8] = number.to_bytes(8, "big")
        yield bytes(block)


async def _content(megabytes: int) -> AsyncIterator[bytes]:
    for part in _parts(megabytes):
        yield part


class _Run:
    """One file up, and down again.

    Args:
        session: the client.
        url: the service.
        process: the process of the service.
        megabytes: the size of the file.
    """

    def __init__(self, session: aiohttp.ClientSession, url: str, process: Watched, megabytes: int) -> None:
        self._session = session
        self._url = url
        self._process = process
        self._megabytes = megabytes

    async def measure(self, path: str) -> bool:
        """Measure, and print what was found; return whether all of it is within the limits."""
        async with self._session.post(self._url + path, json={}) as created:
            film = self._url + created.headers["Location"] + "/video"
        for size in (1, self._megabytes):  # the first one loads what is loaded when it is needed
            idle, _ = self._process.megabytes(), await self._late()
            up, uploaded = await self._timed(self._up(film, size))
            late_up, whole_up = await self._late()
            down, downloaded = await self._timed(self._down(film, size))
            late_down, whole_down = await self._late()
        if uploaded != downloaded:
            raise RuntimeError(f"{path}: what came down is not what went up")
        print(f"{path}: {size} MB up in {up:.1f} s, down in {down:.1f} s ({size / up:.0f}, {size / down:.0f} MB/s)")
        grown = max(self._process.peak_megabytes() - idle, 0.0)
        print(f"  memory above the idle service: {grown:.0f} MB (at most {_MOST_MEGABYTES:.0f})")
        late = f"{late_up * 1000:.0f} ms up, {late_down * 1000:.0f} ms down"
        whole = f"{whole_up * 1000:.0f} ms, {whole_down * 1000:.0f} ms"
        print(f"  the event loop was late by {late}, at most; with the time that it waited for a core: {whole}")
        return grown < _MOST_MEGABYTES and max(late_up, late_down) <= _LATEST

    async def _timed(self, work: object) -> tuple[float, str]:
        began = time.perf_counter()
        found = await work  # type: ignore[misc]
        return time.perf_counter() - began, found

    async def _late(self) -> tuple[float, float]:
        async with self._session.get(f"{self._url}/lateness") as reply:
            found = await reply.json()
        return float(found["seconds"]), float(found["with_waiting"])

    async def _up(self, film: str, size: int) -> str:
        fields = {"Content-Type": "application/octet-stream", "Content-Length": str(size * _PART)}
        async with self._session.put(film, data=_content(size), headers=fields) as reply:
            if reply.status not in (200, 201):
                raise RuntimeError(f"PUT answered {reply.status}: {await reply.text()}")
        digest = hashlib.sha256()
        for part in _parts(size):
            digest.update(part)
        return digest.hexdigest()

    async def _down(self, film: str, size: int) -> str:
        digest, length = hashlib.sha256(), 0
        async with self._session.get(film) as reply:
            async for part in reply.content.iter_chunked(256 * 1024):
                digest.update(part)
                length += len(part)
        if length != size * _PART:
            raise RuntimeError(f"GET answered {length} bytes")
        return digest.hexdigest()


async def _run(options: argparse.Namespace, errors: IO[str]) -> bool:
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        keys = Path(folder, "keys")
        KeyRing.create().save(keys)
        url = os.environ.get("COUCHDB_URL", "")
        if not url:
            options.megabytes = min(options.megabytes, _MOST_EMBEDDED)
            url = stack.enter_context(embedded_server(Cores().others, errors))[0]
        async with Couch(url) as couch, new_database(couch, "attachments", [Film, SecretFilm]) as database:
            arguments = ["-m", "benchmarks.attachments", "--serve", url, database, str(keys)]
            timeout = aiohttp.ClientTimeout(total=None)
            within = True
            for path in ["/films", *(["/secret-films"] if options.encrypted else [])]:
                with service(arguments, Cores().service, errors) as (there, process):
                    async with aiohttp.ClientSession(timeout=timeout) as session:
                        within &= await _Run(session, there, process, options.megabytes).measure(path)
            return within


def main() -> None:
    """Run the measurements, or the service."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.attachments", description=__doc__)
    parser.add_argument("--megabytes", type=int, default=1000, help="the size of the file")
    parser.add_argument("--encrypted", action="store_true", help="also a file that is stored encrypted")
    parser.add_argument("--quick", action="store_true", help="only try it out")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/out"))
    parser.add_argument("--serve", nargs=3, metavar=("URL", "DATABASE", "KEYS"), help="be the service")
    options = parser.parse_args()
    if options.serve:
        run(_serve(*options.serve))
        return
    if options.quick:
        options.megabytes, options.encrypted = 3, True
    options.out.mkdir(parents=True, exist_ok=True)
    with (options.out / "errors.log").open("w", encoding="utf-8") as errors:
        within = asyncio.run(_run(options, errors))
    sys.exit(0 if within or options.quick else 1)


if __name__ == "__main__":
    main()
