"""A key ring, and two servers that replicate to each other, as two data centres do."""

from __future__ import annotations

import os
import uuid
from collections.abc import AsyncIterator, Iterator

import pytest

from tornado_couch import Couch, Database
from tornado_couch.couch import names
from tornado_couch.embedded.server import BackgroundCouch
from tornado_couch.security import KeyRing

SECOND = [
    "embedded",
    *(["COUCHDB_URL"] if os.environ.get("COUCHDB_URL") and os.environ.get("COUCHDB_URL_2") else []),
]


@pytest.fixture(scope="module")
def ring() -> KeyRing:
    """Keys that sign and encrypt."""
    return KeyRing.create()


@pytest.fixture(scope="session", params=SECOND)
def both_urls(request: pytest.FixtureRequest) -> Iterator[tuple[str, str]]:
    """The URLs of two servers, with an admin's credentials where they need them."""
    if request.param == "COUCHDB_URL":
        yield os.environ["COUCHDB_URL"].rstrip("/"), os.environ["COUCHDB_URL_2"].rstrip("/")
        return
    first = str(request.getfixturevalue("embedded_couch_url"))
    with BackgroundCouch() as second:
        yield first, second


class Sites:
    """Two databases of one name on two servers."""

    def __init__(self, databases: list[Database], urls: list[str]) -> None:
        self.databases = databases
        self._urls = urls
        self._since: dict[tuple[int, int], str | int] = {}

    async def replicate(self, source: int, target: int) -> None:
        """Bring every leaf from one to the other, as replication does; CouchDB's own takes seconds to begin."""
        page = await self.databases[source].changes(since=self._since.get((source, target), 0), style="all_docs")
        wanted = [(each.id, revision) for each in page.results for revision in each.revisions]
        found = await self.databases[source].bulk_get(wanted, revs=True)
        documents = [leaf.document for leaves in found for leaf in leaves if leaf.document is not None]
        assert not await self.databases[target].bulk_docs(documents, new_edits=False)
        self._since[source, target] = page.last_seq

    async def replicate_natively(self) -> None:
        """Let the first server replicate both ways."""
        for source, target in ((0, 1), (1, 0)):
            body = {"source": self._urls[source], "target": self._urls[target]}
            await self.databases[0]._exchange.call("POST", names.server("/_replicate"), None, body)

    async def exchange(self) -> None:
        """Replicate both ways."""
        await self.replicate(0, 1)
        await self.replicate(1, 0)

    async def leaves(self, document_id: str) -> list[list[str]]:
        """The revisions of a document's leaves that live, in both."""
        found = [(await each.bulk_get([document_id]))[0] for each in self.databases]
        return [
            sorted(leaf.rev or "" for leaf in some if leaf.document and not leaf.document.get("_deleted"))
            for some in found
        ]


@pytest.fixture
async def sites(both_urls: tuple[str, str]) -> AsyncIterator[Sites]:
    """Two empty databases."""
    name = f"test-{uuid.uuid4().hex}"
    async with Couch(both_urls[0]) as first, Couch(both_urls[1]) as second:
        for couch in (first, second):
            await couch.create_database(name)
        yield Sites([first[name], second[name]], [f"{url}/{name}" for url in both_urls])
        for couch in (first, second):
            await couch.delete_database(name)
