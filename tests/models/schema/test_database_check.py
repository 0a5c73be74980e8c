"""`validate_doc_update` from models: the same verdict as `jsonschema`, and nothing that breaks out of it."""

from __future__ import annotations

import re
import string
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from importlib.resources import files
from typing import Annotated, Any, Literal

import pytest
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from pydantic import Field, WithJsonSchema

from example_app.models import Fruit, Language
from tests.models.javascript import Engine, running
from tests.models.trees import NOW, TREE, VALUES, Branch, Cat, Size, Tree
from tornado_couch import Model
from tornado_couch.errors import ModelDefinitionError
from tornado_couch.models import Classification, format_timestamp, stamped, to_document
from tornado_couch.models.schema.at_rest import schema_at_rest
from tornado_couch.models.schema.validate_doc_update import check_source, compile_schema, database_check
from tornado_couch.security import BcryptHasher, KeyRing, Sha3Hasher, encrypt_value, is_hash

# Names that are something else to JavaScript's objects, or to its texts.
NAMES = ["a", "b", "__proto__", "constructor", "hasOwnProperty", "toString", 'x"\\', "\u2028", "é😀", ""]
TEXTS = ["", "a", "aa", "ab\n", "é😀", "😀😀", "__proto__", '"]});throw 1;//']
NUMBERS = [0, 1, -1, 2, 3, 10, 2**53, 0.5, 1.5, -0.25, 0.1, 0.3, 1e300, 1e-7, 1.0]
PATTERNS = ["^a", "a$", "^.$", "^.{2}$", "\\d", "[^a]", "^(?:a|é😀)*$", "", "__proto__"]


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    """JavaScript."""
    with running() as found:
        yield found


# ---- schemas and values, both from few words, so that they meet often

scalars = st.one_of(st.none(), st.booleans(), st.sampled_from(NUMBERS), st.sampled_from(TEXTS))
names = st.sampled_from(NAMES)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(names, inner, max_size=4), max_leaves=8
)
sizes = st.integers(0, 3)
numbers = st.sampled_from(NUMBERS)
kinds = st.sampled_from(["null", "boolean", "integer", "number", "string", "array", "object"])
SIMPLE: dict[str, st.SearchStrategy[Any]] = {
    "type": kinds | st.lists(kinds, min_size=1, max_size=3, unique=True),
    "enum": st.lists(values, min_size=1, max_size=3),
    "const": values,
    "minLength": sizes,
    "maxLength": sizes,
    "pattern": st.sampled_from(PATTERNS),
    "minimum": numbers,
    "maximum": numbers,
    "exclusiveMinimum": numbers,
    "exclusiveMaximum": numbers,
    "multipleOf": st.sampled_from([1, 2, 3, 0.5, 0.1, 0.25, 1.5]),
    "minItems": sizes,
    "maxItems": sizes,
    "uniqueItems": st.booleans(),
    "minProperties": sizes,
    "maxProperties": sizes,
    "required": st.lists(names, max_size=2, unique=True),
    "$ref": st.sampled_from(["#/$defs/a", "#/$defs/b~1c"]),
    "title": st.just("an annotation"),
}


def _nested(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    parts = {
        **SIMPLE,
        "items": inner,
        "prefixItems": st.lists(inner, min_size=1, max_size=2),
        "properties": st.dictionaries(names, inner, max_size=3),
        "patternProperties": st.dictionaries(st.sampled_from(PATTERNS), inner, max_size=2),
        "additionalProperties": inner,
        "propertyNames": inner,
        "allOf": st.lists(inner, min_size=1, max_size=2),
        "anyOf": st.lists(inner, min_size=1, max_size=3),
        "oneOf": st.lists(inner, min_size=1, max_size=3),
        "not": inner,
    }
    chosen = st.lists(st.sampled_from(sorted(parts)), min_size=1, max_size=4, unique=True)
    return chosen.flatmap(lambda found: st.fixed_dictionaries({each: parts[each] for each in found}))


plain = st.lists(st.sampled_from(sorted(SIMPLE)), max_size=3, unique=True).flatmap(
    lambda found: st.fixed_dictionaries({each: SIMPLE[each] for each in found})
)
schemas = st.recursive(plain | st.booleans(), _nested, max_leaves=6)


def source_of(schema: Any) -> str:
    """The check of documents whose member `value` must satisfy a schema."""
    rules = compile_schema(schema)
    assert rules.omitted == []
    version = {
        "major": 1,
        "minor": 0,
        "members": ["value"],
        "rule": [["members", [[["value", rules.rule]], [], True]]],
        "definitions": rules.definitions,
    }
    return check_source({"t": {"versions": [version], "immutable": []}})


def _endless(schema: Any, definitions: dict[str, Any], seen: frozenset[str] = frozenset()) -> bool:
    """Whether a schema asks about itself without going into the value: JSON Schema leaves open what that means."""
    if not isinstance(schema, dict):
        return False
    applied = [schema[each] for each in ("not",) if each in schema]
    applied += [each for name in ("allOf", "anyOf", "oneOf") for each in schema.get(name, [])]
    if any(_endless(each, definitions, seen) for each in applied):
        return True
    name = schema.get("$ref", "").removeprefix("#/$defs/").replace("~1", "/")
    return bool(name) and (name in seen or _endless(definitions[name], definitions, seen | {name}))


@given(schemas, schemas, schemas, st.lists(values, min_size=1, max_size=6))
@example({"const": {"__proto__": 1}}, True, True, [{"__proto__": 1}, {}, {"__proto__": 2}])
@example({"properties": {"__proto__": {"type": "string"}}}, True, True, [{"__proto__": 1}, {}, {"__proto__": ""}])
@example({"required": ["constructor", "toString"]}, True, True, [{}, {"constructor": 1, "toString": 2}])
@example({"maxLength": 2}, True, True, ["😀😀", "😀😀😀"])
@example({"uniqueItems": True}, True, True, [[1, True], [1, 1.0], [{"a": 1, "b": 2}, {"b": 2, "a": 1}], ["1", 1]])
@example({"type": "integer"}, True, True, [1.0, 1.5, True, 1e300])
@example({"multipleOf": 0.1}, True, True, [0.3, 0.5, 1e300])
@example({"items": {"$ref": "#/$defs/a"}}, {"items": {"$ref": "#/$defs/a"}, "type": "array"}, True, [[[[]]], [[[1]]]])
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
def test_it_agrees_with_jsonschema(engine: Engine, schema: Any, a: Any, b: Any, found: list[Any]) -> None:
    """For generated schemas of all keywords that pydantic writes, references and hostile names included."""
    definitions = {"a": a, "b/c": b}
    assume(not any(_endless(each, definitions) for each in (schema, a, b)))
    whole = {**schema, "$defs": definitions} if isinstance(schema, dict) else schema
    validator, source = Draft202012Validator(whole), source_of(whole)
    for value in found:
        refusal = engine.refusal(source, {"_id": "x", "type": "t_v1.0", "value": value})
        assert (refusal == "") == validator.is_valid(value), (refusal, value)


# ---- models


MEMBERS = {name: st.sampled_from(values) for name, values in VALUES.items()}


@given(st.fixed_dictionaries({}, optional=MEMBERS), st.sets(st.sampled_from(["name", "tree_id", "created_on"])))
@settings(max_examples=150, deadline=None)
def test_models_are_checked_as_their_schema_says(engine: Engine, changes: dict[str, Any], missing: set[str]) -> None:
    """Of a model with every kind of property, a document is refused where `jsonschema` finds a fault in it."""
    document = {name: value for name, value in {**TREE, **changes}.items() if name not in missing - changes.keys()}
    valid = Draft202012Validator(schema_at_rest(Tree)).is_valid(document)
    assert (engine.refusal(database_check([Tree]).function, document) == "") == valid


@given(
    st.builds(
        Tree,
        name=st.text(min_size=1, max_size=3),
        code=st.none() | st.from_regex(r"^[a-z]\d{2}\Z"),
        size=st.sampled_from(Size),
        height=st.none() | st.integers(0, 99).map(lambda value: 5 * value),
        branches=st.lists(st.builds(Branch, length=st.floats(0.1, 99), twigs=st.just([])), max_size=2),
        rings=st.sets(st.integers(-(2**53), 2**53), max_size=3),
        place=st.none() | st.tuples(st.floats(-1e300, 1e300), st.floats(-1, 1)),
        labels=st.dictionaries(st.text(string.ascii_lowercase, min_size=1), st.text(), max_size=2),
        guest=st.none() | st.builds(Cat, kind=st.just("cat"), lives=st.integers(0, 9)),
        price=st.decimals(allow_nan=False, allow_infinity=False),
        resting=st.none() | st.timedeltas(),
        seen_on=st.none() | st.datetimes(min_value=datetime(1000, 1, 2), timezones=st.just(UTC)),
        constructor=st.integers(-9, 9),
        tree_id=st.just("t1"),
    )
)
@settings(max_examples=60, deadline=None)
def test_what_the_store_writes_passes(engine: Engine, tree: Tree) -> None:
    """Whatever values a model has, its document is as its schema at rest says."""
    document = {"_id": "t1", **to_document(stamped(tree, new=True))}
    assert list(Draft202012Validator(schema_at_rest(Tree)).iter_errors(document)) == []
    assert engine.refusal(database_check([Tree]).function, document) == ""


@pytest.mark.parametrize("cls", [Fruit, Language])
def test_the_examples_models_are_compiled_whole(cls: type[Model]) -> None:
    """Nothing of them is left unchecked."""
    assert database_check([cls]).omitted == ()


def test_protected_properties_have_their_stored_form(engine: Engine) -> None:
    """Whatever `security` makes of a value passes, and plaintext in its place does not."""
    source = database_check([Tree]).function
    ring = KeyRing.create()
    hashes = [BcryptHasher(4).hash("1234"), BcryptHasher(4).hash("long" * 30), Sha3Hasher().hash("1234")]
    hashes.append(Sha3Hasher(b"0123456789abcdef").hash("1234"))
    for value in hashes:
        assert is_hash(value)
        assert engine.refusal(source, {**TREE, "pin": value}) == ""
        assert engine.refusal(source, {**TREE, "pin": value[1:]}) == "tree /pin: anyOf"
    secret = encrypt_value("x", keys=ring, document_id="t1", type_name="tree", property_name="owner")
    assert engine.refusal(source, {**TREE, "owner": secret, "owner_blind_index": "x"}) == ""
    assert engine.refusal(source, {**TREE, "owner": "ann"}) == "tree /owner: pattern"


class Own(Classification):
    """Nobody knows how it stores what."""


class Ancient(Model, type="ancient_v1.0", key="k"):
    k: str
    secret: Annotated[int, Own()]


def test_a_class_of_ones_own_stores_what_it_likes(engine: Engine) -> None:
    """Its stored form is nobody else's to judge; that it is there is."""
    source = database_check([Ancient]).function
    assert engine.refusal(source, {"_id": "x", "type": "ancient_v1.0", "k": "k", "secret": {"x": []}}) == ""
    assert engine.refusal(source, {"_id": "x", "type": "ancient_v1.0", "k": "k"}) == "ancient /secret: required"


# ---- which documents, and what of them


def test_other_documents_pass(engine: Engine) -> None:
    """Other types, none, what only looks like a type, design documents, and deletions."""
    source = database_check([Tree]).function
    for document in (
        {"_id": "x"},
        {"_id": "x", "type": "trees_v2.3"},
        {"_id": "x", "type": "tree_v2.3 "},
        {"_id": "x", "type": "tree_v2"},
        {"_id": "x", "type": 3},
        {"_id": "x", "type": {"name": "tree_v2.3"}},
        {"_id": "_design/x", "type": "tree_v2.3"},
        {"_id": "x", "type": "tree_v2.3", "_deleted": True},
    ):
        assert engine.refusal(source, document) == ""
    assert engine.refusal(source, {"_id": "x", "_deleted": True}, TREE) == ""


def test_other_versions(engine: Engine) -> None:
    """A later minor one may have more members and must satisfy the rest; of others the shape is not known."""
    source = database_check([Tree]).function
    assert engine.refusal(source, {**TREE, "type": "tree_v2.4", "more": 1, "guest": {"kind": "cat", "lives": 1}}) == ""
    assert engine.refusal(source, {**TREE, "type": "tree_v2.10", "size": "m"}) == "tree /size: enum"
    for other in ("tree_v2.2", "tree_v1.9", "tree_v3.0"):
        assert engine.refusal(source, {"_id": "x", "type": other, "more": 1}) == ""


class OldTree(Model, type="tree_v1.0", key="name"):
    name: str


def test_each_version_that_there_is_a_model_of_is_checked(engine: Engine) -> None:
    """Several versions of one type, each by its own model."""
    source = database_check([Tree, OldTree]).function
    assert engine.refusal(source, {"_id": "x", "type": "tree_v1.0", "name": "a name of any length"}) == ""
    assert engine.refusal(source, {"_id": "x", "type": "tree_v1.0", "name": 1}) == "tree /name: type"
    assert engine.refusal(source, TREE) == ""


def test_what_is_immutable_cannot_change(engine: Engine) -> None:
    """The key, what is set once, and the type's name: neither changed nor left out; but a wrong one is set right."""
    source = database_check([Tree]).function
    later = {**TREE, "updated_on": format_timestamp(NOW + timedelta(1)), "type": "tree_v2.4"}
    assert engine.refusal(source, later, TREE) == ""
    assert engine.refusal(source, {**TREE, "tree_id": "t2"}, TREE) == "tree /tree_id: cannot change"
    without = {name: value for name, value in TREE.items() if name != "created_on"}
    assert engine.refusal(source, without, TREE) == "tree /created_on: cannot change"
    assert engine.refusal(source, TREE, without) == ""
    planted = {**TREE, "planted_by": "ann"}
    assert engine.refusal(source, planted, TREE) == ""
    assert engine.refusal(source, {**planted, "planted_by": "bob"}, planted) == "tree /planted_by: cannot change"
    assert engine.refusal(source, TREE, {**TREE, "created_on": "2026-01-02T03:04:05Z"}) == ""
    assert engine.refusal(source, {**TREE, "type": "shrub_v1.0"}, TREE) == "tree /type: cannot change"
    assert engine.refusal(source, {"_id": "t1"}, TREE) == "tree /type: cannot change"
    assert engine.refusal(source, {**TREE, "type": "tree_v3.0", "tree_id": 2}, TREE) == "tree /tree_id: cannot change"


def test_a_merge_may_take_another_revisions_value(engine: Engine) -> None:
    """Such as the earlier time of creation; who changes the merged document afterwards may not."""
    source = database_check([Tree]).function
    earlier = format_timestamp(NOW - timedelta(1))
    merged = {**TREE, "created_on": earlier, "tornado_couch_merge": {"parents": ["1-a", "1-b"]}}
    assert engine.refusal(source, merged, TREE) == ""
    assert engine.refusal(source, {**merged, "name": "elm"}, merged) == ""
    assert engine.refusal(source, {**merged, "created_on": TREE["created_on"]}, merged).endswith(": cannot change")


def test_a_document_begins_anew_after_its_deletion(engine: Engine) -> None:
    """What a tombstone still has binds nobody."""
    source = database_check([Tree]).function
    tombstone = {**TREE, "_deleted": True, "tree_id": "other"}
    assert engine.refusal(source, TREE, tombstone) == ""
    assert engine.refusal(source, {"_id": "t1", "type": "shrub_v1.0"}, tombstone) == ""


def test_a_member_that_was_there_may_stay(engine: Engine) -> None:
    """A service writes back what it does not know; only who brings a new unknown member is refused."""
    source = database_check([Tree]).function
    before = {**TREE, "left_over": 1, "__proto__": 2}
    assert engine.refusal(source, {**before, "left_over": 2}, before) == ""
    assert engine.refusal(source, {**TREE, "left_over": 1}, TREE) == "tree /left_over: not allowed"
    # What is declared is checked, had before or not.
    assert engine.refusal(source, {**TREE, "size": "m"}, {**TREE, "size": "m"}) == "tree /size: enum"


# ---- hostile models


HOSTILE = [
    "toString",
    "constructor",
    "hasOwnProperty",
    'a"b',
    "a'b",
    "a\\",
    "a\nb",
    "\u2028\u2029",
    "</script>",
    '"]);throw({forbidden:"broken"});//',
    "${1}",
    "*/",
    "$MODELS",
    "\ud83d\ude00".encode("utf-16", "surrogatepass").decode("utf-16"),
]


@pytest.mark.parametrize("name", HOSTILE)
def test_nothing_breaks_out_of_it(engine: Engine, name: str) -> None:
    """Names, constants and patterns that mean something to JavaScript are texts like others."""
    escaped = re.escape(name)

    class Odd(Model, type="odd_v1.0", key="key"):
        key: str
        named: Annotated[int, Field(alias=name)]
        constant: Literal[name] | None = None  # type: ignore[valid-type]
        patterned: Annotated[str | None, Field(pattern=escaped)] = None
        open: Annotated[Any, WithJsonSchema({"const": {name: [name]}, "description": name})] = None

    source = database_check([Odd]).function
    assert source.isascii()
    good = {"_id": "x", "type": "odd_v1.0", "key": "k", name: 1, "constant": name, "patterned": name}
    assert engine.refusal(source, {**good, "open": {name: [name]}}) == ""
    assert engine.refusal(source, {**good, "open": {name: [""]}})
    assert engine.refusal(source, {**good, "constant": f"x{name}"})
    assert engine.refusal(source, {**good, "patterned": "q"})
    assert engine.refusal(source, {**good, name: "1"})
    assert engine.refusal(source, {each: value for each, value in good.items() if each != name})
    # The name of a member that a document brings, too.
    assert engine.refusal(source, {**good, f"{name}!": 1})
    assert engine.refusal(source, {**good, "_x": 1}, {**good, name: "1"}) == ""


def test_documents_of_hostile_shapes_are_judged_like_others(engine: Engine) -> None:
    """Members that shadow what objects have, and what arrays and texts have."""
    source = database_check([Tree]).function
    for value in ({"length": 1}, {"forEach": 1}, {"to": {}}, {"__proto__": {"length": 5, "kind": "cat"}}):
        assert engine.refusal(source, {**TREE, "name": value}) == "tree /name: type"
        assert engine.refusal(source, {**TREE, "rings": [value, value]})
    assert engine.refusal(source, {"_id": "x", "__proto__": {"type": "tree_v2.3"}}) == ""


def test_a_long_name_is_cut_in_the_refusal(engine: Engine) -> None:
    """Whoever writes decides what is in it."""
    refusal = engine.refusal(database_check([Tree]).function, {**TREE, "x" * 5000: 1})
    assert refusal.startswith("tree /xxx")
    assert len(refusal) < 200


def test_it_is_written_in_old_javascript() -> None:
    """ECMAScript 5, for the oldest engine that CouchDB 3 is built with."""
    source = files("tornado_couch.models.schema").joinpath("validate_doc_update.js").read_text()
    code = re.sub(r"//.*", "", source)
    assert not re.search(
        r"\b(let|const|class|async|await|yield)\b\s|=>|`|\.\.\.|\*\*|\?\.|\?\?|/[a-z]*[uys][a-z]*\.", code
    )
    assert not re.search(
        r"\.(includes|startsWith|endsWith|repeat|find|fill|entries|values|assign|from|isInteger)\(", code
    )
    assert not re.search(r",\s*[)\]}]", code)
    assert source.startswith("function (newDoc, oldDoc) {")


# ---- what cannot be checked


class Worded(Model, type="worded_v1.0", key="key"):
    key: str
    word: Annotated[str, Field(json_schema_extra={"pattern": r"\bword\b"})]
    other: Annotated[Any, WithJsonSchema({"patternProperties": {"(?i)a": False}, "if": True})] = None
    one: Annotated[Any, WithJsonSchema({"oneOf": [{"pattern": "(?<=a)b"}, {"const": "ab"}]})] = None
    no: Annotated[Any, WithJsonSchema({"not": {"pattern": "(?<=a)b"}})] = None


def test_what_cannot_be_checked_is_told_and_nothing_right_is_refused(engine: Engine) -> None:
    """A pattern that older JavaScript cannot express is left out, and everything that depends on its absence."""
    check = database_check([Worded])
    assert [each.partition(":")[0] for each in check.omitted] == [
        "worded_v1.0 /word",
        "worded_v1.0 /other",
        "worded_v1.0 /other/*",
        "worded_v1.0 /one",
        "worded_v1.0 /one",
        "worded_v1.0 /no",
    ]
    document = {"_id": "x", "type": "worded_v1.0", "key": "k", "word": "sword"}
    assert engine.refusal(check.function, {**document, "other": {"A": 1}, "one": "ab", "no": "b"}) == ""
    assert engine.refusal(check.function, {**document, "word": 1}) == "worded /word: type"


def test_two_models_of_one_version_are_refused() -> None:
    """Nobody could say which of them holds."""

    class Oak(Model, type="tree_v2.3", key="name"):
        name: str

    with pytest.raises(ModelDefinitionError, match=r"Oak: another model has the type tree_v2\.3"):
        database_check([Tree, Oak])


def test_what_json_has_no_words_for_is_refused() -> None:
    """A number in the schema that JSON does not have: an error at once, and no function."""

    class Infinite(Model, type="infinite_v1.0", key="name"):
        name: str
        number: Annotated[Any, WithJsonSchema({"maximum": float("inf")})] = 0

    with pytest.raises(ModelDefinitionError, match="infinity"):
        database_check([Infinite])
