# ruff: noqa: S603, T201  (it starts Python, and prints)
"""Measures what starting a worker takes: the CPU of importing the package and of beginning to serve, and its memory.

usage: python -m benchmarks.startup [--rounds N]

The measure is the import of what every such service needs, Tornado, aiohttp and pydantic's models, in processes that
take turns. The promises are at most 1.5 times that, and 100 MB for a worker with the models of the example. The exit
status is 1 if a promise is not kept.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).parent.parent

RATIO, MEGABYTES = 1.5, 100.0

LIBRARIES = "import aiohttp, tornado.httpserver, tornado.web; from pydantic import BaseModel"
PACKAGE = "import tornado_couch as t; t.Application, t.Couch, t.Model, t.Store, t.resource, t.serve"
# The address is not looked at before the first request.
SERVING = f"""{PACKAGE}
import asyncio, resource
from example_app.app import make_app
from tornado_couch.service import Server
async def main():
    Server(make_app(t.Couch("http://127.0.0.1:5984"))).listen(0, "127.0.0.1")
asyncio.run(main())
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"""


def run(code: str) -> tuple[float, str]:
    """Run code in a Python of its own: the CPU seconds that it took, and what it printed."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    # Services keep the bytecode, whatever this shell says.
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=kept, capture_output=True, text=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, done.stdout


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    rounds = parser.parse_args().rounds
    codes = {"libraries": LIBRARIES, "package": PACKAGE, "serving": SERVING}
    printed = {name: run(code)[1] for name, code in codes.items()}  # and its bytecode is there from now on
    seconds: dict[str, list[float]] = defaultdict(list)
    for _ in range(rounds):
        for name, code in codes.items():
            seconds[name].append(run(code)[0])
    ratios = {name: statistics.median(map(lambda a, b: a / b, seconds[name], seconds["libraries"])) for name in codes}
    print("| | CPU, s | of the libraries |\n|---|---:|---:|")
    for name in codes:
        print(f"| {name} | {min(seconds[name]):.3f} | {ratios[name]:.2f} |")
    megabytes = int(printed["serving"]) / 1024
    print(f"\nA worker takes {megabytes:.0f} MB.")
    if max(ratios.values()) > RATIO or megabytes > MEGABYTES:
        sys.exit(1)


if __name__ == "__main__":
    main()
