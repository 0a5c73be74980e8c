"""Which event loop a service runs in."""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Coroutine
from importlib.util import find_spec
from typing import Any, Literal, TypeVar

__all__ = ["EventLoop", "check_event_loop", "chosen_event_loop", "run"]

T = TypeVar("T")

EventLoop = Literal["auto", "asyncio", "uvloop"]
"""asyncio's own; uvloop, which computes less for each request; or that where it is installed."""


def check_event_loop(name: str) -> str:
    """The name itself, if `run` can do it.

    Raises:
        ValueError: there is no such event loop, or it is not installed.
    """
    if name not in ("auto", "asyncio", "uvloop"):
        raise ValueError('event_loop must be "auto", "asyncio" or "uvloop"')
    if name == "uvloop" and find_spec("uvloop") is None:
        raise ValueError("event_loop is uvloop, which is not installed: pip install 'tornado-couch[fast]'")
    return name


def chosen_event_loop(name: str) -> Literal["asyncio", "uvloop"]:
    """Which one it is, of those that are installed."""
    return "asyncio" if name == "asyncio" or (name == "auto" and find_spec("uvloop") is None) else "uvloop"


def run(main: Coroutine[Any, Any, T], event_loop: str = "auto") -> T:
    """What `asyncio.run` does, in the event loop of this name."""
    if chosen_event_loop(event_loop) == "asyncio":
        return asyncio.run(main)
    found: T = importlib.import_module("uvloop").run(main)
    return found
