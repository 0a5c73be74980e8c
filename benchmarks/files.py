# ruff: noqa: T201  (it prints its report)
"""Measures a large file on its way in and out of a store: the memory, the time, and how late the event loop is.

usage: python -m benchmarks.files [--megabytes 1000] [--quick]

It uses COUCHDB_URL if that is set, and otherwise the embedded server, which holds what it is sent in memory.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import hashlib
import os
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import AsyncIterator, Awaitable
from contextlib import ExitStack, suppress
from typing import Annotated, Any

from tornado_couch import Attachment, Couch, Encrypted, Key, MaxBytes, Model, Store, Timeout, assigned, install
from tornado_couch.security import KeyRing

from .processes import Cores, Watched, embedded_server

_PART = hashlib.shake_128(b"what no compression makes smaller").digest(1_000_000)
_MEMORY_MEGABYTES = 60
_LATE_SECONDS = 0.05


class Film(Model, type="film_v1.0", key="film_id"):
    film_id: Key = assigned()
    film: Annotated[Attachment | None, MaxBytes(10**12)] = None


class Secret(Model, type="secret_v1.0", key="secret_id"):
    secret_id: Key = assigned()
    film: Annotated[Attachment | None, MaxBytes(10**12), Encrypted()] = None


class Lateness:
    """Follows how late an event loop is for what is due.

    Attributes:
        worst: the most seconds that something was late; other programs of a busy machine make it late as well.
        own: the most seconds of CPU that the loop's own thread has used between two looks.
    """

    def __init__(self) -> None:
        self.worst = self.own = 0.0
        self._task = asyncio.ensure_future(self._follow())

    async def _follow(self) -> None:
        while True:
            due, used = time.perf_counter() + 0.005, time.thread_time()
            await asyncio.sleep(0.005)
            self.own = max(self.own, time.thread_time() - used)
            self.worst = max(self.worst, time.perf_counter() - due)

    async def close(self) -> None:
        """Stop following."""
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task


class Control:
    """Another process, which does nothing but follow how late it is, as the measured one does."""

    def __init__(self) -> None:
        command = [sys.executable, "-c", _CONTROL]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)  # noqa: S603
        self.worst()

    def worst(self) -> float:
        """The most seconds that it was late since it was asked last."""
        if self._process.stdin is None or self._process.stdout is None:
            raise RuntimeError("the control has no pipes")
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return float(self._process.stdout.readline())

    def close(self) -> None:
        """End it."""
        self._process.communicate()


_CONTROL = """
import select, sys, time
worst = 0.0
while True:
    due = time.perf_counter() + 0.005
    if select.select([sys.stdin], [], [], 0.005)[0]:
        if not sys.stdin.readline():
            break
        print(worst, flush=True)
        worst = 0.0
    else:
        worst = max(worst, time.perf_counter() - due)
"""


async def film(megabytes: int) -> AsyncIterator[bytes]:
    """A file of so many megabytes, as it would arrive."""
    for _ in range(megabytes):
        for start in range(0, len(_PART), 64 * 1024):
            yield _PART[start : start + 64 * 1024]
            await asyncio.sleep(0)


async def read(store: Store, model: Model) -> int:
    """Read a file from end to end, and return how many bytes it has."""
    count = 0
    async with store.open_attachment(model, "film") as file:
        async for part in file:
            count += len(part)
    return count


async def measured(control: Control, name: str, megabytes: int, work: Awaitable[Any]) -> tuple[Any, bool]:
    """Do something, print what it took, and say whether it kept within the limits."""
    gc.collect()
    control.worst()
    watched, lateness = Watched(os.getpid()), Lateness()
    idle, began, peak = watched.megabytes(), time.perf_counter(), 0.0
    task = asyncio.ensure_future(work)
    while not task.done():
        await asyncio.wait([task], timeout=0.02)
        peak = max(peak, watched.megabytes())
    await lateness.close()
    seconds, more, late = time.perf_counter() - began, peak - idle, lateness.worst
    elsewhere = control.worst()
    print(
        f"{name:24} {seconds:7.1f} s {megabytes / seconds:7.0f} MB/s"
        f" {more:6.1f} MB above idle {late * 1000:6.1f} ms late ({elsewhere * 1000:.1f} ms elsewhere),"
        f" {lateness.own * 1000:5.1f} ms of computing at a time"
    )
    return task.result(), more < _MEMORY_MEGABYTES and lateness.own < _LATE_SECONDS


async def run(url: str, megabytes: int) -> bool:
    """Measure all; whether each kept within the limits."""
    control = Control()
    ring, name, kept = KeyRing.create(), f"benchmark-{uuid.uuid4().hex}", []
    async with Couch(url, timeout=Timeout(total=600)) as couch:
        await couch.create_database(name)
        await install(couch, name, [Film, Secret])
        store = Store(couch[name], crypter=ring, signer=ring)
        await measured(control, "nothing at all", 0, asyncio.sleep(3))
        try:
            for cls, kind in ((Film, "video/mp4"), (Secret, "video/mp4"), (Film, "text/plain")):
                model: Any = await store.create(cls())
                label = "encrypted" if cls is Secret else kind
                sending = store.attach(model, "film", film(megabytes), content_type=kind)
                model, good = await measured(control, f"{label}, up", megabytes, sending)
                kept.append(good)
                count, good = await measured(control, f"{label}, down", megabytes, read(store, model))
                kept.append(good and count == megabytes * len(_PART))
        finally:
            control.close()
            await couch.delete_database(name)
    return all(kept)


def main(arguments: list[str] | None = None) -> None:
    """Run the benchmark; the exit status is 1 where a limit was not kept."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--megabytes", type=int, default=1000)
    parser.add_argument("--quick", action="store_true", help="only check that it works, without meaningful figures")
    options = parser.parse_args(arguments)
    with ExitStack() as stack:
        errors = stack.enter_context(tempfile.TemporaryFile("w+"))
        url = os.environ.get("COUCHDB_URL") or stack.enter_context(embedded_server(Cores().others, errors))[0]
        good = asyncio.run(run(url, 2 if options.quick else options.megabytes))
    if not (good or options.quick):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
