"""Documents, one by one."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.faults import until
from tornado_couch import errors
from tornado_couch.couch import Couch, Database, FakeTransport

ids = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=40).filter(
    lambda text: not text.startswith("_")
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@example("..")
@example(".")
@example("a/b")
@example("%2F")
@example("a%2Fb?c#d+e f")
@example("_design/a/b c")
@example("_local/..")
@example("éE\u0301\N{RED APPLE}")
@given(ids)
async def test_any_id_goes_round(database: Database, document_id: str) -> None:
    """Put, get, revision, all_docs, bulk_get and delete take any id, and give it back as it was."""
    written = await database.put({"_id": document_id, "n": 1})
    assert written.id == document_id
    assert await database.get(document_id) == {"_id": document_id, "_rev": written.rev, "n": 1}
    assert await database.revision(document_id) == written.rev
    if not document_id.startswith("_local/"):
        assert (await database.all_docs(key=document_id)).rows[0].id == document_id
        assert (await database.all_docs(keys=[document_id])).rows[0].id == document_id
        assert (await database.bulk_get([document_id]))[0][0].rev == written.rev
    await database.delete(document_id, written.rev)
    assert await database.revision(document_id) is None


async def test_a_document_is_created_replaced_and_deleted(database: Database) -> None:
    """Each write gives a new revision; what comes back is what was stored, members in order."""
    created = await database.put({"_id": "a", "z": 1.0, "b": [None, True, 2**70], "ä": {"y": 1, "x": 2}})
    assert created.accepted is False
    document = await database.get("a")
    assert list(document) == ["_id", "_rev", "z", "b", "ä"]
    assert document["b"] == [None, True, 2**70]
    assert list(document["ä"]) == ["y", "x"]
    document["z"] = 2
    replaced = await database.put(document)
    assert replaced.rev.startswith("2-")
    deleted = await database.delete("a", replaced.rev)
    assert deleted.rev.startswith("3-")


async def test_missing_and_deleted_differ_by_their_reason(database: Database) -> None:
    """Both are NotFound; CouchDB's reason tells which."""
    with pytest.raises(errors.NotFound) as caught:
        await database.get("a")
    assert (caught.value.error, caught.value.reason) == ("not_found", "missing")
    written = await database.put({"_id": "a"})
    await database.delete("a", written.rev)
    with pytest.raises(errors.NotFound) as caught:
        await database.get("a")
    assert caught.value.reason == "deleted"
    with pytest.raises(errors.NotFound):
        await database.delete("a", written.rev)
    assert await database.revision("a") is None


async def test_a_lost_update_is_a_conflict(database: Database) -> None:
    """Whoever does not name the current revision writes nothing."""
    first = await database.put({"_id": "a", "n": 1})
    await database.put({"_id": "a", "_rev": first.rev, "n": 2})
    for attempt in ({"_id": "a", "_rev": first.rev, "n": 3}, {"_id": "a", "n": 3}):
        with pytest.raises(errors.Conflict) as caught:
            await database.put(attempt)
        assert (caught.value.status, caught.value.error) == (409, "conflict")
    with pytest.raises(errors.Conflict):
        await database.delete("a", first.rev)
    assert (await database.get("a"))["n"] == 2


async def test_a_document_tells_its_revisions_and_conflicts(database: Database) -> None:
    """`rev`, `revs`, `revs_info`, `conflicts` and the other options of CouchDB."""
    first = await database.put({"_id": "a", "n": 1})
    second = await database.put({"_id": "a", "_rev": first.rev, "n": 2})
    rival = {"_id": "a", "_rev": "2-0", "_revisions": {"start": 2, "ids": ["0", first.rev[2:]]}, "n": 3}
    assert await database.bulk_docs([rival], new_edits=False) == []
    assert (await database.get("a", rev=first.rev))["n"] == 1
    assert (await database.get("a", rev="2-0"))["n"] == 3
    document = await database.get("a", conflicts=True, revs=True, revs_info=True)
    assert document["_rev"] == second.rev
    assert document["_conflicts"] == ["2-0"]
    assert document["_revisions"] == {"start": 2, "ids": [second.rev[2:], first.rev[2:]]}
    assert [each["status"] for each in document["_revs_info"]] == ["available", "available"]
    assert "_conflicts" not in await database.get("a")
    with pytest.raises(errors.NotFound):
        await database.get("a", rev="2-ffff")


async def test_a_design_document_may_refuse(database: Database) -> None:
    """`validate_doc_update` gives Forbidden, with its own words."""
    check = "function(doc) { if (doc.n < 0) throw({forbidden: 'n must not be negative'}); }"
    await database.put({"_id": "_design/check", "validate_doc_update": check})

    async def checked() -> bool:  # CouchDB checks from a cache of design documents, which may lag a little
        return (await database.bulk_docs([{"n": -1}]))[0].error is not None

    await until(checked)
    with pytest.raises(errors.Forbidden) as caught:
        await database.put({"_id": "a", "n": -1})
    assert caught.value.reason == "n must not be negative"
    results = await database.bulk_docs([{"_id": "a", "n": -1}, {"_id": "b", "n": 1}])
    assert (results[0].error, results[0].reason) == ("forbidden", "n must not be negative")
    assert results[1].error is None


@pytest.mark.parametrize("document", [{}, {"_id": 7}, {"_id": ""}, {"_id": "_x"}, {"_id": "a", "n": float("nan")}])
async def test_what_can_be_no_document_is_refused_before_any_request(document: dict[str, Any]) -> None:
    """ValueError, and nothing sent."""
    transport = FakeTransport([])
    with pytest.raises(ValueError, match=r"_id|id|JSON"):
        await Couch("http://couch", transport=transport)["db"].put(document)
    assert not transport.requests


async def test_unknown_options_are_refused() -> None:
    """A misspelt option raises TypeError instead of being sent or ignored."""
    database = Couch("http://couch", transport=FakeTransport([]))["db"]
    for call in (
        database.get("a", conflict=True),  # type: ignore[call-arg]
        database.view("d", "v", start_key=1),  # type: ignore[call-arg]
        database.find({}, bookmarks="x"),  # type: ignore[call-arg]
    ):
        with pytest.raises(TypeError, match="no"):
            await call
