"""Authenticators: who gets in, and that what clients send can raise nothing but a 401."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import os
import sys
import threading
import time
from typing import Any

import bcrypt
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tornado.httputil import HTTPHeaders, HTTPServerRequest, RequestStartLine
from tornado.web import Application

from tests.faults import until
from tests.web.conftest import Serve
from tornado_couch import Database, Store
from tornado_couch.errors import DocumentExists, DocumentNotFound
from tornado_couch.models import body_problems, representation
from tornado_couch.security import is_hash
from tornado_couch.web.access import basic as accounts
from tornado_couch.web.access import basic as authenticators
from tornado_couch.web.access.basic import (
    Account,
    BasicAccounts,
    change_password,
    create_account,
    hash_password,
    matches,
)
from tornado_couch.web.access.bearer import BearerJWT, TokenKeys
from tornado_couch.web.access.policies import Authenticated
from tornado_couch.web.access.principals import Authenticator, Principal
from tornado_couch.web.problems import Problem, ProblemHandler

RSA = rsa.generate_private_key(65537, 2048)
EC = ec.generate_private_key(ec.SECP256R1())
SECRET = b"0123456789abcdef0123456789abcdef"


def pem(key: Any) -> str:
    return str(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode())


def request(authorization: str | None) -> HTTPServerRequest:
    headers = HTTPHeaders({"Host": "test"})
    if authorization is not None:
        headers["Authorization"] = authorization
    return HTTPServerRequest(start_line=RequestStartLine("GET", "/", "HTTP/1.1"), headers=headers)


async def outcome(authenticator: Authenticator, authorization: str | None) -> Principal | Problem | None:
    """What the authenticator makes of an Authorization field; a 401 is checked for its challenge."""
    try:
        return await authenticator.authenticate(request(authorization))
    except Problem as problem:
        refusal = problem
    assert refusal.status_code == 401
    assert refusal.headers["WWW-Authenticate"].startswith(authenticator.challenge)
    return refusal


# ---------------------------------------------------------------- bearer tokens


def claims(**more: Any) -> dict[str, Any]:
    """Claims that are fine; None leaves one out."""
    found = {"sub": "alice", "exp": int(time.time()) + 60, "aud": "us", "iss": "idp", "roles": ["editor"], **more}
    return {name: value for name, value in found.items() if value is not None}


def bearer(key: Any = EC, algorithm: str = "ES256", kid: str | None = None, **more: Any) -> str:
    headers = {} if kid is None else {"kid": kid}
    return f"Bearer {jwt.encode(claims(**more), key, algorithm=algorithm, headers=headers)}"


def tokens(key: Any = None, **options: Any) -> BearerJWT:
    chosen = {"algorithms": ["ES256"], "audience": "us", "issuer": "idp", **options}
    return BearerJWT(pem(EC) if key is None and "keys" not in options else key, **chosen)


async def test_a_good_token_names_its_principal_with_roles_and_claims() -> None:
    """The scheme's case does not matter (RFC 9110 §11.1)."""
    for scheme in ("Bearer", "bearer", "BEARER "):
        found = await outcome(tokens(), bearer().replace("Bearer", scheme))
        assert found == Principal("alice", frozenset({"editor"}))
        assert isinstance(found, Principal)
        assert found.claims["iss"] == "idp"


@pytest.mark.parametrize("authorization", [None, "", "Basic YTpi", "Bearerx y", "Negotiate abc"])
async def test_other_schemes_are_not_for_this_authenticator(authorization: str | None) -> None:
    """None, so that another one can try."""
    assert await outcome(tokens(), authorization) is None


HOUR = 3600  # the suite may run for minutes after this module is read
PAST = int(time.time()) - HOUR
REFUSED = {
    "expired": {"exp": PAST},
    "without exp": {"exp": None},
    "exp that is no number": {"exp": "soon"},
    "not yet valid": {"nbf": time.time() + HOUR},
    "issued in the future": {"iat": time.time() + HOUR},
    "for another audience": {"aud": "them"},
    "for no audience": {"aud": None},
    "of another issuer": {"iss": "mallory"},
    "of no issuer": {"iss": None},
    "of an issuer that is no text": {"iss": ["idp"]},
    "of nobody": {"sub": None},
    "of an empty name": {"sub": ""},
    "of another key": {"key": ec.generate_private_key(ec.SECP256R1())},
}


@pytest.mark.parametrize("kind", REFUSED)
async def test_a_token_that_is_not_good_is_401_invalid_token(kind: str) -> None:
    """With the error code of RFC 6750 §3.1, and the reason only where it helps: that it has expired."""
    # PyJWT refuses to write some of these, so that its own checks must be gone around.
    more = dict(REFUSED[kind])
    key = more.pop("key", EC)
    payload = json.dumps(claims(**more)).encode()
    token = jwt.PyJWS().encode(payload, key, algorithm="ES256")
    found = await outcome(tokens(), f"Bearer {token}")
    assert isinstance(found, Problem)
    challenge = found.headers["WWW-Authenticate"]
    assert 'error="invalid_token"' in challenge
    assert ("expired" in challenge) is (kind == "expired")
    assert found.kind == "invalid-credentials"


async def test_clocks_may_differ_by_the_leeway() -> None:
    """In seconds."""
    assert isinstance(await outcome(tokens(leeway=2 * HOUR), bearer(exp=PAST)), Principal)
    assert isinstance(await outcome(tokens(leeway=10), bearer(exp=PAST)), Problem)


async def test_several_audiences_and_issuers_can_be_accepted() -> None:
    """Or none be asked for; but a token for an audience is not for whoever expects none."""
    several = tokens(audience=["us", "them"], issuer=["idp", "other"])
    assert isinstance(await outcome(several, bearer(aud=["x", "them"], iss="other")), Principal)
    none = tokens(audience=None, issuer=None)
    assert isinstance(await outcome(none, bearer(aud=None, iss=None)), Principal)
    assert isinstance(await outcome(none, bearer()), Problem)


@pytest.mark.parametrize(
    ("option", "claim", "roles"),
    [
        ("roles", ["a", "b", 3, None], {"a", "b"}),
        ("scope", "read write", {"read", "write"}),
        (("realm_access", "roles"), ["x"], {"x"}),
        ("roles", {"a": True}, set()),
        ("roles", 7, set()),
    ],
)
async def test_roles_are_a_list_or_a_text_where_the_claim_says(option: Any, claim: Any, roles: set[str]) -> None:
    """Anything else is no role."""
    path = [option] if isinstance(option, str) else list(option)
    for name in reversed(path):
        claim = {name: claim}
    found = await outcome(tokens(roles_claim=option), bearer(**{"roles": None, **claim}))
    assert isinstance(found, Principal)
    assert found.roles == roles


async def test_more_claims_can_be_required_and_another_can_be_the_name() -> None:
    """Beside `exp`, which always is."""
    strict = tokens(required=["jti"], name_claim="email")
    assert isinstance(await outcome(strict, bearer(email="a@b.example")), Problem)
    found = await outcome(strict, bearer(email="a@b.example", jti="1"))
    assert found == Principal("a@b.example", frozenset({"editor"}))


def unsigned(header: dict[str, Any], signature: str = "") -> str:
    parts = (base64.urlsafe_b64encode(json.dumps(each).encode()).rstrip(b"=").decode() for each in (header, claims()))
    return f"Bearer {'.'.join(parts)}.{signature}"


def with_public_key_as_secret() -> str:
    """The classic confusion: HS256 with the PEM that everybody knows."""
    text = unsigned({"alg": "HS256", "typ": "JWT"}).removeprefix("Bearer ").rstrip(".")
    signature = hmac.new(pem(EC).encode(), text.encode(), hashlib.sha256).digest()
    return f"Bearer {text}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"


@pytest.mark.parametrize(
    "authorization",
    [
        unsigned({"alg": "none"}),
        unsigned({"alg": "None"}),
        unsigned({"alg": "nOnE", "typ": "JWT"}, "AAAA"),
        unsigned({"typ": "JWT"}),
        unsigned({"alg": None}),
        unsigned({"alg": ["ES256"]}),
        unsigned({"alg": "ES256"}),
        with_public_key_as_secret(),
        bearer(SECRET, "HS256"),
        bearer(RSA, "RS256"),
    ],
    # Of their own: keys and tokens are new in each process, and xdist wants the same names in all.
    ids=["none", "None", "nOnE", "absent", "null", "list", "unsigned", "public-key-as-secret", "HS256", "RS256"],
)
async def test_a_token_never_chooses_its_algorithm(authorization: str) -> None:
    """Neither "none", nor HMAC with the public key, nor one that is not accepted (RFC 8725 §2.1)."""
    assert isinstance(await outcome(tokens(), authorization), Problem)


async def test_critical_extensions_are_refused() -> None:
    """RFC 7515 §4.1.11: we understand none."""
    token = jwt.PyJWS().encode(json.dumps(claims()).encode(), EC, algorithm="ES256", headers={"crit": ["exp"]})
    assert isinstance(await outcome(tokens(), f"Bearer {token}"), Problem)
    with pytest.raises(ValueError, match="critical"):  # whatever PyJWT's version makes of it
        TokenKeys(["ES256"], pem(EC), None).find({"alg": "ES256", "crit": ["exp"]})


async def test_keys_are_found_by_kid_and_rotate() -> None:
    """Each with its own algorithm; an unknown kid, or none where there are several, is 401."""
    both = tokens(keys={"new": pem(EC), "old": pem(RSA)}, algorithms=["ES256", "RS256"])
    assert isinstance(await outcome(both, bearer(EC, "ES256", "new")), Principal)
    assert isinstance(await outcome(both, bearer(RSA, "RS256", "old")), Principal)
    for wrong in (bearer(RSA, "RS256", "new"), bearer(EC, "ES256", "other"), bearer(EC, "ES256")):
        assert isinstance(await outcome(both, wrong), Problem)
    with pytest.raises(ValueError, match="fits none"):
        both.replace_keys({"newer": "nonsense"})
    both.replace_keys({"newer": pem(RSA)})
    assert isinstance(await outcome(both, bearer(EC, "ES256", "new")), Problem)
    assert isinstance(await outcome(both, bearer(RSA, "RS256", "newer")), Principal)
    assert isinstance(await outcome(both, bearer(RSA, "RS256")), Principal)  # there is just one


async def test_a_jwk_set_is_read_and_its_other_keys_are_skipped() -> None:
    """RFC 7517 §5; a private key in it serves as its public one."""
    public = json.loads(jwt.algorithms.ECAlgorithm.to_jwk(EC.public_key()))
    private = json.loads(jwt.algorithms.ECAlgorithm.to_jwk(EC))
    other = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(RSA.public_key()))
    jwks = {
        "keys": [
            {**public, "kid": "a", "alg": "ES256"},
            {**public, "kid": "encryption", "use": "enc"},
            {**public, "kid": "b", "alg": "ES384"},
            {**other, "kid": "c"},
            {"kty": "new-kind", "kid": "d"},
            {**private, "kid": "e"},
        ]
    }
    accepted = tokens(keys=jwks)
    for kid, kind in (("a", Principal), ("e", Principal), ("encryption", Problem), ("b", Problem), ("c", Problem)):
        assert isinstance(await outcome(accepted, bearer(EC, "ES256", kid)), kind), kid
    with pytest.raises(ValueError, match="two keys"):
        tokens(keys={"keys": [public, public]})
    with pytest.raises(ValueError, match="no key"):
        tokens(keys={"keys": [other]})


async def test_secrets_work_with_hmac_algorithms_alone() -> None:
    """As bytes or as a JWK."""
    encoded = base64.urlsafe_b64encode(SECRET).rstrip(b"=").decode()
    for key in (SECRET, {"kty": "oct", "k": encoded}):
        assert isinstance(await outcome(tokens(key, algorithms=["HS256"]), bearer(SECRET, "HS256")), Principal)


WEAK = rsa.generate_private_key(65537, 1024)


@pytest.mark.parametrize(
    ("key", "options", "word"),
    [
        (pem(EC), {"algorithms": []}, "must be a list"),
        (pem(EC), {"algorithms": "ES256"}, "must be a list"),
        (pem(EC), {"algorithms": ["none"]}, "not a signing algorithm"),
        (pem(EC), {"algorithms": ["ES256", "none"]}, "not a signing algorithm"),
        (pem(EC), {"algorithms": ["ES257"]}, "not a signing algorithm"),
        (pem(EC), {"algorithms": ["ES256", "HS256"]}, "together"),
        (pem(EC), {"algorithms": ["HS256"]}, "fits none"),
        (pem(EC), {"algorithms": ["RS256"]}, "fits none"),
        (pem(EC), {"algorithms": ["ES384"]}, "fits none"),
        (b"short", {"algorithms": ["HS256"]}, "32 bytes"),
        (SECRET, {"algorithms": ["HS512"]}, "64 bytes"),
        (pem(WEAK), {"algorithms": ["RS256"]}, "2048 bits"),
        (None, {"keys": {}}, "no key"),
        (pem(EC), {"keys": {"a": pem(EC)}}, "either"),
        (pem(EC), {"realm": "zürich"}, "printable ASCII"),
    ],
    ids=range(15),
)
def test_keys_and_algorithms_that_would_be_unsafe_are_refused(key: Any, options: dict[str, Any], word: str) -> None:
    """When the service starts; no message holds a secret."""
    with pytest.raises(ValueError, match=word) as caught:
        tokens(key, **options)
    assert SECRET.decode() not in str(caught.value)


def test_without_pyjwt_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is an extra."""
    monkeypatch.setitem(sys.modules, "jwt", None)
    with pytest.raises(ImportError, match=r'pip install "tornado-couch\[jwt\]"'):
        tokens()


fields = st.one_of(
    st.text(),
    st.text(st.characters(max_codepoint=255)),
    st.binary().map(lambda data: base64.b64encode(data).decode()),
    st.text().map(lambda text: base64.b64encode(text.encode("utf-8", "surrogatepass")).decode()),
)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(), lambda inner: st.lists(inner, max_size=3)
)
headers_of_tokens = st.dictionaries(st.sampled_from(["alg", "kid", "typ", "crit", "b64", "jwk", "x5u"]), json_values)
payloads = st.dictionaries(st.sampled_from(["sub", "exp", "nbf", "iat", "aud", "iss", "roles", "jti"]), json_values)


def encoded(value: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


made_up = st.tuples(headers_of_tokens, payloads, fields).map(lambda t: f"{encoded(t[0])}.{encoded(t[1])}.{t[2]}")


@given(st.one_of(fields, made_up))
async def test_nothing_that_stands_after_bearer_raises_anything_but_401(token: str) -> None:
    """Whatever is in it."""
    assert isinstance(await outcome(tokens(), f"Bearer {token}"), Problem)


@given(payloads)
async def test_no_signed_claims_raise_anything_but_401(payload: dict[str, Any]) -> None:
    """An issuer's nonsense is not our error either."""
    token = jwt.PyJWS().encode(json.dumps(payload).encode(), EC, algorithm="ES256")
    found = await outcome(tokens(), f"Bearer {token}")
    assert isinstance(found, Principal | Problem)


# ---------------------------------------------------------------- password hashes


@given(st.text(max_size=200), st.text(max_size=200))
@settings(max_examples=30, deadline=None)
def test_a_hash_matches_its_password_and_no_other(password: str, other: str) -> None:
    """Longer than bcrypt's 72 bytes or with a NUL in it, too."""
    hashed = hash_password(password, rounds=4)
    assert is_hash(hashed)
    assert matches(password, hashed)
    same = accounts.normalized(password) == accounts.normalized(other)
    assert matches(other, hashed) is same
    assert not matches("x" * 72 + password + "!", hash_password("x" * 72 + password, rounds=4))
    assert not matches(password + "\0b", hash_password(password + "\0a", rounds=4))


@pytest.mark.parametrize("password", ["pässword", "p" * 100])
def test_hashes_of_accounts_from_before_are_read(password: str) -> None:
    """Those were of a keyed digest whatever the length: bcrypt(base64(HMAC-SHA-256(salt, password)))."""
    salt = bcrypt.gensalt(4)
    digest = base64.b64encode(hmac.new(salt, password.encode(), hashlib.sha256).digest())
    stored = "bcrypt-hmac-sha256:" + bcrypt.hashpw(digest, salt).decode()
    assert matches(password, stored)
    assert not matches(password + "x", stored)


# ---------------------------------------------------------------- accounts


@pytest.fixture
def people(database: Database) -> Store:
    """Where accounts are; they need no view."""
    return Store(database)


def basic(name: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()


def logins(store: Any, **options: Any) -> BasicAccounts:
    return BasicAccounts(store, **{"rounds": 4, **options})


async def test_an_account_lets_its_owner_in_with_its_roles(people: Store) -> None:
    """Name and password in UTF-8, in whichever of Unicode's forms; a password may hold colons."""
    await create_account(people, "Zoë", "pa:ss:ẘord", ["editor"], rounds=4)
    accepted = logins(people)
    assert accepted.challenge == 'Basic realm="api", charset="UTF-8"'
    for name in ("Zoë", "Zoe\N{COMBINING DIAERESIS}"):
        found = await outcome(accepted, basic(name, "pa:ss:ẘord"))
        assert found == Principal("Zoë", frozenset({"editor"}))


async def test_wrong_unknown_and_disabled_are_answered_alike(people: Store) -> None:
    """Word for word."""
    await create_account(people, "alice", "right", rounds=4)
    off = await create_account(people, "off", "right", rounds=4)
    off.disabled = True
    await people.replace(off)
    odd = await create_account(people, "odd", "right", rounds=4)
    odd.password_hash = "right"
    await people.replace(odd)
    await people.database.put({"_id": "account:broken", "type": "account_v1.0", "name": "broken", "roles": 7})
    tries = [
        *(("alice", "wrong"), ("alice", ""), ("", ""), ("", "right"), ("nobody", "right"), ("off", "right")),
        *(("odd", "right"), ("broken", "right"), ("x" * 300, "right"), ("_design/x", "right"), ("../alice", "right")),
    ]
    answers = [await outcome(logins(people), basic(*each)) for each in tries]
    assert all(isinstance(each, Problem) for each in answers)
    assert len({str(each.body("/")) + str(each.headers) for each in answers if isinstance(each, Problem)}) == 1


async def test_an_unknown_user_costs_one_check_of_a_password_like_a_known_one(
    people: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the same cost; names that cannot be accounts, and an account without a hash, too."""
    await create_account(people, "alice", "right", rounds=5)
    odd = await create_account(people, "odd", "right", rounds=5)
    odd.password_hash = "right"
    await people.replace(odd)
    salts: list[bytes] = []
    plain = bcrypt.checkpw

    def counted(password: bytes, salt: bytes) -> bool:
        salts.append(salt)
        assert threading.current_thread() is not threading.main_thread()  # off the event loop
        return plain(password, salt)

    monkeypatch.setattr(bcrypt, "checkpw", counted)
    accepted = logins(people, rounds=5)
    for name in ("alice", "nobody", "odd", "x" * 300, ""):
        assert isinstance(await outcome(accepted, basic(name, "wrong")), Problem)
    assert [salt[:7] for salt in salts] == [b"$2b$05$"] * 5


@pytest.mark.parametrize(
    "authorization",
    [
        "Basic",
        "Basic ",
        "Basic !!!!",
        "Basic YWxpY2U",  # cut
        "Basic YWxpY2U=",  # "alice": no colon
        "Basic " + base64.b64encode(b"alice:\xff").decode(),
        "Basic " + base64.b64encode(b"ali\x00ce:right").decode(),
        "Basic " + base64.b64encode(b"alice:right\n").decode(),
        "Basic YWxpY2U6cmlnaHQ= YWxpY2U6cmlnaHQ=",
        "Basic YWxpY2U6cmlnaHQ=,Basic YWxpY2U6cmlnaHQ=",
    ],
)
async def test_malformed_credentials_are_401_with_the_challenge(authorization: str) -> None:
    """Without asking the database."""
    found = await outcome(logins(None), authorization)
    assert isinstance(found, Problem)
    assert found.detail == "The credentials are malformed."


class Nobody:
    """A store without accounts."""

    async def get(self, cls: Any, key: Any) -> Any:
        raise DocumentNotFound("there is no such account")


@given(fields)
@settings(deadline=None, max_examples=50, suppress_health_check=[HealthCheck.too_slow])
async def test_nothing_that_stands_after_basic_raises_anything_but_401(text: str) -> None:
    """Whatever is in it."""
    assert isinstance(await outcome(logins(Nobody()), f"Basic {text}"), Problem)


@pytest.mark.parametrize("authorization", [None, "", "Bearer YTpi", "Basically YTpi"])
async def test_other_schemes_are_none_of_basics_business(authorization: str | None) -> None:
    """None, so that another authenticator can try."""
    assert await outcome(logins(None), authorization) is None


@pytest.mark.parametrize(
    ("name", "password", "word"),
    [
        ("a:b", "right", "colon"),
        ("", "right", "characters"),
        ("x" * 257, "right", "characters"),
        ("a\nb", "right", "control"),
        ("alice", "", "empty"),
        ("alice", "a\0b", "control"),
    ],
)
async def test_accounts_that_could_not_log_in_are_not_created(name: str, password: str, word: str) -> None:
    """RFC 7617 §2: such a name or password cannot be sent."""
    with pytest.raises(ValueError, match=word):
        await create_account(None, name, password, rounds=4)  # type: ignore[arg-type]


async def test_two_accounts_cannot_have_one_name(people: Store) -> None:
    """The name decides the document's id."""
    await create_account(people, "alice", "right", rounds=4)
    with pytest.raises(DocumentExists):
        await create_account(people, "alice", "other", rounds=4)


async def test_the_hash_can_neither_be_read_nor_written_through_a_resource(people: Store) -> None:
    """Even where accounts are mounted as one."""
    account = await create_account(people, "alice", "right", rounds=4)
    assert "password_hash" not in representation(account)
    assert [each["keyword"] for each in body_problems(Account, "create", {"name": "x", "password_hash": "y"})] == [
        "readOnly"
    ]


# ---------------------------------------------------------------- the cache, and many at once


class Counting:
    """A store that counts what is read."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.reads = 0

    async def get(self, cls: Any, key: Any) -> Any:
        self.reads += 1
        return await self._store.get(cls, key)


async def test_a_right_password_is_remembered_for_a_time_and_then_checked_again(people: Store) -> None:
    """A change holds at the latest when that time is over, or at once after `forget`."""
    await create_account(people, "alice", "old", rounds=4)
    counting, now = Counting(people), [0.0]
    accepted = logins(counting, cache_seconds=10, clock=lambda: now[0])
    for _ in range(3):
        assert isinstance(await outcome(accepted, basic("alice", "old")), Principal)
    assert counting.reads == 1
    await change_password(people, "alice", "new", rounds=4)
    assert isinstance(await outcome(accepted, basic("alice", "old")), Principal)
    assert isinstance(await outcome(accepted, basic("alice", "new")), Principal)
    now[0] = 10.0
    assert isinstance(await outcome(accepted, basic("alice", "old")), Problem)
    await change_password(people, "alice", "newer", rounds=4)
    assert isinstance(await outcome(accepted, basic("alice", "new")), Problem)
    now[0] = 11.0
    assert isinstance(await outcome(accepted, basic("alice", "newer")), Principal)
    await change_password(people, "alice", "newest", rounds=4)
    accepted.forget()
    assert isinstance(await outcome(accepted, basic("alice", "newer")), Problem)


async def test_a_password_is_hashed_again_only_for_another_hash(
    people: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The account is read, so that a role or a new password counts; the slow part is left out for an hour."""
    await create_account(people, "alice", "right", rounds=4)
    hashed: list[str] = []

    def counting(password: str, known: str) -> bool:
        hashed.append(password)
        return matches(password, known)

    monkeypatch.setattr("tornado_couch.web.access.basic.matches", counting)
    now = [0.0]
    accepted = logins(people, cache_seconds=10, clock=lambda: now[0])
    for now[0] in (0.0, 60.0, 120.0):
        assert isinstance(await outcome(accepted, basic("alice", "right")), Principal)
    assert hashed == ["right"]
    await people.update(Account, "alice", lambda account: setattr(account, "disabled", True))
    now[0] = 180.0
    assert isinstance(await outcome(accepted, basic("alice", "right")), Problem)
    await people.update(Account, "alice", lambda account: setattr(account, "disabled", False))
    await change_password(people, "alice", "new", rounds=4)
    assert isinstance(await outcome(accepted, basic("alice", "right")), Problem)
    assert isinstance(await outcome(accepted, basic("alice", "new")), Principal)
    assert hashed == ["right", "right", "right", "new"]
    now[0] = 4000.0
    assert isinstance(await outcome(accepted, basic("alice", "new")), Principal)
    assert hashed == ["right", "right", "right", "new", "new"]


@pytest.mark.parametrize("off", [{"cache_seconds": 0}, {"cache_size": 0}], ids=str)
async def test_wrong_passwords_are_never_remembered_and_the_cache_can_be_off(
    people: Store, off: dict[str, Any]
) -> None:
    """Each costs a check."""
    await create_account(people, "alice", "right", rounds=4)
    counting = Counting(people)
    accepted = logins(counting, **off)
    for password in ("right", "right", "wrong", "wrong"):
        await outcome(accepted, basic("alice", password))
    assert counting.reads == 4
    assert not accepted._cache._found


async def test_the_cache_is_bounded_and_holds_no_password(people: Store) -> None:
    """Nor anything that one could be found from without the instance's key."""
    await create_account(people, "alice", "right horse", rounds=4)
    accepted, other = logins(people, cache_size=2), logins(people)
    for authenticator in (accepted, other):
        await outcome(authenticator, basic("alice", "right horse"))
    assert "right horse" not in repr(vars(accepted._cache))
    assert accepted._cache._found.keys() != other._cache._found.keys()
    for number in range(5):
        accepted._cache.put("", "alice", str(number), Principal("alice"))
    assert len(accepted._cache._found) == 2


async def test_passwords_are_checked_a_few_at_a_time_and_a_long_queue_is_503(
    people: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that a flood of logins leaves the processor to others."""
    await create_account(people, "alice", "right", rounds=4)
    at_once = min(2, max(1, (os.cpu_count() or 1) - 1))  # one core is left to the event loop
    running, most, gate, lock = 0, 0, threading.Event(), threading.Lock()

    def slow(password: str, hashed: str) -> bool:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        gate.wait(20)
        with lock:
            running -= 1
        return False

    monkeypatch.setattr(authenticators, "matches", slow)
    accepted = logins(people, concurrency=2, queue=3)
    tasks = [asyncio.create_task(outcome(accepted, basic("alice", str(number)))) for number in range(5)]
    await until(lambda: running == at_once)
    with pytest.raises(Problem) as caught:
        await accepted.authenticate(request(basic("alice", "one too many")))
    assert (caught.value.status_code, caught.value.headers["Retry-After"]) == (503, "1")
    gate.set()
    assert all(isinstance(each, Problem) for each in await asyncio.gather(*tasks))
    assert most == at_once
    assert isinstance(await outcome(accepted, basic("alice", "again")), Problem)


async def test_many_requests_with_the_same_credentials_cost_one_check_for_each_turn(people: Store) -> None:
    """Who waited finds them checked."""
    await create_account(people, "alice", "right", rounds=4)
    counting = Counting(people)
    accepted = logins(counting, concurrency=1)
    found = await asyncio.gather(*[outcome(accepted, basic("alice", "right")) for _ in range(20)])
    assert all(isinstance(each, Principal) for each in found)
    assert counting.reads == 1


# ---------------------------------------------------------------- on the wire


async def test_on_the_wire_both_schemes_work_side_by_side(people: Store, serve: Serve) -> None:
    """A 401 offers both, and the one that was tried says what was wrong."""
    await create_account(people, "bob", "right", rounds=4)
    policy = Authenticated(tokens(), logins(people, realm='the "api"'))

    class WhoAmI(ProblemHandler):
        async def get(self) -> None:
            principal = await policy.authenticate(self.request)
            await policy.authorize(principal, "retrieve", Account)
            assert principal
            self.write(principal.name)

    ask = await serve(Application([("/me", WhoAmI)]))
    assert (await ask("GET", "/me", Authorization=bearer())).text == b"alice"
    assert (await ask("GET", "/me", Authorization=basic("bob", "right"))).text == b"bob"
    nobody = await ask("GET", "/me")
    assert nobody.status == 401
    assert nobody.headers["WWW-Authenticate"] == 'Bearer realm="api", Basic realm="the \\"api\\"", charset="UTF-8"'
    for authorization in (basic("bob", "wrong"), "Basic %%%", "Bearer x.y.z", bearer(exp=PAST)):
        reply = await ask("GET", "/me", Authorization=authorization)
        assert (reply.status, reply.json["type"].rpartition(":")[2]) == (401, "invalid-credentials")
        assert {"Bearer realm", "Basic realm"} <= {
            part.strip().partition("=")[0] for part in reply.headers["WWW-Authenticate"].split(",")
        }
        assert ('error="invalid_token"' in reply.headers["WWW-Authenticate"]) is authorization.startswith("Bearer")
        assert reply.headers["Cache-Control"] == "no-store"
