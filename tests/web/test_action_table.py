"""The table of actions and the shape of the handlers: what a new action takes, and what a request passes through."""

from __future__ import annotations

import sys
from pathlib import Path
from types import FrameType
from typing import Any, Generic

import pytest

from tests.web.conftest import Client, Serve, application
from tests.web.models import Place
from tornado_couch import CollectionHandler, DocumentHandler, Store, resource
from tornado_couch.web import ApiOperation, ReadOnly, ResourceHandler, openapi_document
from tornado_couch.web.action_table import ACTIONS, QUESTIONS, Action, is_read
from tornado_couch.web.resources import Event

UPLOADS = {"create.py", "gathering.py", "idempotency.py", "ndjson.py", "results.py", "bulk.py"}

LONGEST = {DocumentHandler: 8, CollectionHandler: 7}


def test_the_handlers_have_few_ancestors() -> None:
    """A handler inherits its actions' mixins and the base alone; everything else it owns."""
    for cls, most in LONGEST.items():
        ancestors = [each.__name__ for each in cls.__mro__ if each is not Generic]  # which is for type checkers
        print(f"{cls.__name__}: {len(ancestors)} classes, {', '.join(ancestors)}")
        assert len(ancestors) <= most


async def test_a_list_passes_through_nothing_that_exists_for_uploads(ask: Client) -> None:
    """Neither the lines of a body, nor idempotency, nor results, nor bulk requests."""
    ask.described = None  # describing passes through them
    files: set[str] = set()

    def called(frame: FrameType, event: str, _: Any) -> None:
        if event == "call" and "tornado_couch/web/" in frame.f_code.co_filename:
            files.add(Path(frame.f_code.co_filename).name)

    sys.setprofile(called)
    try:
        assert (await ask("GET", "/places")).status == 200
    finally:
        sys.setprofile(None)
    assert "list.py" in files
    assert not files & UPLOADS


def test_the_documentation_lists_what_policies_and_hooks_are_asked() -> None:
    """Every action with its method, and whether it writes, as `event.writes` says."""
    text = (Path(__file__).parents[2] / "docs" / "resources.md").read_text()
    table = text.partition("| Action | ")[2].partition("\n\n")[0].splitlines()[2:]
    rows = {cells[1].strip(" `"): [each.strip() for each in cells[2:5]] for cells in (row.split("|") for row in table)}
    assert rows.keys() == QUESTIONS
    for name, (request, asked, writes) in rows.items():
        if name in ACTIONS:
            assert request.startswith(ACTIONS[name].method)
        if name in ("deleted", "metrics"):  # no events
            assert (asked, writes) == ("policy", "no")
            continue
        event = Event(name, Place, None, None, None)  # type: ignore[arg-type]
        assert (asked, writes) == ("policy, hooks", "yes" if event.writes else "no")
        assert event.writes == (not is_read(name))


# ---------------------------------------------------------------- a new action: a row, a module, its mounting


class CountMixin(ResourceHandler):
    """The module of a new action."""

    async def tally(self) -> None:
        """Answer with the number of documents."""
        page = await self.store.find(self.resource.model, limit=1, count=True)
        await self.answers.json(200, b'{"count": %d}' % page.total, None)

    @staticmethod
    def describe_tally(operation: ApiOperation) -> None:
        """Describe it."""
        operation.says("Count the places")
        operation.answers_with(200, "The number.", {"type": "object"})


@pytest.fixture
def tally(monkeypatch: pytest.MonkeyPatch) -> None:
    """The row of the new action."""
    monkeypatch.setitem(ACTIONS, "tally", Action("tally", "GET"))


@pytest.mark.usefixtures("tally")
async def test_a_new_action_takes_a_row_a_module_and_its_mounting(store: Store, serve: Serve) -> None:
    """Method, HEAD, policy, hooks and the API document follow from the row."""

    class Counted(CountMixin):
        pass

    mounted = resource("/count", Place, store, collection=Counted, policy=ReadOnly())
    ask = await serve(application(store, *mounted))
    reply = await ask("GET", "/count")
    assert (reply.status, reply.json) == (200, {"count": 0})
    assert (await ask("HEAD", "/count")).status == 200
    assert (await ask("POST", "/count", {})).headers["Allow"] == "GET, HEAD, OPTIONS"
    described = openapi_document(application(store, *mounted))["paths"]["/count"]
    assert (described["get"]["summary"], described["get"]["operationId"]) == ("Count the places", "tally_count")
    assert "post" not in described
