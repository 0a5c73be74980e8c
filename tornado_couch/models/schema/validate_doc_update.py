"""`validate_doc_update`: the check that CouchDB itself makes of each write, compiled from the models' schemas; pure.

So what is replicated or written past the service is checked as well. CouchDB's page:
https://docs.couchdb.org/en/stable/ddocs/ddocs.html#validate-document-update-functions

A rule is true, false, or a list of pairs of a keyword and its argument. Names and patterns of the schema only ever
stand where an argument does, as text: there is no object in a rule whose members the schema names.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from ...errors import ModelDefinitionError
from ..merging.rules import Merge
from ..model import Model, ModelInfo, model_info
from ..properties import Property
from .at_rest import schema_at_rest
from .javascript_patterns import UnsupportedPattern, javascript_pattern

__all__ = ["VALIDATION_DOCUMENT", "DatabaseCheck", "Rules", "check_source", "compile_schema", "database_check"]

VALIDATION_DOCUMENT = "_design/tornado_couch_validation"
"""The id of the design document that has the check of all models of a database."""


@dataclass(frozen=True)
class DatabaseCheck:
    """What a database is to check.

    Attributes:
        function: the source of `validate_doc_update`, in JavaScript of ECMAScript 5.
        omitted: what it leaves unchecked of the models' schemas, a sentence each.
    """

    function: str
    omitted: tuple[str, ...] = ()

    @property
    def design_document(self) -> dict[str, Any]:
        """The design document to write."""
        return {"_id": VALIDATION_DOCUMENT, "language": "javascript", "validate_doc_update": self.function}


def database_check(models: Iterable[type[Model]]) -> DatabaseCheck:
    """The check of the documents of some models; documents of other types pass, as do design documents.

    - A document of exactly a model's version is checked against `schema_at_rest`; a member that no model knows
      passes where the document had it before.
    - One of a later minor version is checked against the latest earlier one, and may have further members.
    - Of others of the type (older, or of another major version) only what follows is checked.
    - The type's name, the key, the partition, the time of creation and what is `Merge.immutable` cannot change, unless
      it was not as it should be, or conflicting revisions are merged.
    - Deletions pass.

    Args:
        models: those whose documents the database holds; several may be versions of one type.

    Raises:
        ModelDefinitionError: two models have the same type, or one has a property without words in JSON Schema.
    """
    by_name: dict[str, list[type[Model]]] = {}
    for cls in dict.fromkeys(models):
        by_name.setdefault(model_info(cls).type.name, []).append(cls)
    omitted: list[str] = []
    described = {name: _described(versions, omitted) for name, versions in sorted(by_name.items())}
    return DatabaseCheck(check_source(described), tuple(omitted))


def check_source(models: dict[str, Any]) -> str:
    """The JavaScript that checks documents by rules.

    Args:
        models: by the name of the type: `versions`, each with `major`, `minor`, `members` (the names that it
            declares), `rule` and `definitions`; and `immutable`, the names of what cannot change.

    Raises:
        ModelDefinitionError: it has a number that JSON cannot express.
    """
    try:
        texts = [[name, json.dumps(each, allow_nan=False, separators=(",", ":"))] for name, each in models.items()]
    except ValueError:
        raise ModelDefinitionError("a schema has a number that JSON has not, such as infinity") from None
    # JSON in ASCII is a safe JavaScript literal: of texts only, since in a literal object `__proto__` would be no
    # member. They are parsed where they are needed.
    return _template().replace('"$MODELS"', json.dumps(texts), 1)


@functools.cache
def _template() -> str:
    return files(__package__).joinpath("validate_doc_update.js").read_text("utf-8").rstrip()


def _described(classes: list[type[Model]], omitted: list[str]) -> dict[str, Any]:
    versions: dict[tuple[int, int], dict[str, Any]] = {}
    for cls in classes:
        found = model_info(cls).type
        if (found.major, found.minor) in versions:
            raise ModelDefinitionError(f"{cls.__name__}: another model has the type {found} as well")
        versions[found.major, found.minor] = _version(cls, omitted)
    immutable = {each for cls in classes for each in _immutable(model_info(cls))}
    return {"versions": list(versions.values()), "immutable": sorted(immutable)}


def _version(cls: type[Model], omitted: list[str]) -> dict[str, Any]:
    found = model_info(cls).type
    schema = schema_at_rest(cls)
    rules = compile_schema(schema)
    omitted += [f"{found} {each}" for each in rules.omitted]
    return {
        "major": found.major,
        "minor": found.minor,
        "members": list(schema["properties"]),
        "rule": _without_type(rules.rule),
        "definitions": rules.definitions,
    }


def _without_type(rule: list[list[Any]]) -> list[list[Any]]:
    """The document's type has chosen the rule, and is not among what it is asked about."""
    kept = [pair for pair in rule if pair[0] != "required"]
    names = [name for pair in rule if pair[0] == "required" for name in pair[1] if name != "type"]
    return [*kept, ["required", names]]


def _immutable(info: ModelInfo) -> list[str]:
    """What cannot change; a protected property may, since the same value can be stored in other ways."""
    return [each.name for each in info.properties.values() if not each.protected and _is_immutable(info, each)]


def _is_immutable(info: ModelInfo, declared: Property) -> bool:
    once = declared.stamp is not None and declared.stamp.once
    return once or declared.merge is Merge.immutable or declared in (info.key, info.partition)


Rule = Any  # bool, or a list of pairs

_AS_IT_IS = frozenset(
    [
        "minLength", "maxLength", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf",
        "minItems", "maxItems", "uniqueItems", "minProperties", "maxProperties", "required",
    ]
)  # fmt: skip
_OF_SCHEMAS = frozenset({"allOf", "anyOf", "oneOf"})
_OF_SCHEMA = frozenset({"not", "propertyNames"})
_MEMBERS = frozenset({"properties", "patternProperties", "additionalProperties"})
_ELEMENTS = frozenset({"prefixItems", "items"})
# What JSON Schema has besides, and pydantic never writes by itself.
_NOT_KNOWN = frozenset(
    [
        "if", "then", "else", "contains", "minContains", "maxContains", "dependentRequired", "dependentSchemas",
        "dependencies", "unevaluatedItems", "unevaluatedProperties", "$dynamicRef", "$recursiveRef",
    ]
)  # fmt: skip

# Characters. A longer expression takes JavaScript long to compile, which it does at each write.
_SHORT = 500


@dataclass(frozen=True)
class Rules:
    """A schema's rules.

    Attributes:
        rule: of the whole.
        definitions: which rules refer to by their place in this list.
        omitted: what the rules leave unchecked, a sentence each.
    """

    rule: Rule
    definitions: list[Rule]
    omitted: list[str]


def compile_schema(schema: Any) -> Rules:
    """The rules of a schema; they refuse nothing that the schema allows.

    What the rules cannot say is left out, and told. An exclusion is only as good as what it excludes: where
    anything is left out, `not` is left out as well, and `oneOf` becomes `anyOf`.
    """
    exact = _Compiler(schema)
    rules = exact.rules()
    return _Compiler(schema, cautious=True).rules() if rules.omitted and exact.excludes else rules


class _Compiler:
    def __init__(self, schema: Any, *, cautious: bool = False) -> None:
        self.schema = schema
        self.cautious = cautious
        self.excludes = False
        self.definitions: list[Rule] = []
        self.numbers: dict[str, int] = {}
        self.omitted: dict[str, None] = {}

    def rules(self) -> Rules:
        return Rules(self.rule(self.schema, ""), self.definitions, list(self.omitted))

    def rule(self, schema: Any, where: str) -> Rule:
        if isinstance(schema, bool):
            return schema
        found: list[list[Any]] = []
        for keyword, argument in schema.items():
            if keyword in _NOT_KNOWN:
                self.omit(where, f"{keyword!r} is not checked")
            else:
                found += self.pairs(keyword, argument, where)
        if _MEMBERS & schema.keys():
            found.append(["members", self.members(schema, where)])
        if _ELEMENTS & schema.keys():
            prefix = [self.rule(each, f"{where}/{place}") for place, each in enumerate(schema.get("prefixItems", []))]
            found.append(["elements", [prefix, self.rule(schema.get("items", True), f"{where}/*")]])
        return found or True

    def pairs(self, keyword: str, argument: Any, where: str) -> Iterable[list[Any]]:
        if keyword in _AS_IT_IS:
            return [[keyword, argument]]
        if keyword == "type":
            return [["type", [argument] if isinstance(argument, str) else argument]]
        if keyword in ("enum", "const"):
            return [["enum", argument if keyword == "enum" else [argument]]]
        if keyword == "pattern":
            found = self.pattern(argument, where)
            return [] if found is None else [["pattern", found]]
        if keyword == "$ref":
            return self.reference(argument, where)
        if keyword in _OF_SCHEMAS | _OF_SCHEMA:
            return self.combined(keyword, argument, where)
        return []

    def combined(self, keyword: str, argument: Any, where: str) -> Iterable[list[Any]]:
        self.excludes = self.excludes or keyword in ("not", "oneOf")
        if keyword == "not" and self.cautious:
            self.omit(where, "'not' is not checked")
            return []
        if keyword in _OF_SCHEMA:
            return [[keyword, self.rule(argument, where)]]
        if keyword == "oneOf" and self.cautious:
            self.omit(where, "'oneOf' is checked as 'anyOf'")
            keyword = "anyOf"
        return [[keyword, [self.rule(each, where) for each in argument]]]

    def members(self, schema: dict[str, Any], where: str) -> list[Any]:
        named = [[name, self.rule(each, f"{where}/{name}")] for name, each in schema.get("properties", {}).items()]
        others = self.rule(schema.get("additionalProperties", True), f"{where}/*")
        matching = []
        for pattern, each in schema.get("patternProperties", {}).items():
            found = self.pattern(pattern, f"{where}/*")
            if found is None:
                others = True  # nobody knows whether a member is one of the others
            else:
                matching.append([found, self.rule(each, f"{where}/*")])
        return [named, matching, others]

    def pattern(self, pattern: str, where: str) -> str | list[str] | None:
        """A regular expression, or two of which the first is for texts in ASCII; None if the schema has no pattern."""
        try:
            short, whole = javascript_pattern(pattern, ascii_only=True), javascript_pattern(pattern)
            return whole if len(whole) < _SHORT else [short, whole]
        except UnsupportedPattern as error:
            self.omit(where, f"the pattern {pattern!r} is not checked: it {error}")
            return None

    def reference(self, pointer: str, where: str) -> Iterable[list[Any]]:
        if pointer not in self.numbers:
            target = _resolved(self.schema, pointer)
            if target is None:
                self.omit(where, f"the reference {pointer!r} is not followed")
                return []
            # Known by its number before it is compiled, since it may refer to itself.
            self.numbers[pointer] = len(self.definitions)
            self.definitions.append(True)
            self.definitions[self.numbers[pointer]] = self.rule(target, where)
        return [["ref", self.numbers[pointer]]]

    def omit(self, where: str, what: str) -> None:
        self.omitted[f"{where or '/'}: {what}"] = None


def _resolved(schema: Any, pointer: str) -> Any:
    """The part of the schema that a reference names (RFC 6901); None if the schema has no such part."""
    start, _, path = pointer.partition("#")
    found = None if start else schema
    for part in path.split("/")[1:]:
        name = part.replace("~1", "/").replace("~0", "~")
        found = found.get(name) if isinstance(found, dict) else None
    return found
