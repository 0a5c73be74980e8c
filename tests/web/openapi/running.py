"""A service on an event loop of its own, for programs that wait for its answers, such as Schemathesis."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from tests.servers import listening, stopped
from tornado_couch import Application, Couch, openapi_document

__all__ = ["Service", "schemathesis_report"]

ROOT = Path(__file__).parents[3]


class Service(threading.Thread):
    """Serves an application while it is entered.

    Args:
        couch_url: of the CouchDB.
        database: the name of its database, which is deleted at the end.
        prepare: installs what is needed.
        make_app: makes the application.
    """

    def __init__(
        self,
        couch_url: str,
        database: str,
        prepare: Callable[[Couch], Awaitable[Any]],
        make_app: Callable[[Couch], Application],
    ) -> None:
        super().__init__()
        self._couch_url, self._database, self._prepare, self._make_app = couch_url, database, prepare, make_app
        self._listening = threading.Event()
        self._loop: asyncio.AbstractEventLoop
        self._ended: asyncio.Event
        self.url = ""
        self.document: dict[str, Any] = {}

    def run(self) -> None:
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        self._loop, self._ended = asyncio.get_running_loop(), asyncio.Event()
        async with Couch(self._couch_url) as couch:
            await self._prepare(couch)
            application = self._make_app(couch)
            application.settings["log_function"] = lambda _: None
            self.document = openapi_document(application)
            server, port = listening(application)
            self.url = f"http://127.0.0.1:{port}"
            self._listening.set()
            await self._ended.wait()
            await stopped(server)
            await couch.delete_database(self._database)

    def __enter__(self) -> Service:
        self.start()
        assert self._listening.wait(30)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._ended.set)
        self.join(30)


def schemathesis_report(service: Service, directory: Path, examples: int) -> str:
    """What Schemathesis says of a service, with all checks and all phases; it must have found no failure."""
    options = ["--max-examples", f"{examples}", "--seed", "1", "--no-color", "--workers", "1"]
    options += ["--request-timeout", "60", "--suppress-health-check", "all"]  # they judge the speed of this machine
    config = str(ROOT / "tests/web/openapi/schemathesis.toml")
    program = str(Path(sys.executable).parent / "schemathesis")
    environment = {**os.environ, "SCHEMATHESIS_HOOKS": "tests.web.openapi.schemathesis_hooks", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [program, "--config-file", config, "run", f"{service.url}/openapi.json", *options],
        cwd=directory,
        env=environment,
        capture_output=True,
        text=True,
        timeout=580,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-16000:] + done.stderr[-2000:]
    assert f"Tested: {sum(len(each) for each in service.document['paths'].values())}\n" in done.stdout
    for phase in ("Examples", "Coverage", "Fuzzing", "Stateful"):
        assert f"✅ {phase}" in done.stdout
    return done.stdout
