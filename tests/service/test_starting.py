"""What `tornado-couch serve` says before it serves, and how it takes new code."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest

from tests.faults import until
from tests.service.serving import ROOT, Service, served

APP = """
from tornado_couch import Application, ProblemHandler


class Handler(ProblemHandler):
    def get(self):
        self.write({"version": VERSION})


app = Application([("/", Handler)])
"""


async def refused(*arguments: str, **environment: str) -> list[str]:
    """What the command writes to standard error when it does not serve."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tornado_couch", "serve", *arguments),
        cwd=ROOT,
        env={**os.environ, **environment},
        stderr=asyncio.subprocess.PIPE,
    )
    _, err = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode not in (0, None)
    lines = err.decode().splitlines()
    assert not any("Traceback" in line or "secret" in line for line in lines), lines
    return lines


@pytest.mark.parametrize("processes", ["1", "2"])
@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("tests.service.service:nothing", "has no 'nothing'"),
        ("no_such_module:app", "cannot import 'no_such_module'"),
        ("tests.service.service:ROOT", "has no 'ROOT'"),
        ("tests.service.service:METRICS", "is of type Metrics, not an application"),
    ],
)
async def test_a_wrong_reference_is_told_before_anything_listens(name: str, says: str, processes: str) -> None:
    """In whichever process it is found out."""
    lines = await refused(name, "--port", "0", "--processes", processes)
    assert any(says in line for line in lines), lines
    assert not any("listening" in line for line in lines), lines


async def test_settings_that_cannot_be_are_named() -> None:
    """A port, a number of processes, CouchDB's address, and --reload with several processes."""
    for arguments, says in (
        (("--port", "70000"), "port, from the command line: Input should be less than or equal to 65535"),
        (("--port", "web"), "port, from the command line: Input should be a valid integer"),
        (("--url", "nowhere"), "the CouchDB URL must be of the form"),
        (("--reload", "--processes", "2"), "--reload is for one process"),
        (("--config", "none.toml"), "the file none.toml does not exist"),
    ):
        lines = await refused("tests.service.service:make_app", *arguments)
        assert says in lines[-1], lines


@pytest.mark.parametrize("processes", ["1", "2"])
async def test_a_couchdb_that_is_down_at_the_start_is_one_line(processes: str) -> None:
    """For an application that asks it before it serves; the password is not in it."""
    url = "http://ann:secret@127.0.0.1:9"
    lines = await refused("tests.service.service:asking", "--port", "0", "--processes", processes, "--url", url)
    assert any("Connection refused" in line for line in lines), lines
    assert not any("listening" in line for line in lines), lines


async def test_a_taken_port_is_named_with_its_option() -> None:
    """And so is what to do."""
    async with served("with_couch") as service:
        (line,) = await refused("tests.service.service:with_couch", "--port", str(service.port))
    assert line == (
        f"Error: Cannot listen on 127.0.0.1:{service.port}: Address already in use; choose another --port or --host"
    )


@pytest.mark.parametrize("processes", [1, 2])
async def test_a_function_of_a_client_is_served_as_it_is_described(server_url: str, processes: int) -> None:
    """What `tornado-couch openapi` takes; the client is made from the settings."""
    async with served("with_couch", "--url", server_url, processes=processes) as service:
        assert (await service.ask("/fruits/none"))[0] in (404, 503)  # whether or not there is a database orchard
        service.signal(signal.SIGTERM)
        assert await service.ended() == 0


async def test_reload_takes_new_code_and_survives_what_is_wrong(tmp_path: Path) -> None:
    """A changed file is served; one with a syntax error is told, while the old code is served on."""
    module = tmp_path / "reloaded.py"
    module.write_text(f"VERSION = 'one'{APP}")
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-W", "error", "-m", "tornado_couch", "serve", "reloaded:app", "--port", "0", "--reload"),
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stderr=asyncio.subprocess.PIPE,
    )
    service = Service(process)

    async def version() -> str:
        return str((await service.ask("/"))[2]["version"])

    async def serves(wanted: str) -> bool:
        return await version() == wanted

    try:
        await until(lambda: service.url)
        assert await version() == "one"
        module.write_text(f"VERSION = 'second'{APP}")
        await until(lambda: serves("second"))
        module.write_text("this is not Python")
        await until(lambda: "keeping the old processes" in service.log)
        assert "Traceback" not in service.log
        assert await version() == "second"
        module.write_text(f"VERSION = 'number three'{APP}")
        await until(lambda: serves("number three"))
        service.signal(signal.SIGTERM)
        assert await service.ended() == 0
    finally:
        if process.returncode is None:
            process.kill()
        await service.ended()
