"""Policies: who may do what, and what a refusal tells."""

from __future__ import annotations

from typing import Annotated, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field, StringConstraints
from tornado.httputil import HTTPHeaders, HTTPServerRequest, RequestStartLine
from tornado.web import Application, HTTPError

from tests.web.callers import Named
from tests.web.conftest import Serve
from tornado_couch import CreatedOn, Indexed, Key, Model, ReadOnly
from tornado_couch.errors import DocumentNotFound
from tornado_couch.web.access import policies
from tornado_couch.web.access.policies import (
    AllOf,
    AllowAny,
    AnyOf,
    Authenticated,
    Hidden,
    Owner,
    Policy,
    Principal,
    Roles,
)
from tornado_couch.web.action_table import QUESTIONS, is_read
from tornado_couch.web.problems import Problem, ProblemHandler, problem_of


class Diary(Model, type="diary_v1.0", key="diary_id"):
    diary_id: Key
    text: str = ""
    owner: Annotated[str | None, ReadOnly(), Indexed()] = Field(default=None, alias="ownedBy")


ALICE, BOB, ADMIN = Principal("alice"), Principal("bob"), Principal("root", frozenset({"admin"}))
OF_ALICE = Diary(text="dear", ownedBy="alice")  # type: ignore[call-arg]


def request(**headers: str) -> HTTPServerRequest:
    start = RequestStartLine("GET", "/", "HTTP/1.1")
    return HTTPServerRequest(start_line=start, headers=HTTPHeaders({"Host": "test", **headers}))


async def verdict(policy: Policy, principal: Principal | None, action: str, document: Model | None = None) -> int:
    """The status that the policy refuses with, or 200."""
    try:
        await policy.authorize(principal, action, Diary, document)
    except Problem as problem:
        return problem.status_code
    return 200


async def verdicts(policy: Policy, principal: Principal | None, document: Model | None = None) -> dict[int, set[str]]:
    found: dict[int, set[str]] = {}
    for action in QUESTIONS:
        found.setdefault(await verdict(policy, principal, action, document), set()).add(action)
    return found


READS = {each for each in QUESTIONS if is_read(each)}
WRITES = set(QUESTIONS - READS)
ALL = set(QUESTIONS)


# ---------------------------------------------------------------- the shipped ones


async def test_allow_any_lets_everybody_do_everything() -> None:
    """And sets and limits nothing."""
    policy = AllowAny()
    assert await verdicts(policy, None) == {200: ALL}
    assert (policy.restriction(None, Diary), policy.initial(None, Diary)) == (None, {})
    policy.check(Diary)


async def test_authenticated_asks_the_anonymous_for_credentials() -> None:
    """401 with the challenge for all, or for writing alone; whoever logged in may do everything."""
    strict, readable = Authenticated(Named()), Authenticated(Named(), read_anonymous=True)
    assert await verdicts(strict, None) == {401: ALL}
    assert await verdicts(readable, None) == {200: READS, 401: WRITES}
    assert await verdicts(strict, ALICE) == {200: ALL}
    with pytest.raises(Problem) as caught:
        await strict.authorize(None, "list", Diary)
    assert caught.value.headers["WWW-Authenticate"] == 'User realm="test"'


async def test_roles_are_needed_for_the_actions_that_name_them() -> None:
    """None is anybody logged in, and what is not named is refused."""
    policy = Roles({"list": None, "create": {"editor", "admin"}}, Named())
    assert await verdicts(policy, None) == {401: ALL}
    assert await verdicts(policy, ALICE) == {200: {"list"}, 403: ALL - {"list"}}
    assert await verdict(policy, ADMIN, "create") == 200
    starred = Roles({"*": None, "destroy": {"admin"}}, Named())
    assert await verdicts(starred, ALICE) == {200: ALL - {"destroy"}, 403: {"destroy"}}


def test_roles_refuse_actions_that_do_not_exist_and_a_string_of_letters() -> None:
    """Typing errors, which would otherwise let nobody or somebody in."""
    with pytest.raises(ValueError, match="a rule for 'delete', but there is no such action"):
        (Roles({"delete": {"admin"}}) & AllowAny()).check_named(["cancel"])
    Roles({"cancel": {"admin"}, "destroy": {"admin"}, "*": None}).check_named(["cancel"])
    with pytest.raises(ValueError, match="not the string 'admin'"):
        Roles({"destroy": "admin"})


async def test_read_only_refuses_every_write_as_405() -> None:
    """Nobody could do it, so credentials would not help; and the methods are not offered."""
    policy = policies.ReadOnly()
    for principal in (None, ADMIN):
        closed = {"deleted", "metrics"}
        assert await verdicts(policy, principal) == {200: READS, 403: closed, 405: WRITES - closed}
    assert {action for action in QUESTIONS if policy.offers(action)} == READS


def test_read_only_offers_no_read_that_the_policy_inside_does_not() -> None:
    """It only ever takes away."""

    class NoLists(Policy):
        def offers(self, action: str) -> bool:
            return action != "list"

    offered = {action for action in QUESTIONS if policies.ReadOnly(NoLists()).offers(action)}
    assert offered == READS - {"list"}


async def test_read_only_leaves_reading_to_the_policy_inside() -> None:
    """Its credentials, limits and checks too."""
    policy = policies.ReadOnly(Owner("ownedBy", Named()))
    assert await verdicts(policy, None) == {401: READS | {"deleted", "metrics"}, 405: WRITES - {"deleted", "metrics"}}
    assert await policy.authenticate(request(User="alice")) == ALICE
    assert policy.restriction(ALICE, Diary) == ("ownedBy", "alice")
    policy.check(Diary)
    with pytest.raises(ValueError, match="no property 'keeper'"):
        policies.ReadOnly(Owner("keeper", Named())).check(Diary)


# ---------------------------------------------------------------- owners


async def test_documents_of_others_cannot_be_told_from_missing_ones() -> None:
    """404 with the very same problem as a document that is not there."""
    policy = Owner("ownedBy", Named())
    assert await verdicts(policy, ALICE, OF_ALICE) == {200: ALL - {"reduce"}, 403: {"reduce"}}
    assert await verdict(policy, BOB, "retrieve", OF_ALICE) == 404
    with pytest.raises(Hidden) as caught:
        await policy.authorize(BOB, "destroy", Diary, OF_ALICE)
    missing = problem_of(500, DocumentNotFound("there is no such document"))
    assert isinstance(caught.value, DocumentNotFound)
    assert caught.value.body("/x") == missing.body("/x")
    assert caught.value.headers == missing.headers


async def test_a_document_without_an_owner_is_nobodys() -> None:
    """Not even of somebody whose name is nothing."""
    nobodys = Diary(text="found")
    policy = Owner("ownedBy", Named(), admin_role="admin")
    assert await verdict(policy, ALICE, "retrieve", nobodys) == 404
    assert await verdict(policy, Principal(""), "retrieve", nobodys) == 404
    assert await verdict(policy, ADMIN, "retrieve", nobodys) == 200


async def test_owners_list_and_create_their_own_only() -> None:
    """By the property's name in JSON; a reduced view, which counts those of others, is refused."""
    policy = Owner("ownedBy", Named(), admin_role="admin")
    assert policy.restriction(ALICE, Diary) == ("ownedBy", "alice")
    assert policy.initial(ALICE, Diary) == {"ownedBy": "alice"}
    assert await verdict(policy, ALICE, "reduce") == 403


async def test_the_admin_role_sees_and_changes_everything() -> None:
    """Only where one is named: without, the role means nothing."""
    policy = Owner("ownedBy", Named(), admin_role="admin")
    assert await verdicts(policy, ADMIN, OF_ALICE) == {200: ALL}
    assert policy.restriction(ADMIN, Diary) is None
    assert policy.initial(ADMIN, Diary) == {"ownedBy": "root"}
    assert await verdict(Owner("ownedBy", Named()), ADMIN, "retrieve", OF_ALICE) == 404


async def test_with_public_read_everybody_reads_and_the_owner_writes() -> None:
    """Writing to another's document is then 403, since it is known to exist."""
    policy = Owner("ownedBy", Named(), public_read=True)
    assert await verdicts(policy, None, OF_ALICE) == {200: READS, 401: WRITES}
    assert await verdicts(policy, BOB, OF_ALICE) == {200: READS, 403: WRITES}
    assert policy.restriction(None, Diary) is None
    assert not policy.restricts


def test_owner_never_lists_for_the_anonymous_even_if_nobody_asked_whether_they_may() -> None:
    """A handler that forgot `authorize` gets a 401, not all documents."""
    with pytest.raises(Problem, match="401"):
        Owner("ownedBy", Named()).restriction(None, Diary)
    with pytest.raises(Problem, match="401"):
        Owner("ownedBy", Named()).initial(None, Diary)


async def test_the_owner_is_compared_in_the_form_that_the_property_stores() -> None:
    """Where its type writes names in lower case, say; a name it cannot hold owns nothing."""

    class Lower(Model, type="lower_v1.0"):
        owner: Annotated[str, StringConstraints(to_lower=True, max_length=8), ReadOnly(), Indexed()]

    policy = Owner("owner", Named())
    policy.check(Lower)
    alice = Principal("ALICE")
    assert policy.initial(alice, Lower) == {"owner": "alice"}
    await policy.authorize(alice, "patch", Lower, Lower(**policy.initial(alice, Lower)))
    with pytest.raises(HTTPError, match="403"):
        policy.initial(Principal("a very long name"), Lower)


class Settable(Model, type="settable_v1.0"):
    owner: Annotated[str, Indexed()]


class Unindexed(Model, type="unindexed_v1.0"):
    owner: Annotated[str, ReadOnly()]


class Number(Model, type="number_v1.0"):
    owner: Annotated[int, ReadOnly(), Indexed()]


class Stamped(Model, type="stamped_v1.0"):
    owner: Annotated[CreatedOn, Indexed()]


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (Diary, "no property 'owner'"),  # that is its name in Python
        (Settable, "set Settable.owner themselves"),
        (Unindexed, "no index"),
        (Number, "cannot hold"),
        (Stamped, "cannot hold"),
    ],
)
def test_owner_refuses_a_model_that_it_cannot_work_with(model: type[Model], message: str) -> None:
    """When the resource is mounted, with the declaration to write."""
    with pytest.raises(ValueError, match=message) as caught:
        Owner("owner", Named()).check(model)
    assert "owner: Annotated[str | None, ReadOnly(), Indexed()] = None" in str(caught.value)


def test_owner_with_public_read_needs_no_index() -> None:
    """It limits no list."""
    Owner("owner", Named(), public_read=True).check(Unindexed)


@pytest.mark.parametrize("policy", [Authenticated(), Roles({"*": None}), Owner("ownedBy"), AllOf(Authenticated())])
def test_a_policy_that_needs_a_login_needs_an_authenticator(policy: Policy) -> None:
    """Otherwise nobody could ever get in."""
    with pytest.raises(ValueError, match="nobody could ever log in"):
        policy.check(Diary)


# ---------------------------------------------------------------- who calls


async def test_the_first_authenticator_that_recognises_its_credentials_decides() -> None:
    """None of them does: anonymous."""
    policy = Authenticated(Named("One"), Named("Two"))
    assert await policy.authenticate(request()) is None
    assert await policy.authenticate(request(Two="bob")) == BOB
    assert await policy.authenticate(request(One="alice", Two="bob")) == ALICE


@pytest.mark.parametrize(
    "policy",
    [
        Authenticated(Named("One"), Named("Two")),
        AllowAny(Named("One"), Named("Two")),
        Authenticated(Named("One")) | Authenticated(Named("Two")),
        Authenticated(Named("One")) & AllowAny(Named("Two")),
    ],
)
async def test_wrong_credentials_are_401_with_every_challenge_once(policy: Policy) -> None:
    """Also where the anonymous are welcome: who says who they are is to be right."""
    with pytest.raises(Problem) as caught:
        await policy.authenticate(request(Two="wrong"))
    assert caught.value.headers["WWW-Authenticate"] == 'Two realm="test", error="wrong", One realm="test"'


def test_a_principal_keeps_its_claims_out_of_logs_and_comparisons() -> None:
    """They may be personal."""
    principal = Principal("alice", claims={"email": "alice@example.com"})
    assert "example.com" not in repr(principal)
    assert principal == ALICE
    assert len({principal, ALICE}) == 1


# ---------------------------------------------------------------- combinations


async def test_and_lets_through_what_both_do() -> None:
    """The first refusal is the answer, and its 401 has the challenges of both."""
    policy = Roles({"*": None, "destroy": {"admin"}}) & Owner("ownedBy", Named(), admin_role="admin")
    policy.check(Diary)
    assert await verdicts(policy, ALICE, OF_ALICE) == {200: ALL - {"destroy", "reduce"}, 403: {"destroy", "reduce"}}
    assert await verdict(policy, BOB, "retrieve", OF_ALICE) == 404
    assert policy.restriction(ALICE, Diary) == ("ownedBy", "alice")
    assert policy.restriction(ADMIN, Diary) is None
    assert policy.initial(ALICE, Diary) == {"ownedBy": "alice"}
    with pytest.raises(Problem) as caught:
        await policy.authorize(None, "list", Diary)
    assert caught.value.headers["WWW-Authenticate"] == 'User realm="test"'


async def test_or_lets_through_what_either_does() -> None:
    """Everybody reads, who has logged in writes: a refusal that credentials would help is 401."""
    policy = policies.ReadOnly() | Roles({"*": {"editor"}}, Named())
    policy.check(Diary)
    assert await verdicts(policy, None) == {200: READS, 401: WRITES}
    assert await verdicts(policy, ALICE) == {200: READS, 403: WRITES}
    assert await verdicts(policy, Principal("carol", frozenset({"editor"}))) == {200: ALL}
    assert {action for action in QUESTIONS if policy.offers(action)} == QUESTIONS


def test_policies_that_limit_lists_cannot_be_alternatives_nor_two_at_once() -> None:
    """Which limit would hold? The message says what to use."""
    with pytest.raises(ValueError, match="public_read"):
        (policies.ReadOnly() | Owner("ownedBy", Named())).check(Diary)
    with pytest.raises(ValueError, match="only one policy"):
        (Owner("ownedBy", Named()) & Owner("ownedBy", Named())).check(Diary)
    (policies.ReadOnly() | Owner("ownedBy", Named(), public_read=True)).check(Diary)


def test_a_policy_of_ones_own_that_limits_lists_is_known_to() -> None:
    """By overriding `restriction`; nothing else is to be said."""

    class Mine(Policy):
        def restriction(self, principal: Principal | None, model: type[Model]) -> tuple[str, Any] | None:
            return "ownedBy", "me"

    assert (AllowAny() & Mine()).restriction(None, Diary) == ("ownedBy", "me")
    with pytest.raises(ValueError, match="alternative"):
        (AllowAny() | Mine()).check(Diary)


simple: st.SearchStrategy[Policy] = st.sampled_from(
    [
        AllowAny(),
        Authenticated(Named()),
        Authenticated(Named(), read_anonymous=True),
        policies.ReadOnly(),
        Roles({"list": None, "destroy": {"admin"}}, Named()),
        Owner("ownedBy", Named(), admin_role="admin"),
    ]
)
principals = st.sampled_from([None, ALICE, BOB, ADMIN])
documents = st.sampled_from([None, OF_ALICE])


@given(simple, simple, principals, st.sampled_from(sorted(QUESTIONS)), documents)
async def test_combinations_follow_the_laws_of_and_and_or(
    one: Policy, other: Policy, principal: Principal | None, action: str, document: Model | None
) -> None:
    """Allowed by `&` if by both and by `|` if by either; a refusal is one of theirs; what is not offered is refused."""
    separate = [await verdict(each, principal, action, document) for each in (one, other)]
    for combined, law in ((AllOf(one, other), all), (AnyOf(one, other), any)):
        found = await verdict(combined, principal, action, document)
        assert (found == 200) is law(each == 200 for each in separate)
        assert found in [200, *separate]
        if not combined.offers(action):
            assert found != 200


# ---------------------------------------------------------------- on the wire


def diaries(policy: Policy) -> Application:
    """One document of Alice's behind a policy, asked in the order of its contract."""
    seen: list[str] = []

    class Handler(ProblemHandler):
        async def guard(self, action: str) -> None:
            principal = await policy.authenticate(self.request)
            await policy.authorize(principal, action, Diary)
            seen.append(action)
            await policy.authorize(principal, action, Diary, OF_ALICE)

        async def get(self) -> None:
            await self.guard("retrieve")

        async def delete(self) -> None:
            await self.guard("destroy")

        def allowed_methods(self) -> list[str]:
            return [name for name in ("GET", "DELETE") if policy.offers("retrieve" if name == "GET" else "destroy")]

    application = Application([("/", Handler)])
    application.settings["seen"] = seen
    return application


async def test_on_the_wire_401_has_a_challenge_404_hides_and_405_has_allow(serve: Serve) -> None:
    """And nothing is read before the first two are past."""
    application = diaries(Owner("ownedBy", Named()))
    ask = await serve(application)
    anonymous, wrong = await ask("GET", "/"), await ask("GET", "/", User="wrong")
    assert [reply.status for reply in (anonymous, wrong)] == [401, 401]
    assert anonymous.headers["WWW-Authenticate"] == 'User realm="test"'
    assert application.settings["seen"] == []
    assert (await ask("GET", "/", User="alice")).status == 200
    hidden = await ask("DELETE", "/", User="bob")
    assert (hidden.status, hidden.json["detail"]) == (404, "There is no such document.")

    ask = await serve(diaries(policies.ReadOnly()))
    refused = await ask("DELETE", "/")
    assert (refused.status, refused.headers["Allow"]) == (405, "GET")


def test_an_admin_creates_for_the_owner_that_the_address_names() -> None:
    """In a nested collection; anybody else owns what they create, and so does an admin elsewhere."""
    policy = Owner("ownedBy", Named(), admin_role="admin") & Authenticated(Named())
    named = {"ownedBy": "bob"}
    assert policy.initial_under(ADMIN, Diary, named) == {}
    assert policy.initial_under(ALICE, Diary, named) == {"ownedBy": "alice"}
    assert policy.initial_under(ADMIN, Diary, {"other": "x"}) == policy.initial(ADMIN, Diary) != {}
