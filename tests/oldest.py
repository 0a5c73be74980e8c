"""What the oldest tools that go with the oldest packages do otherwise; imported before any test."""

from __future__ import annotations

import asyncio
import inspect
from typing import Any

from click import testing

__all__: list[str] = []

# Where no loop was ever set, pytest-asyncio before 1.2 makes one in each process, and never closes it.
asyncio.set_event_loop(None)


class _Result(testing.Result):
    output = property(lambda self: self.stdout + self.stderr)


class _Runner(testing.CliRunner):
    """As it is since click 8.2: `output` is of both, `stdout` and `stderr` of one each."""

    def __init__(self) -> None:
        super().__init__(mix_stderr=False)

    def invoke(self, *args: Any, **kwargs: Any) -> testing.Result:
        result = super().invoke(*args, **kwargs)
        result.__class__ = _Result
        return result


if "mix_stderr" in inspect.signature(testing.CliRunner).parameters:
    testing.CliRunner = _Runner
