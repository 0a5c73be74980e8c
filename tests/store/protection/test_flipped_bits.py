"""Every bit of a stored document that is signed, hashed and encrypted, flipped through the database itself."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import Iterator
from typing import Annotated, Any
from urllib.parse import quote

import aiohttp
import pytest

from tornado_couch import Database, Encrypted, Hashed, Indexed, Model, Store, _json, install
from tornado_couch.errors import InvalidSignature
from tornado_couch.maintain.audit import audit
from tornado_couch.security import KeyRing

RING = KeyRing.create()
Document = dict[str, Any]
JSON = {"Content-Type": "application/json"}
BATCH = 128


class UniqueGuest(Model, type="guest_v1.0", key="name", unique=True):
    name: str
    visits: int = 0
    weight: float = 1.5
    pin: Annotated[str | None, Hashed(cost=4)] = None
    token: Annotated[str | None, Hashed("sha3-512"), Indexed()] = None
    email: Annotated[str | None, Encrypted(searchable=True)] = None
    notes: Annotated[Any, Encrypted()] = None


@pytest.fixture
async def store(database: Database) -> Store:
    await install(database.server, database.name, [UniqueGuest])  # type: ignore[arg-type]
    return Store(database, signer=RING, crypter=RING)


def flips(text: bytes) -> Iterator[bytes]:
    """The text with each of its bits flipped in turn."""
    for bit in range(len(text) * 8):
        flipped = bytearray(text)
        flipped[bit // 8] ^= 1 << bit % 8
        yield bytes(flipped)


def parsed(text: bytes) -> Document | None:
    """The document that a text is; None where CouchDB has to judge it by itself."""
    try:
        found = json.loads(text)
    except ValueError:
        return None
    fits = isinstance(found, dict) and isinstance(found.get("_id"), str) and not found["_id"].startswith("_")
    return found if fits and [name for name in found if name.startswith("_")] == ["_id"] else None


async def put_raw(url: str, texts: list[bytes]) -> list[int]:
    """The statuses of requests to put these texts as leaves of the document at a URL."""
    gate = asyncio.Semaphore(16)

    async def put(session: aiohttp.ClientSession, number: int, text: bytes) -> int:
        query = f"?new_edits=false&rev=2-{number:032x}"
        async with gate, session.put(url + query, data=text) as reply:
            await reply.read()
            return reply.status

    async with aiohttp.ClientSession(headers=JSON) as session:
        return list(await asyncio.gather(*(put(session, *each) for each in enumerate(texts))))


async def test_every_flipped_bit_is_found(store: Store, server_url: str) -> None:
    """CouchDB refuses what is no document any more; every other flip is found by reads and by the audit.

    Each is stored beside the true revision, of the same parent, in the same place. Only the revision itself is left
    out, which is not part of what is written: CouchDB makes it.
    """
    database = store.database
    await store.create(UniqueGuest(name="é", visits=7, pin="1234", token="t", email="a@b", notes=[None]))
    await store.update(UniqueGuest, "é", lambda guest: setattr(guest, "visits", 8))
    ((true,),) = await database.bulk_get([UniqueGuest.__couch__.document_id("é")], revs=True)  # type: ignore[union-attr]
    held: Document = true.document or {}
    history = held.pop("_revisions")
    del held["_rev"]
    text = _json.dumps(held)

    flipped, odd = [], []
    for each in flips(text):
        document = parsed(each)
        if document is None:
            odd.append(each)
        else:
            assert document != held
            flipped.append(each)
    assert len(flipped) + len(odd) == len(text) * 8
    assert len(flipped) > len(odd) > 500

    url = f"{server_url.rstrip('/')}/{database.name}"
    for start in range(0, len(flipped), BATCH):
        batch = flipped[start : start + BATCH]
        await put_leaves(url, batch, history["ids"][1:])
        await check(store, len(batch))
    statuses = await put_raw(f"{url}/{quote(held['_id'])}", odd)
    assert set(statuses) <= {400, 201}
    await check(store, statuses.count(201))


async def put_leaves(url: str, texts: list[bytes], parents: list[str]) -> None:
    """Store texts as leaves beside the true one, each upon the same parent: what no client's check hinders."""
    revisions = [f"{number:032x}" for number in range(len(texts))]
    members = [{"_rev": f"2-{each}", "_revisions": {"start": 2, "ids": [each, *parents]}} for each in revisions]
    documents = [text[:-1] + b"," + json.dumps(each).encode()[1:] for each, text in zip(members, texts, strict=True)]
    body = io.BytesIO(b'{"new_edits":false,"docs":[' + b",".join(documents) + b"]}")
    async with aiohttp.ClientSession(headers=JSON) as session, session.post(f"{url}/_bulk_docs", data=body) as reply:
        assert (reply.status, await reply.json()) == (201, [])


async def check(store: Store, count: int) -> None:
    """What was stored is found by reads and by the audit; afterwards it is gone."""
    rows = (await store.database.all_docs()).rows
    ids = [row.id for row in rows if row.id and not row.id.startswith("_")]
    leaves = [leaf for found in await store.database.bulk_get(ids, revs=True) for leaf in found]
    altered = [leaf for leaf in leaves if isinstance(store._guard.judged([leaf]), InvalidSignature)]
    assert (len(leaves), len(altered)) == (count + 1, count)
    findings = [each async for page in audit(store.database, RING) for each in page.findings]
    assert len(findings) == count
    purged: dict[str, list[str]] = {}
    for each in findings:
        purged.setdefault(each.id, []).append(each.revision)
    await store.database._call("POST", "_purge", body=json.dumps(purged).encode())
