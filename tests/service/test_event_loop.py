"""Which event loop a service runs in."""

from __future__ import annotations

import asyncio
import sys

import pytest
from click.testing import CliRunner

from tornado_couch.cli.serve import serve as serve_command
from tornado_couch.service import worker
from tornado_couch.service.processes import serve


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
