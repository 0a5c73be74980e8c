"""The worker process that runs JavaScript: `pool.py` starts it with this file's path, and never imports it.

It imports only `_quickjs` and the standard library, and starts in about 30 ms. It reads lines of JSON and writes lines
of JSON; it ends when its standard input does, so it never outlives its parent.
"""

from __future__ import annotations

import json
import resource
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

__all__ = ["main"]

# The JavaScript stack in bytes; deep JSON is parsed recursively. The process has 8 MB by default.
STACK = 4 * 1024 * 1024
# When results are handed over (seconds, characters).
PAUSE, PIECE = 0.25, 1 << 20


class Worker:
    """Runs calls of the functions of design documents, each in a context of its own."""

    def __init__(self, prelude: str, seconds: float, memory: int) -> None:
        self.prelude = prelude
        self.seconds = seconds
        self.memory = memory
        self.programs: dict[str, Any] = {}  # the pool says which to drop

    def perform(self, request: dict[str, Any]) -> Iterator[list[Any]]:
        """Yield the results of a request's calls in pieces; an empty piece shows that the worker is alive."""
        results: list[Any] = []
        size, since = 0, time.monotonic()
        for call in request["calls"]:
            result = self.call(request, call)
            results.append(result)
            size += len(result)
            if result.startswith("?"):
                break
            if size > PIECE or time.monotonic() - since > PAUSE:
                yield results
                results, size, since = [], 0, time.monotonic()
        yield results

    def call(self, request: dict[str, Any], call: list[str]) -> str:
        """The result of one call: "=" and text, "!" and an error, or "?" and an error that broke the context."""
        from _quickjs import JSException, StackOverflow  # its folder is on the path only now

        try:
            result = self.program(request)(request["operation"], *call)
        except StackOverflow:
            spoilt = ["InternalError", "stack overflow"]
        except (JSException, MemoryError, SystemError, TypeError, UnicodeError) as error:
            spoilt = self.explain(str(error))
        else:
            return str(result)
        self.programs.pop(request["program"], None)
        return "?" + json.dumps(spoilt)

    @staticmethod
    def explain(text: str) -> list[str]:
        """CouchDB's error and reason for an exception of the engine."""
        if "interrupted" in text:
            return ["os_process_error", "OS process timed out."]
        if "out of memory" in text:
            return ["InternalError", "out of memory"]
        return ["InternalError", text.split("\n", 1)[0]]

    def program(self, request: dict[str, Any]) -> Any:
        """The entry point of a design document's context, which is made when it is needed."""
        name = request["program"]
        for dropped in request.get("drop", ()):
            self.programs.pop(dropped, None)
        if name not in self.programs:
            self.programs[name] = self.load(request["source"])
        return self.programs[name]

    def load(self, source: str) -> Any:
        from _quickjs import Context

        context = Context()
        context.set_memory_limit(self.memory)
        context.set_max_stack_size(STACK)
        context.set_time_limit(self.seconds)
        return context.eval(self.prelude)(source)


def main() -> None:
    """Serve requests until standard input ends. Arguments: the folder of `_quickjs`, prelude, seconds, bytes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is meant for the server, which then stops this process
    folder, prelude, seconds, memory = sys.argv[1:5]
    # This adds to the engine's own limit, for memory that is allocated outside of the engine.
    resource.setrlimit(resource.RLIMIT_AS, (int(memory) + (1 << 30), int(memory) + (1 << 30)))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    sys.path.append(folder)
    worker = Worker(Path(prelude).read_text(encoding="utf-8"), float(seconds), int(memory))
    for line in sys.stdin.buffer:
        for piece in worker.perform(json.loads(line)):
            sys.stdout.write(json.dumps(piece) + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
