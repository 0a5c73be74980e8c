# ruff: noqa: T201, S603  (it prints its report, and starts py-spy)
"""Shows where a peer spends its time: in each package, in our own modules, and in each part of a request.

usage: python -m benchmarks.profiling [--peer ours] [--operation "GET by id"] [--connections 128] [--seconds 10]

It uses COUCHDB_URL if that is set, and otherwise the embedded server. `py-spy` observes the process from outside, for
which it needs permission (Linux: `kernel.yama.ptrace_scope`, or root). Besides the report it writes a flame graph. The
event loop is that of asyncio, since py-spy cannot look inside uvloop.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable
from contextlib import AsyncExitStack
from pathlib import Path

from tornado_couch import Couch
from tornado_couch.security import KeyRing

from .dataset import filled, new_database
from .operations import OPERATIONS, Target
from .processes import Cores, Watched, embedded_server, peer
from .rounds import Figure, Peer, check, measure_once

RATE = 250  # samples per second

# The first of these that a stack contains, from the top, says which part of a request it belongs to.
PARTS = {
    "write the answer": ("RequestHandler.finish (tornado",),
    "make the answer": ("Answers.document (tornado_couch", "Answers.unchanged (tornado_couch"),
    "read from CouchDB, for a group": ("Grouping._run (tornado_couch",),
    "the document: wait for it, make a model of it": ("Store.get (tornado_couch", "Store.create (tornado_couch"),
    "the rest of our handler": ("RequestHandler._execute (tornado",),
    "route the request, make its handler": ("_RoutingDelegate.headers_received (tornado", "_HandlerDelegate.finish"),
    "read the request": ("HTTP1ServerConnection._server_request_loop (tornado", "BaseIOStream._handle_events (tornado"),
}


def stacks(raw: str) -> Iterable[tuple[list[str], int]]:
    """The stacks in py-spy's raw format, outermost call first, and how often each was seen, without idle ones."""
    for line in raw.splitlines():
        calls, _, count = line.rpartition(" ")
        frames = calls.split(";")
        if not any("_WorkItem.run" in each for each in frames):  # this thread waits for the end of the input
            yield frames, int(count)


def package(frame: str) -> str:
    """The package to which a frame belongs: our own by module, others by name."""
    path = frame.rpartition("(")[2].partition(":")[0]
    parts = path.split("/")
    if parts[0] == "tornado_couch":
        return "tornado_couch: " + "/".join(parts[1:])
    known = ("tornado", "aiohttp", "pydantic", "asyncio", "multidict", "yarl", "orjson")
    return parts[0] if parts[0] in known else "standard library: selectors" if "select" in path else "standard library"


def part(frames: list[str]) -> str:
    """The part of a request that a stack belongs to."""
    for frame in reversed(frames):
        for name, marks in PARTS.items():
            if any(each in frame for each in marks):
                return name
    return "event loop, and the client's side of CouchDB"


def report(raw: str) -> str:
    """Make tables of a profile."""
    by_package: Counter[str] = Counter()
    by_part: Counter[str] = Counter()
    for frames, count in stacks(raw):
        by_package[package(frames[-1])] += count
        by_part[part(frames)] += count
    ours = {name: count for name, count in by_package.items() if name.startswith("tornado_couch")}
    whole = Counter({name: count for name, count in by_package.items() if name not in ours})
    whole["tornado_couch"] = sum(ours.values())
    tables = (("part of a request", by_part), ("package, its own code", whole), ("our modules", Counter(ours)))
    return "\n".join(line for title, table in tables for line in _table(title, table, by_part.total()))


def _table(title: str, table: Counter[str], total: int) -> Iterable[str]:
    yield from (f"| {title} | of the time |", "|---|---:|")
    yield from (f"| {name} | {100 * count / total:.1f} % |" for name, count in table.most_common(15))
    yield ""


async def _run(options: argparse.Namespace) -> str:
    cores, operation = Cores(), OPERATIONS[options.operation]
    async with AsyncExitStack() as stack:
        errors = stack.enter_context((options.out / "errors.log").open("w", encoding="utf-8"))
        url = os.environ.get("COUCHDB_URL") or stack.enter_context(embedded_server(cores.others, errors))[0]
        keys = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "keys.json"
        KeyRing.create().save(keys)
        couch = await stack.enter_async_context(Couch(url))
        database = await stack.enter_async_context(new_database(couch, "profile"))
        data = await filled(couch, database, 1000)
        started = peer(options.peer, url, database, str(keys), cores.service, errors, event_loop="asyncio")
        there, process = stack.enter_context(started)
        measured = Peer(Target(options.peer, there), data, process)
        figure = Figure(operation.name, options.peer, options.connections)
        await asyncio.to_thread(check, measured, operation)
        raw, flames = options.out / "profile.txt", options.out / "flames.svg"
        await asyncio.to_thread(measure_once, measured, operation, figure, 2.0, Watched(None), cores)
        for kind, path in (("raw", raw), ("flamegraph", flames)):
            spying = _spy(process, kind, path, options.seconds)
            await asyncio.to_thread(measure_once, measured, operation, figure, options.seconds, Watched(None), cores)
            if spying.wait(60):
                raise SystemExit("py-spy could not observe the process; see its message above")
        cpu = f"{figure.service_cpu[0]:.3f} s of CPU per 1,000 requests; {flames}"
        return f"{report(raw.read_text(encoding='utf-8'))}\n{cpu}"


def _spy(process: Watched, kind: str, path: Path, seconds: float) -> subprocess.Popen[bytes]:
    command = [str(Path(sys.executable).parent / "py-spy"), "record", "--format", kind, "--output", str(path)]
    command += ["--rate", str(RATE), "--duration", str(max(1, int(seconds))), "--pid", str(process.pid)]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL)


def main() -> None:
    """Profile, and print the report."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--peer", default="ours")
    parser.add_argument("--operation", default="GET by id", choices=OPERATIONS)
    parser.add_argument("--connections", type=int, default=128)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/out"))
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    print(asyncio.run(_run(options)))


if __name__ == "__main__":
    main()
