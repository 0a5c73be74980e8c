"""The anchor: what no signature can show, since it was put back or removed as a whole."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pytest

from tests.store.models import Place
from tornado_couch import Database, Store, install
from tornado_couch.couch import names
from tornado_couch.errors import SecurityError
from tornado_couch.maintain.anchor import AnchoredAudit
from tornado_couch.security import KeyRing

RING = KeyRing.create()


@pytest.fixture
async def store(database: Database) -> Store:
    """Three documents, one of them changed and one deleted."""
    await install(database.server, database.name, [Place])  # type: ignore[arg-type]
    store = Store(database, signer=RING)
    for name in "abc":
        await store.create(Place(name=name))
    await store.update(Place, "a", lambda latest: setattr(latest, "size", 1))
    await store.delete(Place, "c")
    return store


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the state is kept."""
    return tmp_path / "orchard.anchor"


def place_id(name: str) -> str:
    return Place.__couch__.document_id(name) or ""  # type: ignore[union-attr]


async def audited(store: Store, path: Path, **options: Any) -> tuple[list[tuple[str, str]], int]:
    """What an audit finds, as id and reason, and how many leaves it verified."""
    pages = [page async for page in AnchoredAudit(store.database, RING, path).run(**options)]
    findings = [(each.id, each.reason) for page in pages for each in page.findings]
    return findings, sum(page.checked for page in pages)


async def purge(database: Database, document_id: str) -> None:
    """Remove a document as if it had never been there."""
    (leaves,) = await database.bulk_get([document_id])
    body = {document_id: [each.rev for each in leaves]}
    await database._exchange.call("POST", names.database(database.name, "_purge"), None, body)


async def kept(database: Database) -> list[dict[str, Any]]:
    """All leaves with their histories, as somebody keeps them to bring them back."""
    page = await database.changes()
    found = await database.bulk_get([each.id for each in page.results], revs=True)
    return [leaf.document for leaves in found for leaf in leaves if leaf.document is not None]


async def test_what_the_service_does_is_no_finding_and_only_that_is_read(store: Store, path: Path) -> None:
    """Changes, deletions, creations and conflicts: each audit reads what changed since the last one."""
    assert await audited(store, path) == ([], 3)
    assert await audited(store, path) == ([], 0)
    await store.update(Place, "a", lambda latest: setattr(latest, "size", 2))
    await store.update(Place, "a", lambda latest: setattr(latest, "size", 3))
    await store.create(Place(name="c"))
    await store.delete(Place, "b")
    await store.create(Place(name="d"))
    assert await audited(store, path) == ([], 4)
    assert await audited(store, path, full=True) == ([], 4)
    assert await audited(store, path) == ([], 0)


async def test_a_purged_document_is_found_until_it_is_cleared(store: Store, path: Path) -> None:
    """A purge is in no changes feed."""
    await audited(store, path)
    await purge(store.database, place_id("a"))
    await purge(store.database, place_id("c"))
    gone = [(place_id("a"), "purged"), (place_id("c"), "purged")]
    for _ in range(2):
        found, _ = await audited(store, path)
        assert sorted(set(found)) == gone
    await AnchoredAudit(store.database, RING, path).clear([place_id("a"), place_id("c")])
    assert (await audited(store, path))[0] == []


async def test_a_document_that_was_put_back_is_found(store: Store, path: Path) -> None:
    """Purged, and replaced by an older state of which everything verifies."""
    older = await kept(store.database)
    await store.update(Place, "a", lambda latest: setattr(latest, "size", 2))
    await audited(store, path)
    await purge(store.database, place_id("a"))
    await store.database.bulk_docs([each for each in older if each["_id"] == place_id("a")], new_edits=False)
    assert (await store.get(Place, "a")).size == 1  # no signature can show it
    assert set((await audited(store, path))[0]) == {(place_id("a"), "put back")}
    assert set((await audited(store, path))[0]) == {(place_id("a"), "put back")}
    await AnchoredAudit(store.database, RING, path).clear([place_id("a")])
    assert (await audited(store, path))[0] == []


async def test_a_database_that_was_put_back_as_a_whole_is_found(store: Store, path: Path) -> None:
    """Each document that changed since the copy was made is named."""
    older = await kept(store.database)
    await store.update(Place, "a", lambda latest: setattr(latest, "size", 2))
    await store.create(Place(name="d"))
    await audited(store, path)
    server, name = store.database.server, store.database.name
    await server.delete_database(name)  # type: ignore[attr-defined]
    await server.create_database(name)  # type: ignore[attr-defined]
    await store.database.bulk_docs(older, new_edits=False)
    assert set((await audited(store, path))[0]) == {(place_id("a"), "put back"), (place_id("d"), "purged")}


async def test_a_purge_hidden_by_other_writes_is_found_by_a_full_audit(store: Store, path: Path) -> None:
    """An attacker who brings the numbers back where they were is found when all documents are read."""
    await audited(store, path)
    await store.update(Place, "b", lambda latest: setattr(latest, "size", 9))
    await purge(store.database, place_id("b"))
    assert (place_id("b"), "purged") in (await audited(store, path, full=True))[0]


async def test_a_fault_is_reported_until_it_is_mended(store: Store, path: Path) -> None:
    """Not only by the audit that met the change first."""
    await audited(store, path)
    held = await store.database.get(place_id("b"))
    await store.database.put({**held, "size": 666})
    for _ in range(2):
        assert set((await audited(store, path))[0]) == {(place_id("b"), "altered")}


async def test_an_anchor_that_was_changed_is_refused(store: Store, path: Path) -> None:
    """State and root are held against each other, and the root against its signature."""
    await audited(store, path)
    root = path.with_name("orchard.anchor.root")
    signed = root.read_bytes()
    with pytest.raises(SecurityError, match="not what was signed"):
        _ = [page async for page in AnchoredAudit(store.database, KeyRing.create(), path).run()]
    root.write_bytes(signed.replace(b'"documents":', b'"documents":1'))
    with pytest.raises(SecurityError, match="not what was signed"):
        await audited(store, path)
    root.unlink()
    with pytest.raises(SecurityError, match="is missing"):
        await audited(store, path)
    root.write_bytes(signed)
    assert await audited(store, path) == ([], 0)
    with sqlite3.connect(path) as rows:
        rows.execute("DELETE FROM documents WHERE id = ?", (place_id("a"),))
    rows.close()
    with pytest.raises(SecurityError, match="not what was signed"):
        await audited(store, path)


async def test_the_root_can_be_kept_elsewhere(store: Store, path: Path, tmp_path: Path) -> None:
    """It is small, and the state is worth nothing without it."""
    root = tmp_path / "elsewhere.json"
    for checked in (3, 0):
        pages = [page async for page in AnchoredAudit(store.database, RING, path, root=root).run()]
        assert sum(page.checked for page in pages) == checked
    assert root.stat().st_size < 600
    with pytest.raises(SecurityError, match="is missing"):
        await audited(store, path)


async def test_a_root_that_was_not_yet_put_in_its_place_counts(store: Store, path: Path) -> None:
    """A process that is killed between the two files leaves a state that the next audit can use."""
    await audited(store, path)
    root = path.with_name("orchard.anchor.root")
    root.rename(root.with_name("orchard.anchor.root.new"))
    root.write_bytes(b"{}")
    assert await audited(store, path) == ([], 0)
    assert b"signature" in root.read_bytes()
