"""Users, sessions, and what `_security` lets them do."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.embedded.client import Client

USER = {"type": "user", "name": "ann", "roles": ["gardener"], "password": "pw"}


@pytest.fixture
def ann(server: Client) -> Iterator[Client]:
    """A client that logs in as the user ann."""
    server.put("/_users")
    assert server.put("/_users/org.couchdb.user:ann", USER).status == 201
    yield Client(f"http://{server.host}:{server.port}", "ann:pw")
    rev = server.get("/_users/org.couchdb.user:ann").json["_rev"]
    server.delete(f"/_users/org.couchdb.user:ann?rev={rev}")


def as_ann(ann: Client, db: Client) -> Client:
    return ann.within(db.base.strip("/"))


def test_a_password_is_stored_hashed(server: Client, ann: Client) -> None:
    """The stored user has PBKDF2 members and no password; the right password logs in, a wrong one does not."""
    stored = server.get("/_users/org.couchdb.user:ann").json
    assert "password" not in stored
    assert (stored["password_scheme"], stored["pbkdf2_prf"], len(stored["derived_key"])) == ("pbkdf2", "sha256", 64)
    assert ann.get("/_session").json["userCtx"] == {"name": "ann", "roles": ["gardener"]}
    wrong = Client(f"http://{ann.host}:{ann.port}", "ann:wrong")
    assert wrong.get("/_session").status == 401


def test_a_new_password_ends_the_old_ones_sessions(server: Client, ann: Client) -> None:
    """A cookie works until the password changes; then neither it nor the old password does."""
    bare = Client(f"http://{ann.host}:{ann.port}")
    answer = bare.post("/_session", {"name": "ann", "password": "pw"})
    cookie = answer.headers["set-cookie"].partition(";")[0]
    assert bare.get("/_session", Cookie=cookie).json["userCtx"]["name"] == "ann"
    stored = server.get("/_users/org.couchdb.user:ann").json
    assert server.put("/_users/org.couchdb.user:ann", {**stored, "password": "new"}).status == 201
    assert bare.get("/_session", Cookie=cookie).json["userCtx"]["name"] is None
    assert ann.get("/_session").status == 401
    assert Client(f"http://{ann.host}:{ann.port}", "ann:new").get("/_session").status == 200


@pytest.mark.parametrize("forge", [lambda cookie: cookie[:-3] + "abc", lambda cookie: cookie[:20], lambda _: "x"])
def test_a_forged_cookie_is_nobody(ann: Client, forge: object) -> None:
    """A cookie that was changed is refused, or not believed."""
    bare = Client(f"http://{ann.host}:{ann.port}")
    answer = bare.post("/_session", {"name": "ann", "password": "pw"})
    value = answer.headers["set-cookie"].partition(";")[0].partition("=")[2]
    answer = bare.get("/_all_dbs", Cookie=f"AuthSession={forge(value)}")  # type: ignore[operator]
    assert answer.status in (400, 401)


@pytest.mark.parametrize(
    ("security", "reads", "writes_designs"),
    [
        ({}, 200, 403),
        ({"members": {"names": ["ann"]}}, 200, 403),
        ({"members": {"roles": ["gardener"]}}, 200, 403),
        ({"members": {"names": ["bob"]}}, 403, 403),
        ({"members": {"roles": ["_admin"]}}, 403, 403),
        ({"members": {"names": ["bob"]}, "admins": {"names": ["ann"]}}, 200, 201),
        ({"members": {"names": ["bob"]}, "admins": {"roles": ["gardener"]}}, 200, 201),
    ],
)
def test_security(db: Client, ann: Client, security: dict[str, object], reads: int, writes_designs: int) -> None:
    """Members read and write documents, admins of the database design documents too, others nothing."""
    db.save("a", {})
    db.put("/_security", security)
    mine = as_ann(ann, db)
    for path in ("", "/a", "/_all_docs", "/_changes", "/_security"):
        assert mine.get(path).status == reads
    assert mine.put("/b", {}).status == (201 if reads == 200 else 403)
    assert mine.put("/_design/d", {}).status == writes_designs
    rows = mine.post("/_bulk_docs", {"docs": [{"_id": "_design/e"}]})
    if reads == 200:
        assert rows.json[0].get("error") == (None if writes_designs == 201 else "forbidden")
    assert mine.put("/_security", {}).status == (200 if writes_designs == 201 else 403)


def test_users_are_not_admins(server: Client, db: Client, ann: Client) -> None:
    """A user makes no databases, sees no list of them, no settings, no other users, and purges nothing."""
    for method, path in [("PUT", "/x"), ("DELETE", db.base), ("GET", "/_all_dbs"), ("GET", "/_node/_local/_config"),
                         ("GET", "/_users/_all_docs"), ("GET", "/_users/_changes"), ("GET", "/_scheduler/jobs"),
                         ("POST", f"{db.base}/_purge")]:  # fmt: skip
        assert ann.ask(method, path, {} if method == "POST" else None).status == 401
    assert ann.get("/_users/org.couchdb.user:ann").status == 403


def test_users_see_themselves_alone_where_users_is_open(server: Client, ann: Client) -> None:
    """Where `_users` lets members in, each reads and changes the own document, not its roles, and nobody else's."""
    server.put("/_users/_security", {"members": {"roles": ["gardener"]}})
    server.put("/_users/org.couchdb.user:bob", {**USER, "name": "bob"})
    try:
        mine = ann.get("/_users/org.couchdb.user:ann").json
        assert ann.get("/_users/org.couchdb.user:bob").status == 404
        assert ann.put("/_users/org.couchdb.user:ann", {**mine, "roles": ["gardener", "boss"]}).status == 403
        assert ann.put("/_users/org.couchdb.user:ann", {**mine, "note": 1}).status == 201
        for path in ("/_users/_all_docs", "/_users/_changes", "/_users/_design_docs", "/_users/_bulk_get"):
            assert ann.ask("GET", path).status == 401
        assert ann.post("/_users/_find", {"selector": {}}).status == 401
    finally:
        server.put("/_users/_security", {"members": {"roles": ["_admin"]}, "admins": {"roles": ["_admin"]}})
        rev = server.get("/_users/org.couchdb.user:bob").json["_rev"]
        server.delete(f"/_users/org.couchdb.user:bob?rev={rev}")


@pytest.mark.parametrize(
    "document",
    [{"a": 1}, {**USER, "roles": "x"}, {**USER, "roles": ["_admin"]}, {**USER, "name": "other"}, {**USER, "type": "x"},
     {**USER, "password": 1}, {"type": "user", "name": "ann"}],
)  # fmt: skip
def test_what_is_no_user_is_refused(server: Client, document: dict[str, object]) -> None:
    """A document of `_users` is a user's, with its own name and ordinary roles."""
    server.put("/_users")
    assert server.put("/_users/org.couchdb.user:ann", document).status == 403


def test_require_valid_user(server: Client) -> None:
    """With `require_valid_user` nobody gets in without logging in, but to log in and to ask whether it is up."""
    path = "/_node/_local/_config/chttpd/require_valid_user"
    bare = Client(f"http://{server.host}:{server.port}")
    server.put(path, "true")
    try:
        assert bare.get("/nosuch/x").status == 401
        assert bare.get("/_up").status == 200
        assert bare.get("/_session").status == 200
    finally:
        server.put(path, "false")
