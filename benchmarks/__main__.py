# ruff: noqa: T201  (it prints its report)
"""Measures how fast a mounted resource is, beside its limit, CouchDB itself and the same service written by hand.

usage: python -m benchmarks [--quick] [--peers A,B] [--operations "GET by id,POST"] [--connections 1,32] ...

It uses COUCHDB_URL if that is set, and otherwise the embedded server. It ends with an error if a peer answers wrongly.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import sys
import tempfile
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path
from typing import IO, Any

from tornado_couch import Couch
from tornado_couch.security import KeyRing
from tornado_couch.service.worker import chosen_event_loop

from .dataset import filled, new_database
from .operations import OPERATIONS, Target
from .peers.ours import VARIANTS
from .processes import Cores, Watched, embedded_server, listening_process, peer
from .report import write
from .rounds import Peer, measure

BY_HAND = ["tornado-by-hand", "fastapi-by-hand"]
PEERS = ["bare", "bare-tornado", "couchdb", *VARIANTS, *BY_HAND]


def _options(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--peers", default=",".join(PEERS), help=f"some of {', '.join(PEERS)}")
    parser.add_argument(
        "--operations", default="|".join(OPERATIONS), help=f"some of {' | '.join(OPERATIONS)}, joined by |"
    )
    parser.add_argument("--connections", default="1,8,32,128")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.5, help="the length of each measurement")
    parser.add_argument("--documents", type=int, default=1000)
    parser.add_argument(
        "--event-loop", default="auto", choices=["auto", "asyncio", "uvloop"], help="the event loop of every service"
    )
    parser.add_argument("--out", type=Path, default=Path("benchmarks/out"))
    parser.add_argument("--quick", action="store_true", help="only check that it works, without meaningful figures")
    options = parser.parse_args(arguments)
    if options.quick:
        options.rounds, options.seconds, options.documents, options.connections = 1, 0.1, 100, "2"
    options.peers = options.peers.split(",")
    options.operations = [each.strip() for each in options.operations.split("|")]
    options.connections = [int(each) for each in options.connections.split(",")]
    unknown = [each for each in options.peers if each not in PEERS]
    unknown += [each for each in options.operations if each not in OPERATIONS]
    if unknown:
        parser.error(f"{unknown[0]!r} is unknown")
    return options


async def _run(options: argparse.Namespace, errors: IO[str]) -> str:
    cores = Cores()
    async with AsyncExitStack() as stack:
        url = os.environ.get("COUCHDB_URL", "")
        process = listening_process(url) if url else Watched(None)
        if not url:
            url, process = stack.enter_context(embedded_server(cores.others, errors))
        before = process.cores()
        pinned = process.pin(cores.others)
        if before:
            stack.callback(process.pin, before)
        couch = await stack.enter_async_context(Couch(url))
        peers = await _peers(stack, couch, url, options, cores, errors)
        kind = "COUCHDB_URL" if "COUCHDB_URL" in os.environ else "the embedded server"
        facts = {
            "CouchDB": f"{(await couch.info())['version']} ({kind})",
            "Python": platform.python_version(),
            "event loop": chosen_event_loop(options.event_loop),
            "cores": f"service on {cores.service}, load on {cores.others}, CouchDB "
            + (f"on {cores.others}" if pinned else "not pinned"),
            "rounds": f"{options.rounds} of {options.seconds} s",
            "documents": options.documents,
        }
        figures = await asyncio.to_thread(
            measure,
            peers,
            [each for name, each in OPERATIONS.items() if name in options.operations],
            options.connections,
            rounds=options.rounds,
            seconds=options.seconds,
            couchdb=process,
            cores=cores,
        )
        memory = {each.target.name: each.process.peak_megabytes() for each in peers if each.process.pid}
        return write(options.out, figures, facts, {**memory, "CouchDB": process.peak_megabytes()})


async def _peers(
    stack: AsyncExitStack, couch: Couch, url: str, options: argparse.Namespace, cores: Cores, errors: IO[str]
) -> list[Peer]:
    keys = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "keys.json"
    ring = KeyRing.create()
    ring.save(keys)
    found = []
    for name in options.peers:
        # Each peer has its own database, so that the writes of one do not slow down another.
        special: dict[str, Any] = {"ours-signed": {"signer": ring}, "ours-encrypted": {"crypter": ring}}.get(name, {})
        database = await stack.enter_async_context(new_database(couch, name))
        data = await filled(couch, database, options.documents, secret=name == "ours-encrypted", **special)
        if name == "couchdb":
            found.append(Peer(Target.couchdb(url, database), data, Watched(None)))
            continue
        there, process = await asyncio.to_thread(
            _entered, stack, peer(name, url, database, str(keys), cores.service, errors, event_loop=options.event_loop)
        )
        found.append(Peer(Target(name, there), data, process))
    return found


def _entered(stack: AsyncExitStack, context: Any) -> Any:
    return stack.enter_context(context)


def main() -> None:
    """Measure, and print the report."""
    options = _options()
    options.out.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        errors = stack.enter_context((options.out / "errors.log").open("w", encoding="utf-8"))
        try:
            print(asyncio.run(_run(options, errors)))
        except RuntimeError as error:
            errors.flush()
            print((options.out / "errors.log").read_text(encoding="utf-8")[-3000:], file=sys.stderr)
            sys.exit(f"benchmark failed: {error}")


if __name__ == "__main__":
    main()
