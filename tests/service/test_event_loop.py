"""Which event loop a service runs in, and which HTTP server."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from tornado.web import Application

from tornado_couch.cli.serve import serve as serve_command
from tornado_couch.service import server as server_module
from tornado_couch.service import worker
from tornado_couch.service.processes import serve
from tornado_couch.service.server import Server, server_class
from tornado_couch.service.tornado_server import TornadoServer


async def _module() -> str:
    return type(asyncio.get_running_loop()).__module__.partition(".")[0]


@pytest.mark.parametrize(("name", "module"), [("asyncio", "asyncio"), ("uvloop", "uvloop"), ("auto", "uvloop")])
def test_the_event_loop_is_the_one_that_was_named(name: str, module: str) -> None:
    """uvloop is installed here, so it is what "auto" means."""
    assert worker.chosen_event_loop(name) == module
    assert worker.run(_module(), name) == module


def test_without_uvloop_it_is_asyncios(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is an extra: nobody has to have it, and who asks for it is told how to get it."""
    monkeypatch.setitem(sys.modules, "uvloop", None)
    monkeypatch.setattr(worker, "find_spec", lambda _: None)
    assert worker.run(_module()) == "asyncio"
    with pytest.raises(ValueError, match=r"tornado-couch\[fast\]"):
        serve(lambda: None, event_loop="uvloop")
    told = CliRunner().invoke(serve_command, ["tests.service.service:make_app", "--set", "event_loop=uvloop"])
    assert told.exit_code == 2
    assert "tornado-couch[fast]" in told.output


def test_an_unknown_event_loop_is_refused() -> None:
    """With the names that there are."""
    with pytest.raises(ValueError, match='must be "auto", "asyncio" or "uvloop"'):
        serve(lambda: None, event_loop="twisted")


@pytest.mark.parametrize(("name", "kind"), [("httptools", Server), ("tornado", TornadoServer), ("auto", Server)])
def test_the_http_server_is_the_one_that_was_named(name: str, kind: type) -> None:
    """httptools is installed here, so its server is what "auto" means."""
    assert server_class(name) is kind


def test_without_httptools_the_server_is_tornados(monkeypatch: pytest.MonkeyPatch) -> None:
    """And naming it, or making it, says what to install."""
    monkeypatch.setattr(server_module, "httptools", None)
    assert server_class("auto") is TornadoServer
    with pytest.raises(ValueError, match=r"pip install 'tornado-couch\[fast\]'"):
        serve(lambda: None, http_server="httptools")
    with pytest.raises(ImportError, match=r"pip install 'tornado-couch\[fast\]'"):
        Server(Application())
    told = CliRunner().invoke(serve_command, ["tests.service.service:make_app", "--set", "http_server=httptools"])
    assert told.exit_code == 2
    assert "pip install 'tornado-couch[fast]'" in told.output


def test_an_unknown_http_server_is_refused() -> None:
    """By its name."""
    with pytest.raises(ValueError, match='must be "auto", "httptools" or "tornado"'):
        serve(lambda: None, http_server="apache")


def test_a_certificate_that_cannot_be_used_is_refused(tmp_path: Path) -> None:
    """Before anything is bound; a key needs a certificate."""
    missing = str(tmp_path / "missing.pem")
    for option, message in (("--certificate", "cannot be used"), ("--key", "give --certificate")):
        told = CliRunner().invoke(serve_command, ["tests.service.service:make_app", option, missing])
        assert told.exit_code == 2
        assert message in told.output
    with pytest.raises(ValueError, match="key needs a certificate"):
        serve(lambda: None, key=missing)
    with pytest.raises(OSError, match="No such file"):
        serve(lambda: None, certificate=missing)
