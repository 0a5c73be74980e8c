"""Audit and rotation of real databases, by their functions and by the command line."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from tests.faults import Call, Fault, FaultProxy, Forward, answer_status
from tests.security.kinds import key_set
from tornado_couch import Couch, Database, Model, Retry, Store, install
from tornado_couch.cli.main import main
from tornado_couch.maintain.audit import Finding, audit
from tornado_couch.maintain.rotate import Rotation, RotationPage
from tornado_couch.revision import digest, revision_of
from tornado_couch.security import KeyChain, KeyRing, Purpose, Scheme, ScryptCost, as_keys, keyczar

RING = KeyRing.create()


class Place(Model, type="place_v1.0", key="name", unique=True):
    name: str
    size: int = 0


def grow(latest: Place) -> None:
    latest.size += 1


def place_id(name: str) -> str:
    found = Place.__couch__.document_id(name)  # type: ignore[union-attr]
    assert found is not None
    return found


@pytest.fixture
async def store(database: Database) -> Store:
    await install(database.server, database.name, [Place])  # type: ignore[arg-type]
    return Store(database, signer=RING)


async def findings(database: Database, keys: Any = RING, **options: Any) -> list[Finding]:
    return [found async for page in audit(database, keys, **options) for found in page.findings]


async def rotated(rotation: Rotation, **options: Any) -> RotationPage:
    """What all pages come to."""
    total = RotationPage(0)
    async for page in rotation.run(**options):
        total.since = page.since
        total.renewed += page.renewed
        total.current += page.current
        total.findings += page.findings
    return total


async def forge(store: Store) -> dict[str, str]:
    """Documents that others changed, each by its reason; and good ones, a good tombstone among them."""
    database = store.database
    reasons = ["altered", "unsigned", "moved", "rolled back", "deleted"]
    for name in [*reasons, "good", "gone"]:
        await store.create(Place(name=name))
    older = await database.get(place_id("rolled back"))
    for name in reasons:
        await store.update(Place, name, grow)
    await store.delete(Place, "gone")
    held = {name: await database.get(place_id(name)) for name in reasons}
    await database.put({**held["altered"], "size": 3})
    await database.put({k: v for k, v in held["unsigned"].items() if k != "tornado_couch_signature"})
    await database.put({**held["altered"], "_id": place_id("moved"), "_rev": held["moved"]["_rev"]})
    await database.put({**older, "_rev": held["rolled back"]["_rev"]})
    await database.delete(place_id("deleted"), held["deleted"]["_rev"])
    return {place_id(name): name for name in reasons}


async def test_the_audit_finds_what_was_done_behind_the_back(store: Store) -> None:
    """Each by its reason, and nothing else; design documents are none of its business."""
    wanted = await forge(store)
    assert {found.id: found.reason for found in await findings(store.database, page_size=3)} == wanted


async def test_the_audit_looks_at_leaves_that_no_read_shows(store: Store) -> None:
    """An unsigned conflicting leaf that loses, and the tombstone of one."""
    await store.create(Place(name="a"))
    await store.update(Place, "a", grow)
    losers: list[dict[str, Any]] = [
        {"_id": place_id("a"), "_rev": "1-00"},
        {"_id": place_id("a"), "_rev": "1-01", "_deleted": True},
    ]
    await store.database.bulk_docs(losers, new_edits=False)
    assert (await store.get(Place, "a")).size == 1
    found = {each.revision: each.reason for each in await findings(store.database)}
    assert found == {"1-00": "unsigned", "1-01": "deleted"}


async def test_the_audit_finds_another_attempt_at_a_change(store: Store, proxy: FaultProxy) -> None:
    """What CouchDB refused can be planted at its true revision, where it verifies. The reconciler withdraws it."""
    await store.create(Place(name="a"))
    refused: list[dict[str, Any]] = []

    async def refuse(call: Call, forward: Forward) -> None:
        refused.append(call.request.json())
        await answer_status(409, "conflict", "Document update conflict.")(call, forward)

    proxy.faults.append(Fault(refuse, method="PUT"))
    async with Couch(proxy.url) as client:
        behind = Store(client[store.database.name], signer=RING, retry=Retry(base=0.001))
        assert (await behind.update(Place, "a", grow)).size == 1
    (attempt,) = refused
    parent = attempt["_rev"]
    revision = revision_of(parent, False, {name: each for name, each in attempt.items() if not name.startswith("_")})
    ids = [digest(revision), digest(parent)]
    planted = {**attempt, "_rev": revision, "_revisions": {"start": 2, "ids": ids}}
    assert not await store.database.bulk_docs([planted], new_edits=False)
    (found,) = await findings(store.database)
    assert (found.id, found.reason) == (place_id("a"), "replayed or late")
    await store.reconciliation.reconcile(Place, place_id("a"))
    assert await findings(store.database) == []
    assert (await store.get(Place, "a")).size == 1


async def test_the_audit_goes_on_where_it_was(store: Store) -> None:
    """What was audited is not audited again unless it changed."""
    for number in range(5):
        await store.create(Place(name=str(number)))
    pages = [page async for page in audit(store.database, RING, page_size=2)]
    assert sum(page.checked for page in pages) == 5
    await store.database.put({"_id": "new"})
    (page,) = [page async for page in audit(store.database, RING, since=pages[-1].since)]
    assert [found.id for found in page.findings] == ["new"]


async def test_rotation_leaves_everything_signed_by_the_new_key(store: Store) -> None:
    """Tombstones and losing leaves too; the old key can go then, and a second run has nothing to do."""
    for name in ("a", "b", "c"):
        await store.create(Place(name=name))
    await store.delete(Place, "c")
    new = KeyRing.create()
    rotation = Rotation(store.database, KeyChain(new, RING))
    assert (await rotated(rotation, page_size=2)).renewed == 3
    assert await findings(store.database, new) == []
    assert (await rotated(rotation)).renewed == 0
    assert (await Store(store.database, signer=new, verify="history").get(Place, "a")).name == "a"
    await Store(store.database, signer=new, verify="history").create(Place(name="c"))
    assert await findings(store.database, new) == []


async def test_rotation_does_not_sign_what_it_cannot_believe(store: Store) -> None:
    """It reports them, and the audit still finds each."""
    wanted = await forge(store)
    new = KeyRing.create()
    keys = KeyChain(new, RING)
    done = await rotated(Rotation(store.database, keys))
    assert {found.id: found.reason for found in done.findings} == wanted
    assert {found.id: found.reason for found in await findings(store.database, keys)} == wanted


async def test_adopting_signs_what_was_never_signed(store: Store) -> None:
    """A database from before, its tombstones included; what is signed wrongly is still not believed."""
    plain = Store(store.database)
    for name in ("a", "b"):
        await plain.create(Place(name=name))
    await plain.delete(Place, "b")
    await store.create(Place(name="c"))
    held = await store.database.get(place_id("c"))
    await store.database.put({**held, "size": 9})
    done = await rotated(Rotation(store.database, RING, adopt=True))
    assert (done.renewed, [found.reason for found in done.findings]) == (2, ["altered"])
    assert [found.reason for found in await findings(store.database)] == ["altered"]


async def test_rotation_beside_writers_loses_nothing(store: Store) -> None:
    """Each increment of each writer is there at the end, and everything is signed by the new key."""
    names = [f"p{number}" for number in range(8)]
    for name in names:
        await store.create(Place(name=name))
    new = KeyRing.create()
    keys = KeyChain(new, RING)
    writer = Store(store.database, signer=keys)
    old_writer = Store(store.database, signer=KeyChain(RING, new))  # an instance that has not promoted yet
    rotation = Rotation(store.database, keys)

    async def write(one: Store, name: str) -> None:
        for _ in range(5):
            await one.update(Place, name, grow)

    work = [write(one, name) for one in (writer, old_writer) for name in names]
    await asyncio.gather(rotated(rotation, page_size=3), *work)
    done = await rotated(rotation)
    assert done.findings == []
    assert [(await writer.get(Place, name)).size for name in names] == [10] * len(names)
    assert await findings(store.database, new) == []


async def test_documents_of_the_classic_scheme_become_those_of_the_new(store: Store) -> None:
    """With the Keyczar key set that made them behind the ring."""
    old = key_set(keyczar.Signer, "hmac")
    classic = Store(store.database, signer=old, scheme=Scheme.CLASSIC)
    await classic.create(Place(name="a"))
    done = await rotated(Rotation(store.database, KeyChain(RING, as_keys(old))))
    assert (done.renewed, done.findings) == (1, [])
    assert (await store.get(Place, "a")).name == "a"


class TestCommands:
    """`tornado-couch audit` and `rotate`."""

    @pytest.fixture
    def ring_file(self, tmp_path: Path) -> str:
        RING.save(tmp_path / "ring")
        return str(tmp_path / "ring")

    @staticmethod
    async def run(*args: str) -> Result:
        return await asyncio.to_thread(CliRunner().invoke, main, args)

    async def test_audit_says_what_it_found_and_where_to_go_on(
        self, store: Store, server_url: str, ring_file: str
    ) -> None:
        """A table or JSON; status 1 for findings, 0 where there are none."""
        wanted = await forge(store)
        where = ("--url", server_url, "--database", store.database.name)
        found = await self.run("audit", *where, "--keys", ring_file)
        assert found.exit_code == 1
        *rows, _ = found.stdout.splitlines()
        assert {row[14:].split("  ")[0]: row[:12].rstrip() for row in rows} == wanted
        as_json = await self.run("audit", *where, "--keys", ring_file, "--json")
        report = json.loads(as_json.stdout)
        assert {each["id"]: each["reason"] for each in report["findings"]} == wanted
        assert report["checked"] == 7
        later = await self.run("audit", *where, "--keys", ring_file, "--since", str(report["last_seq"]))
        assert later.exit_code == 0

    async def test_rotate_signs_with_the_first_keys(
        self, store: Store, server_url: str, ring_file: str, tmp_path: Path
    ) -> None:
        """And reads with the others."""
        await store.create(Place(name="a"))
        new = KeyRing.create()
        new.save(tmp_path / "new")
        where = ("--url", server_url, "--database", store.database.name)
        done = await self.run("rotate", *where, "--keys", str(tmp_path / "new"), "--keys", ring_file, "--json")
        assert done.exit_code == 0
        assert json.loads(done.stdout)["renewed"] == 1
        assert await findings(store.database, new) == []

    async def test_a_missing_database_is_one_error_alone(self, server_url: str, ring_file: str) -> None:
        """No report of nothing beside it, in JSON neither."""
        for more in ((), ("--json",)):
            found = await self.run("audit", "--url", server_url, "--database", "none", "--keys", ring_file, *more)
            bare = re.sub("//.*@", "//", server_url.rstrip("/"))
            assert found.output == f"Error: there is no database none at {bare}; correct --database\n"

    async def test_what_cannot_be_done_is_status_2(self, server_url: str, ring_file: str, tmp_path: Path) -> None:
        """No keys, no such file, no such database, no URL: a line, and no traceback."""
        for args in (
            ["--database", "x"],
            ["--database", "x", "--keys", str(tmp_path / "none")],
            ["--database", "no-such-database", "--keys", ring_file],
            ["--keys", ring_file],
        ):
            found = await self.run("audit", "--url", server_url, *args)
            assert found.exit_code == 2
            assert "Error" in found.output
            assert "Traceback" not in found.output

    @pytest.mark.parametrize(
        ("fault", "words"),
        [
            ("missing", "is missing"),
            ("open to others", "chmod 600"),
            ("cut off", "not a JSON object"),
            ("no key ring", "not a key ring"),
            ("for another purpose", "its purpose is to encrypt"),
            ("wrapped", "encrypted with a passphrase"),
        ],
    )
    async def test_keys_that_cannot_be_used_are_one_clear_line(
        self, store: Store, server_url: str, tmp_path: Path, fault: str, words: str
    ) -> None:
        """With status 2, and nothing of a secret in it."""
        await store.create(Place(name="a"))
        path = tmp_path / "keys"
        ring = KeyRing.create(Purpose.ENCRYPT)
        ring.save(path, passphrase="open sesame" if fault == "wrapped" else None, cost=ScryptCost(n=2**10))
        text = path.read_bytes()
        if fault == "missing":
            path.unlink()
        elif fault == "open to others":
            path.chmod(0o644)
        elif fault == "cut off":
            path.write_bytes(text[:-20])
        elif fault == "no key ring":
            path.write_bytes(b"{}")
        found = await self.run("audit", "--url", server_url, "--database", store.database.name, "--keys", str(path))
        assert found.exit_code == 2
        (line,) = [each for each in found.stderr.splitlines() if each]
        assert words in line
        assert line.startswith("Error: ")
