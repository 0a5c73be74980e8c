"""That the API document has every answer of the HTTP contract: each status, its problem type, its header fields."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from tests.web.callers import ByHeader
from tests.web.contract.conftest import application
from tests.web.models import Stand
from tests.web.openapi.described import Described
from tornado_couch import Application, Couch, Store, openapi_document, resource
from tornado_couch.web import Authenticated
from tornado_couch.web.problems import KINDS

LINES = (Path(__file__).parents[2] / "data" / "http_contract.txt").read_text("utf-8").splitlines()
STATUS = re.compile(r"(?<![\d.])[2-5]\d\d(?!\d|\.\d)")
FIELDS = re.compile(
    r"(?<![\w-])(ETag|Location|Cache-Control|Vary|Link|Allow|Accept-Post|Accept-Patch|Retry-After|WWW-Authenticate|"
    r"Preference-Applied|If-Match|If-None-Match|Prefer(?!-)|Idempotency-Key)(?![\w-])"
)
ASKED = {"If-Match", "If-None-Match", "Prefer", "Idempotency-Key"}

# By how a sentence of the contract begins: for each operation, what the sentence says it is answered with: statuses,
# each with its type of problem in parentheses, and with the fields that such an answer has.
LIST, GET = "GET /v1.0/fruits", "GET /v1.0/fruits/x"
POST, PUT = "POST /v1.0/fruits", "PUT /v1.0/fruits/x"
PATCH, DELETE = "PATCH /v1.0/fruits/x", "DELETE /v1.0/fruits/x"
READS = (LIST, GET, "HEAD /v1.0/fruits", "HEAD /v1.0/fruits/x")
CHANGES = (PUT, PATCH, DELETE)
MISMATCH = "412(revision-mismatch) ETag If-Match If-None-Match"
OUTAGE = "503(database-unavailable) Retry-After; 504(database-timeout) Retry-After"

ANSWERS: dict[str, dict[str | tuple[str, ...], str]] = {
    "JSON only": {(*READS, POST, PUT, PATCH): "406"},
    "A body of another type": {POST: "415 Accept-Post", PATCH: "415 Accept-Patch", PUT: "415"},
    "Every error": {"TRACE /v1.0/fruits": "405 Allow", GET: "404"},
    "The ETag is strong": {(*READS, PUT, PATCH): "200 ETag", POST: "201 ETag"},
    "GET, If-None-Match: current": {READS: "304 ETag Cache-Control Vary If-None-Match; 200 ETag Cache-Control Vary"},
    "GET, If-None-Match: other": {READS: "200 If-None-Match"},
    "GET, If-Match fails": {READS: "412(revision-mismatch) If-Match If-None-Match"},
    "GET missing document": {(GET, "HEAD /v1.0/fruits/x"): "404"},
    "PUT/PATCH/DELETE, If-Match": {(PUT, PATCH): "200 If-Match", DELETE: "204 If-Match"},
    "… If-Match: other": {CHANGES: MISMATCH},
    "… If-Match: `*`": {CHANGES: MISMATCH},
    "… no If-Match": {"PUT /v1.0/guarded/x": "428(if-match-required) If-Match"},
    "PUT, If-None-Match: `*`": {
        "PUT /v1.0/stands/x": "412(revision-mismatch) If-None-Match; 201 Location ETag; 404",
        PUT: "412(revision-mismatch) If-None-Match; 404",
    },
    "If-Match given": {CHANGES: MISMATCH},
    "N parallel PUTs": {PUT: f"200 ETag; {MISMATCH}"},
    "both If-None-Match": {READS: "200 If-None-Match"},
    "no credentials": {"PUT /private/x": "401(authentication-required) WWW-Authenticate If-Match; 404; 428"},
    "malformed entity tag": {(*READS, *CHANGES): "400(malformed-entity-tag)"},
    "If-Match is never forwarded": {CHANGES: MISMATCH, PATCH: f"409(patch-test-failed); {MISMATCH}"},
    "POST Fruits, valid": {POST: "201 Location ETag"},
    "POST, body not JSON": {POST: "400(malformed-body)"},
    "POST, schema violated": {POST: "422(validation)"},
    "POST, unknown": {POST: "422(validation)"},
    "PUT/PATCH, a read-only": {(PUT, PATCH): "422(validation)"},
    "POST, `application/json; charset": {POST: "201"},
    "POST, body over": {POST: "413; 400(malformed-body)"},
    "POST with `Idempotency-Key`": {
        POST: "201 Idempotency-Key; 422(idempotency-key-reused); 409(idempotent-request-running)"
    },
    "POST an array": {POST: "200; 201; 422(validation); 400(empty-bulk)"},
    "PUT | whole": {PUT: "200"},
    "PUT, body's key": {PUT: "400(key-mismatch)"},
    "PATCH `application/merge": {PATCH: "200; 422(validation)"},
    "PATCH `application/json-patch": {PATCH: "200; 409(patch-test-failed); 422(validation)"},
    "DELETE |": {DELETE: "204; 404"},
    "`Prefer: return=minimal`": {
        (PUT, PATCH): "204 Preference-Applied Prefer",
        (POST, "PUT /v1.0/stands/x"): "201 Preference-Applied Prefer",
    },
    "POST to a document": {"POST /v1.0/fruits/x": "405 Allow", "PUT /v1.0/looked-at/x": "405 Allow"},
    "OPTIONS": {
        "OPTIONS /v1.0/fruits": "204 Allow Accept-Post",
        "OPTIONS /v1.0/fruits/x": "204 Allow Accept-Patch",
    },
    "retries exhausted": {(POST, *CHANGES): "503(contended) Retry-After"},
    "CouchDB down": {(*READS, POST, *CHANGES): OUTAGE},
    '`{"items"': {LIST: "200 Link"},
    "A forged": {LIST: "400(bad-parameter)"},
    "An unknown parameter": {LIST: "400(bad-parameter); 400(no-index)"},
    "Zero matches": {LIST: "200"},
    "ETag for the page": {LIST: "200 ETag If-None-Match; 304 ETag"},
    "401 has": {"GET /private/x": "401(authentication-required) WWW-Authenticate; 404"},
    "A document whose signature": {GET: "502(tampered-document)"},
}

SAID_OF_OTHERS = {"500"}  # "never 500"


def sentences() -> list[str]:
    """Those that name a status, or a header field."""
    return [each for each in LINES if not each.startswith("#") and (STATUS.search(each) or FIELDS.search(each))]


@pytest.fixture(scope="module")
def described() -> Described:
    """The document of the service that the tests of the contract use, and of one that asks who calls."""
    store = Store(Couch("http://127.0.0.1:9")["orchard"])
    known = Authenticated(ByHeader())
    private = resource("/private", Stand, store, policy=known, require_if_match=True)
    app: Application = application(store, *private)
    return Described(openapi_document(app))


def told(described: Described, operation: str, status: str) -> tuple[dict[str, Any], set[str]]:
    """An answer of an operation, and the header fields that the operation takes."""
    method, _, path = operation.partition(" ")
    found = described.operation(method, path)
    if found is None:
        assert status == "405", f"{operation} is not described"
        return described.document["components"]["responses"]["MethodNotAllowed"], set()
    assert status in found["responses"], f"{operation} is not said to be answered with {status}"
    return found["responses"][status], {each["name"] for each in found.get("parameters", ()) if each["in"] == "header"}


def types(described: Described, answer: dict[str, Any]) -> set[str]:
    """The types of the problems that an answer can be."""
    schema = answer["content"]["application/problem+json"]["schema"]
    each = [described.resolved(branch) for branch in schema.get("anyOf", [schema])]
    return {branch["properties"]["type"]["const"] for branch in each}


@pytest.mark.parametrize("sentence", sentences())
def test_the_document_has_what_a_sentence_of_the_contract_says(described: Described, sentence: str) -> None:
    """Each of its statuses and header fields, at each of the operations that it is about, with its type of problem."""
    matching = [answers for start, answers in ANSWERS.items() if sentence.startswith(start)]
    assert len(matching) == 1, "say in ANSWERS what this sentence is about"
    said: set[str] = set()
    for operations, parts in matching[0].items():
        for operation in [operations] if isinstance(operations, str) else operations:
            for part in parts.split(";"):
                first, *fields = part.split()
                status, _, kind = first.rstrip(")").partition("(")
                answer, asked = told(described, operation, status)
                said |= {status, *fields}
                assert {each for each in fields if each in ASKED} <= asked, operation
                assert {each for each in fields if each not in ASKED} <= answer.get("headers", {}).keys(), operation
                if int(status) >= 400 and not operation.startswith("HEAD "):
                    wanted = f"urn:tornado-couch:problem:{kind}" if kind else None
                    assert wanted is None or wanted in types(described, answer), operation
    assert {*STATUS.findall(sentence), *FIELDS.findall(sentence)} - SAID_OF_OTHERS <= said


def test_each_kind_of_problem_is_an_answer_of_some_operation(described: Described) -> None:
    """Of those that need no setting of their own."""
    found: set[str] = set()
    for methods in described.document["paths"].values():
        for name, operation in methods.items():
            for answer in operation["responses"].values() if name != "head" else ():
                if "application/problem+json" in answer.get("content", {}):
                    found |= types(described, answer)
    absent = {kind for kind in KINDS if f"urn:tornado-couch:problem:{kind}" not in found}
    # Where there is a rate limit, with `xsrf_cookies`, with `many`, as the result of one of many, with `actions`,
    # where each tenant has a database, where documents refer to each other, and where they have files.
    others = {"quota-exceeded", "cross-site-request", "filter-required", "not-selected", "action-refused"}
    others |= {"file-content", "file-mismatch", "file-too-large", "file-type", "range-not-satisfiable"}
    others |= {"too-many-files"}
    assert absent == others | {"no-such-tenant", "tenants-busy", "tenants-full", "referenced", "dependents-left"}
