"""The API document: what it says of routes and models, and how it is served."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import pytest
import tornado.web
from annotated_types import MinLen
from jsonschema import Draft202012Validator
from openapi_spec_validator import validate
from pydantic import BaseModel, Field

import tornado_couch
from example_app.app import make_app
from tests.web.conftest import Client, Serve, application
from tests.web.openapi.described import Described
from tornado_couch import (
    AllowAny,
    ApiInfo,
    Application,
    Couch,
    Count,
    CreatedOn,
    CreateMixin,
    Hashed,
    Hooks,
    Indexed,
    Key,
    ListMixin,
    Model,
    ProblemHandler,
    ReadOnly,
    ResourceHandler,
    RetrieveMixin,
    Stats,
    Store,
    Sum,
    WriteOnly,
    docs_routes,
    health_routes,
    metrics_routes,
    openapi_document,
    openapi_routes,
    resource,
)
from tornado_couch.models import body_problems
from tornado_couch.web import ApiOperation, Authenticated, BasicAccounts, BearerJWT, Cors, NotFoundHandler, RateLimit
from tornado_couch.web import ReadOnly as ReadOnlyPolicy
from tornado_couch.web.problems import _KINDS_OF_ERRORS, KINDS


class Origin(BaseModel):
    country: str
    town: str | None = None


class Melon(
    Model,
    type="melon_v1.0",
    key="melon_id",
    indexes=[("color", "grown_on")],
    reductions={
        "by-color": Count("color"),
        "weights": Sum("weight", by="color"),
        "spread": Stats("weight", by="color"),
    },
):
    """A melon."""

    melon_id: Key
    color: Annotated[str, MinLen(1), Indexed()]
    weight: int = 0
    ripe: Annotated[bool, Indexed()] = False
    origin: Origin | None = None
    shape: Annotated[str | None, Field(deprecated="Nobody knows it.")] = None
    code: Annotated[str | None, Field(pattern="^[A-Z]{3}$")] = None
    grade: Annotated[int, ReadOnly()] = 0
    note: Annotated[str | None, WriteOnly()] = None
    pin: Annotated[str | None, Hashed()] = None
    grown_on: Annotated[CreatedOn, Indexed()]


class Kept(Model, type="kept_v1.0", key="kept_id", history=True):
    kept_id: Key
    text: Annotated[str, Indexed()]


class Bin(Model, type="bin_v1.0", soft_delete=True):
    text: Annotated[str, Indexed()]


@pytest.fixture
def nowhere() -> Store:
    """A store for which nothing is asked."""
    return Store(Couch("http://127.0.0.1:9")["orchard"])


def documents(nowhere: Store) -> Iterator[dict[str, Any]]:
    """The API documents of several services."""
    yield openapi_document(make_app(Couch("http://127.0.0.1:9")))
    yield openapi_document(application(nowhere))
    kept = [*resource("/kept", Kept, nowhere), *resource("/bin", Bin, nowhere)]
    yield openapi_document(Application(kept, policy=AllowAny()))
    secured = Authenticated(BasicAccounts(nowhere), read_anonymous=True)
    yield openapi_document(
        Application(resource("/melons", Melon, nowhere), policy=secured, rate_limit=RateLimit(9, 9)),
        ApiInfo("Melons", "2.1", "All of them.", ["https://example.com"], {"license": {"name": "MIT"}}),
    )


def melons(nowhere: Store, **options: Any) -> Described:
    return Described(
        openapi_document(Application(resource("/v1/melons", Melon, nowhere, **options), policy=AllowAny()))
    )


def test_documents_are_valid(nowhere: Store) -> None:
    """By the OpenAPI specification's own schema."""
    for document in documents(nowhere):
        validate(document)
        assert document["openapi"].startswith("3.1.")


def test_every_example_is_valid_by_its_schema(nowhere: Store) -> None:
    """Those of bodies and answers; and each body has one."""
    for document in documents(nowhere):
        described, count = Described(document), 0
        for operation in operations(document):
            bodies = operation.get("requestBody", {}).get("content", {})
            contents = [
                bodies,
                *(described.resolved(each).get("content", {}) for each in operation["responses"].values()),
            ]
            for media in [media for content in contents for media in content.values()]:
                if "example" in media:
                    count += 1
                    assert described.faults(media["schema"], media["example"]) == []
            assert all("example" in media for media in bodies.values()), operation["operationId"]
        assert count > 10


def operations(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for methods in document["paths"].values():
        yield from methods.values()


def test_operation_ids_are_unique_names_of_functions(nowhere: Store) -> None:
    """As generated clients need them."""
    for document in documents(nowhere):
        ids = [operation["operationId"] for operation in operations(document)]
        assert len(set(ids)) == len(ids)
        assert all(re.fullmatch("[a-z][a-z0-9_]*", each) for each in ids)
    ids = [operation["operationId"] for operation in operations(melons(nowhere).document)]
    reads = {
        "melon",
        "melons",
        "melons_by_color",
        "melons_changes",
        "melons_conflicts",
        "melons_spread",
        "melons_weights",
    }
    assert {name for name in ids if name.startswith("head_")} == {f"head_{name}" for name in reads}
    assert {name for name in ids if name.startswith("options_")} == {
        f"options_{name}" for name in {*reads, "melons_bulk", "melons_changes_tickets"}
    }
    assert {name for name in ids if not name.startswith(("head_", "options_"))} == {
        "list_melons",
        "create_melon",
        "post_melons_bulk",
        "get_melons_by_color",
        "get_melons_weights",
        "get_melons_spread",
        "get_melon",
        "replace_melon",
        "patch_melon",
        "delete_melon",
        "list_melons_conflicts",
        "resolve_melons_conflicts",
        "list_melons_changes",
        "create_melons_changes_tickets",
    }


class OldTree(Model, type="tree_v1.0", key="tree_id", history=True):
    """A name of two words that begins with a vowel."""

    tree_id: Key


def test_summaries_are_english(nowhere: Store) -> None:
    """One document is named for its model, with its article; many are named for the path."""
    paths = openapi_document(Application(resource("/trees", OldTree, nowhere), policy=AllowAny()))["paths"]
    found = {each["summary"] for path in paths.values() for method, each in path.items() if method != "options"}
    found = {summary for summary in found if not summary.endswith(": headers only")}
    assert found == {
        "List trees",
        "Create an old tree",
        "Create, replace and delete several trees",
        "Get an old tree",
        "Replace an old tree",
        "Change an old tree",
        "Delete an old tree",
        "List the versions of an old tree",
        "Follow the changes of trees",
        "Make an address for EventSource",
    }


def test_summaries_are_titles(nowhere: Store) -> None:
    """Without a full stop and without Markdown, also where they come from the docstring of a page."""
    pages = [*metrics_routes(nowhere.database), *health_routes(nowhere.database)]
    paths = openapi_document(Application(pages, policy=AllowAny()))["paths"]
    found = [each["summary"] for path in paths.values() for each in path.values()]
    assert len(found) > 4
    assert [each for each in found if "`" in each or re.search(r"\.(:|$)", each)] == []


def test_what_is_mounted_is_described_and_nothing_else(nowhere: Store) -> None:
    """The actions that a handler has, without those that the policy lets nobody use."""

    class Melons(ListMixin, CreateMixin, ResourceHandler):
        pass

    app = Application(
        [
            *resource("/few", Melon, nowhere, collection=Melons),
            *resource("/read", Melon, nowhere, policy=ReadOnlyPolicy()),
            ("/other", tornado.web.RequestHandler),
            ("/plain", ProblemHandler),
            (r"/un(told|known)?/(?:x|y)", ProblemHandler),
        ],
        policy=AllowAny(),
    )
    found = {path: set(methods) for path, methods in openapi_document(app)["paths"].items()}
    read = {"get", "head", "options"}
    reduced = {f"{base}/{name}": read for base in ("/few", "/read") for name in ("by-color", "weights", "spread")}
    assert found == {
        "/few": {*read, "post"},
        "/few/_bulk": {"post", "options"},
        "/few/{key}": {*read, "put", "patch", "delete"},
        "/read": read,
        "/read/{key}": read,
        "/read/{key}/conflicts": read,
        "/read/_changes": read,
        "/read/_changes/tickets": {"post", "options"},
        **reduced,
    }


def test_head_is_described_as_get_without_a_body(nowhere: Store) -> None:
    """The same parameters, statuses and header fields; no content, and no link of its own."""
    for document in documents(nowhere):
        pairs = [(methods["get"], methods["head"]) for methods in document["paths"].values() if "head" in methods]
        assert pairs
        for get, head in pairs:
            assert head.get("parameters") == get.get("parameters")
            assert head.get("security") == get.get("security")
            assert head["responses"].keys() == get["responses"].keys()
            for status, answer in head["responses"].items():
                assert answer.get("headers") == get["responses"][status].get("headers")
                assert not answer.keys() & {"content", "links"}


def test_options_is_described_by_what_there_is(nowhere: Store) -> None:
    """204 with Allow, and the media types of bodies; a path that nobody may use has none; other methods are 405."""
    found = melons(nowhere)
    wanted = {
        "/v1/melons": {"Allow", "Accept-Post"},
        "/v1/melons/x": {"Allow", "Accept-Patch"},
        "/v1/melons/_bulk": {"Allow", "Accept-Post"},
        "/v1/melons/weights": {"Allow"},
    }
    for path, fields in wanted.items():
        operation = found.operation("OPTIONS", path)
        assert operation is not None
        assert operation["responses"].keys() == {"204", "400", "500"}
        assert operation["responses"]["204"]["headers"].keys() == fields
        assert "security" not in operation
    other = found.document["components"]["responses"]["MethodNotAllowed"]
    assert other["headers"].keys() == {"Allow"}
    allowed = melons(nowhere, cors=Cors("*")).operation("OPTIONS", "/v1/melons")
    assert allowed is not None
    assert "Access-Control-Allow-Methods" in allowed["responses"]["204"]["headers"]


def test_a_key_is_none_of_the_other_addresses(nowhere: Store) -> None:
    """By the schema of the path's parameter, so that nobody takes `_bulk` or a reduced view for a document."""

    class Named(Model, type="named_v1.0", key="name", unique=True, reductions={"by-size": Count("size")}):
        name: str
        size: Annotated[int, Indexed()] = 0

    for model, others in ((Melon, ["_bulk"]), (Named, ["_bulk", "by-size"])):
        found = Described(openapi_document(Application(resource("/x", model, nowhere), policy=AllowAny())))
        schema = found.document["paths"]["/x/{key}"]["get"]["parameters"][0]["schema"]
        assert found.faults(schema, "7f3a") == []
        assert all(found.faults(schema, other) for other in others)


def test_a_collection_has_its_parameters(nowhere: Store) -> None:
    """Paging, order, parts, count, and a filter for each index, with ranges where there are any; no secret one."""
    operation = melons(nowhere, page_size=7).operation("GET", "/v1/melons")
    assert operation is not None
    query = {each["name"]: each["schema"] for each in operation["parameters"] if each["in"] == "query"}
    ranges = {
        f"{name}[{operator}]" for name in ("melon_id", "color", "grown_on") for operator in ("gt", "gte", "lt", "lte")
    }
    own = {"limit", "cursor", "sort", "nulls", "fields", "count", "or"}
    filtered = {"melon_id", "color", "ripe", "grown_on"}
    others = {f"{name}[{operator}]" for name in filtered for operator in ("ne", "in")}
    assert query.keys() == own | filtered | ranges | others
    assert query["limit"] == {"type": "integer", "minimum": 1, "default": 7}
    assert query["color"]["items"] == {"type": "string", "minLength": 1}
    assert query["ripe"]["items"] == {"type": "boolean"}
    assert query["grown_on[gte]"] == {"type": "string", "format": "date-time"}
    assert {"color", "-grown_on", "color,grown_on", "-color,-grown_on"} <= set(query["sort"]["enum"])
    assert re.search(query["fields"]["pattern"], "color,weight")
    assert not re.search(query["fields"]["pattern"], "color,pin")
    headers = {each["name"] for each in operation["parameters"] if each["in"] == "header"}
    assert headers == {"If-Match", "If-None-Match"}


def test_a_write_has_its_parameters_bodies_and_answers(nowhere: Store) -> None:
    """Preconditions, preferences, idempotency; each media type; each status with its problems."""
    found = melons(nowhere, require_if_match=True)
    create, patch = found.operation("POST", "/v1/melons"), found.operation("PATCH", "/v1/melons/x")
    assert create is not None
    assert patch is not None
    assert set(create["requestBody"]["content"]) == {"application/json", "application/x-ndjson"}
    assert {each["name"] for each in create["parameters"]} == {"Prefer", "Idempotency-Key"}
    assert set(create["responses"]["201"]["headers"]) >= {"Location", "ETag", "Preference-Applied"}
    assert set(patch["requestBody"]["content"]) == {"application/merge-patch+json", "application/json-patch+json"}
    assert {each["name"] for each in patch["parameters"]} == {"key", "Prefer", "If-Match", "If-None-Match"}
    statuses = {"200", "204", "400", "401", "403", "404", "406", "409", "412", "413", "415", "422", "428"}
    assert patch["responses"].keys() == statuses | {"500", "502", "503", "504"}
    problem = patch["responses"]["428"]["content"]["application/problem+json"]["schema"]
    assert found.resolved(problem)["properties"]["type"]["const"] == "urn:tornado-couch:problem:if-match-required"
    assert found.resolved(problem)["properties"]["status"]["const"] == 428


def test_schemas_mark_what_is_read_only_write_only_and_deprecated(nowhere: Store) -> None:
    """What is write-only or hashed is in no answer; what is read-only is in no body that creates."""
    schemas = melons(nowhere).document["components"]["schemas"]
    shown, create, replace = (schemas[name]["properties"] for name in ("Melon", "MelonCreate", "MelonReplace"))
    assert {"note", "pin"}.isdisjoint(shown)
    assert create["note"]["writeOnly"]
    assert create["pin"]["writeOnly"]
    assert {"grade", "melon_id", "grown_on"}.isdisjoint(create)
    assert all(replace[name]["readOnly"] for name in ("grade", "melon_id", "grown_on"))
    assert all(shown[name]["readOnly"] for name in ("grade", "melon_id", "grown_on"))
    assert shown["shape"]["deprecated"]
    assert create["shape"]["deprecated"]
    assert shown["grown_on"] == {"type": "string", "format": "date-time", "readOnly": True}
    assert schemas["Melon"]["required"] == ["melon_id", "color", "weight", "ripe", "grade"]
    assert schemas["Melon"]["description"] == "A melon."
    assert schemas["OriginInput"]["additionalProperties"] is False
    assert "additionalProperties" not in schemas["Origin"]


@pytest.mark.parametrize(
    "body",
    [
        {"color": "red"},
        {"color": ""},
        {"color": "red", "origin": {"country": "no", "town": None}},
        {"color": "red", "origin": {"country": "no", "village": "x"}},
        {"color": "red", "_href": "/x", "_etag": 1},
        {"color": "red", "size": 1},
        {"color": "red", "grade": 1},
        {"weight": 1},
        {"color": "red", "code": "abc"},
        [],
    ],
)
def test_a_documented_body_is_what_is_accepted(nowhere: Store, body: Any) -> None:
    """The document's schema and the service's agree."""
    found = melons(nowhere).faults({"$ref": "#/components/schemas/MelonCreate"}, body)
    assert bool(found) == bool(body_problems(Melon, "create", body))


@pytest.mark.parametrize(
    ("patch", "fits"),
    [
        ({}, True),
        ({"color": "blue", "weight": None}, True),
        ({"color": None}, False),
        ({"origin": {"town": "odda"}}, True),
        ({"origin": {"country": None}}, False),
        ({"origin": None}, True),
        ({"size": 1}, False),
    ],
)
def test_a_merge_patch_may_leave_out_anything_and_null_what_may_be_missing(
    nowhere: Store, patch: Any, fits: bool
) -> None:
    """Nested objects as well."""
    assert (melons(nowhere).faults({"$ref": "#/components/schemas/MelonMergePatch"}, patch) == []) is fits


def test_two_models_of_one_name_have_two_schemas(nowhere: Store) -> None:
    """Neither hides the other."""

    def make(version: str) -> type[Model]:
        class Twin(Model, type=f"twin{version}_v1.0"):
            text: str

        return Twin

    first, second = make("a"), make("b")
    document = openapi_document(
        Application([*resource("/a", first, nowhere), *resource("/b", second, nowhere)], policy=AllowAny())
    )
    assert {"Twin", "Twin2", "TwinCreate", "Twin2Create"} <= document["components"]["schemas"].keys()


def test_links_lead_from_a_new_document_to_what_can_be_done_with_it(nowhere: Store) -> None:
    """By the key in the body, with the entity tag for the writes."""
    operation = melons(nowhere).operation("POST", "/v1/melons")
    assert operation is not None
    links = operation["responses"]["201"]["links"]
    key = {"path.key": "$response.body#/melon_id"}
    tagged = {**key, "header.If-Match": "$response.header.ETag"}
    assert {name: link["parameters"] for name, link in links.items()} == {
        "get_melon": key,
        "replace_melon": tagged,
        "patch_melon": tagged,
        "delete_melon": tagged,
        "list_melons_conflicts": key,
    }


# ---------------------------------------------------------------- security


class ByKey:
    challenge = "ApiKey"
    security_scheme = {"type": "apiKey", "in": "header", "name": "X-Api-Key"}  # noqa: RUF012 - a literal

    async def authenticate(self, request: Any) -> None:
        return None


def test_security_schemes_follow_from_the_policy(nowhere: Store) -> None:
    """Basic, bearer tokens, and what an authenticator says of itself; anonymous where it may."""
    token = BearerJWT(b"x" * 32, algorithms=["HS256"], audience=None, issuer=None)
    policy = Authenticated(BasicAccounts(nowhere), token, ByKey(), read_anonymous=True)
    document = openapi_document(Application(resource("/melons", Melon, nowhere), policy=policy))
    validate(document)
    assert document["components"]["securitySchemes"] == {
        "basic": {"type": "http", "scheme": "basic"},
        "bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
        "header_X-Api-Key": ByKey.security_scheme,
    }
    schemes = [{"basic": []}, {"bearer": []}, {"header_X-Api-Key": []}]
    paths = document["paths"]
    assert paths["/melons"]["get"]["security"] == [{}, *schemes]
    assert paths["/melons"]["post"]["security"] == schemes
    assert paths["/melons/_bulk"]["post"]["security"] == schemes
    assert {"401", "403"} <= paths["/melons"]["post"]["responses"].keys()
    assert paths["/melons"]["post"]["responses"]["401"]["headers"].keys() == {"WWW-Authenticate"}


def test_without_authenticators_nobody_is_asked_who_they_are(nowhere: Store) -> None:
    """No 401, and no scheme."""
    document = melons(nowhere).document
    assert "securitySchemes" not in document["components"]
    assert "401" not in document["paths"]["/v1/melons"]["get"]["responses"]
    assert document["paths"]["/v1/melons"]["get"]["security"] == [{}]


def test_a_rate_limit_is_told(nowhere: Store) -> None:
    """429, and the fields of every answer."""
    operation = melons(nowhere, rate_limit=RateLimit(9, 9)).operation("GET", "/v1/melons")
    assert operation is not None
    assert "Retry-After" in operation["responses"]["429"]["headers"]
    assert all({"RateLimit", "RateLimit-Policy"} <= each["headers"].keys() for each in operation["responses"].values())


# ---------------------------------------------------------------- the seam


class Pressed(RetrieveMixin):
    @classmethod
    def describe(cls, operation: ApiOperation) -> None:
        super().describe(operation)
        if operation.action == "retrieve":
            operation.id = "press" if operation.method == "GET" else operation.id
            operation.query("pressed", {"type": "boolean"}, "As juice.")
            operation.fails(422, "not-juicy")


class Weather(ProblemHandler):
    @classmethod
    def describe(cls, operation: ApiOperation) -> None:
        super().describe(operation)
        operation.says("The weather", "Now.")
        operation.answers_with(200, "It.", {"type": "string", "enum": ["rain"]})

    def get(self, place: str) -> None:
        self.write("x")


class Odd(ResourceHandler):
    def post(self) -> None:
        self.write("x")


def test_handlers_of_ones_own_describe_themselves(nowhere: Store) -> None:
    """A mixin adds to an action, any handler describes a method; what says nothing is described as far as known."""
    more = [
        ("/weather/(?P<place>[a-z]+)", Weather),
        ("/odd", Odd, {"resource": resource("/m", Melon, nowhere)[0].kwargs["resource"]}),
    ]
    app = Application([*resource("/melons", Melon, nowhere, document=Pressed), *more], policy=AllowAny())
    document = openapi_document(app)
    validate(document)
    get, head = (document["paths"]["/melons/{key}"][method] for method in ("get", "head"))
    assert "pressed" in [each["name"] for each in get["parameters"]]
    assert (get["operationId"], head["operationId"]) == ("press", "head_press")
    assert head["parameters"] == get["parameters"]
    assert "urn:tornado-couch:problem:not-juicy" in json.dumps(document)
    weather = document["paths"]["/weather/{place}"]["get"]
    assert weather["summary"] == "The weather"
    assert [each["name"] for each in weather["parameters"]] == ["place"]
    assert "200" in document["paths"]["/odd"]["post"]["responses"]


def test_pages_are_described_as_they_are_served(nowhere: Store) -> None:
    """Metrics behind the policy, health for everybody; the document and the docs page themselves are left out."""
    routes = [
        *metrics_routes(nowhere.database),
        *health_routes(nowhere.database),
        *openapi_routes(),
        *docs_routes(),
    ]
    policy = Authenticated(BasicAccounts(nowhere), read_anonymous=True)
    document = openapi_document(Application(routes, policy=policy, rate_limit=RateLimit(9, 9)))
    validate(document)
    assert document["paths"].keys() == {"/_metrics", "/_health", "/_live", "/_ready"}
    metrics, health = document["paths"]["/_metrics"]["get"], document["paths"]["/_health"]["get"]
    assert {"200", "304", "401", "403", "406", "412", "429", "503"} <= metrics["responses"].keys()
    assert metrics["security"] == [{}, {"basic": []}]
    assert "security" not in health
    assert "401" not in health["responses"]


def test_hooks_of_ones_own_may_answer_otherwise(nowhere: Store) -> None:
    """Then there is a default answer, which is any problem."""

    class Picky(Hooks):
        pass

    operation = melons(nowhere, hooks=Picky()).operation("POST", "/v1/melons")
    assert operation is not None
    assert "default" in operation["responses"]


def test_every_kind_of_problem_in_the_code_is_in_the_table() -> None:
    """No call repeats a kind's status, no kind is missing in the table, and none is there that nothing answers with."""
    used = {kind for _, kind, _ in _KINDS_OF_ERRORS}
    repeated = []
    package = Path(tornado_couch.__file__).parent
    for path in [*(package / "web").rglob("*.py"), package / "service" / "tenants.py"]:
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call):
                continue
            name = ast.unparse(node.func)
            if name == "Problem.of" and isinstance(node.args[0], ast.Constant):
                used.add(node.args[0].value)
            if name == "Problem" and len(node.args) > 1 and isinstance(node.args[1], ast.Constant):
                repeated.append(ast.unparse(node))
            if name == "unauthenticated":
                used |= {each.value for each in node.args if isinstance(each, ast.Constant) and each.value in KINDS}
                used.add("authentication-required")  # its kind where none is named
    assert repeated == []
    assert used - KINDS.keys() == set()
    assert KINDS.keys() - used == set()


async def test_the_status_of_a_kind_is_one_line(store: Store, serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """Changed in the table, it is changed in the answer and in the API document."""
    monkeypatch.setitem(KINDS, "validation", KINDS["validation"]._replace(status=418))
    app = Application(resource("/melons", Melon, store), policy=AllowAny())
    ask: Client = await serve(app)
    assert (await ask("POST", "/melons", {"color": []})).status == 418
    described = openapi_document(app, ApiInfo("Orchard", "1.0"))["paths"]["/melons"]["post"]["responses"]
    assert "418" in described
    assert "validation" not in str(described.get("422"))


# ---------------------------------------------------------------- served


async def test_the_document_is_served_like_a_resource(store: Store, serve: Serve) -> None:
    """With an entity tag, 304, content coding, HEAD and 405; what it says is what `openapi_document` gives."""
    app = application(store, *openapi_routes(ApiInfo("Orchard", "1.0")))
    ask: Client = await serve(app)
    found = await ask("GET", "/openapi.json")
    assert found.status == 200
    assert found.headers["Content-Type"] == "application/json"
    assert found.json == openapi_document(app, ApiInfo("Orchard", "1.0"))
    tag = found.headers["ETag"]
    assert (await ask("GET", "/openapi.json", If_None_Match=tag)).status == 304
    packed = await ask("GET", "/openapi.json", Accept_Encoding="gzip")
    assert packed.headers["Content-Encoding"] == "gzip"
    assert packed.headers["ETag"] != tag
    assert (await ask("GET", "/openapi.json", If_None_Match=packed.headers["ETag"])).status == 304
    assert (await ask("HEAD", "/openapi.json")).headers["ETag"] == tag
    assert (await ask("POST", "/openapi.json")).headers["Allow"] == "GET, HEAD, OPTIONS"
    assert (await ask("GET", "/openapi.json", Accept="text/html")).status == 406
    assert (await ask("GET", "/openapi.json", If_Match='"x"')).status == 412
    assert (await ask("GET", "/openapi.json", If_Match="x")).status == 400
    assert (await ask("OPTIONS", "/openapi.json")).status == 204


async def test_the_document_has_a_policy(store: Store, serve: Serve) -> None:
    """401 before anything is said, wrong credentials are counted; without any policy it does not mount."""
    policy = Authenticated(BasicAccounts(store))
    ask = await serve(Application(openapi_routes(policy=policy), rate_limit=RateLimit(2, 60)))
    refused = await ask("GET", "/openapi.json")
    assert refused.status == 401
    assert refused.headers["WWW-Authenticate"].startswith("Basic ")
    wrong = {"Authorization": "Basic eDp5"}
    assert [(await ask("GET", "/openapi.json", **wrong)).status for _ in range(4)][-1] == 429
    with pytest.raises(ValueError, match=r"^/openapi.json has no policy"):
        Application(openapi_routes())


async def test_without_a_policy_nothing_is_served(store: Store, serve: Serve) -> None:
    """In an application of Tornado's own, too."""
    app = tornado.web.Application(openapi_routes(), default_handler_class=NotFoundHandler)  # type: ignore[arg-type]
    ask = await serve(app)  # type: ignore[arg-type]
    assert (await ask("GET", "/openapi.json")).status == 500


def test_the_fixtures_schemas_are_json_schema(nowhere: Store) -> None:
    """Each component is a schema of 2020-12."""
    for document in documents(nowhere):
        for schema in document["components"]["schemas"].values():
            Draft202012Validator.check_schema(schema)
