"""The embedded server in a thread of its own, for programs that have no event loop, or many."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from types import TracebackType

from tornado_couch.embedded.service import EmbeddedCouch

__all__ = ["BackgroundCouch"]

_START_SECONDS = 30.0


class BackgroundCouch:
    """`with BackgroundCouch() as url: …`; the arguments are those of `EmbeddedCouch`."""

    def __init__(self, dir: str | Path | None = None, *, admin: str | None = None, port: int = 0) -> None:  # noqa: A002  as in EmbeddedCouch
        self._server = EmbeddedCouch(dir, admin=admin, port=port)
        self._thread = threading.Thread(target=self._run, name="embedded-couch-loop", daemon=True)
        self._ready = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._failure: BaseException | None = None

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as failure:  # noqa: BLE001  handed to the thread that started this one
            self._failure = failure
        finally:
            self._ready.set()

    async def _serve(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        await self._server.start()
        self._ready.set()
        try:
            await self._stop.wait()
        finally:
            await self._server.stop()

    def __enter__(self) -> str:
        self._thread.start()
        self._ready.wait(_START_SECONDS)
        if self._failure is not None:
            raise self._failure
        return self._server.url

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._loop is not None and self._stop is not None:
            self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(_START_SECONDS)
