"""JSON Schema as rules for `database_check.js`; pure.

A rule is true, false, or a list of pairs of a keyword and its argument. Names and patterns of the schema only ever
stand where an argument does, as text: there is no object in a rule whose members the schema names.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from .javascript_patterns import UnsupportedPattern, javascript_pattern

__all__ = ["Rules", "compile_schema"]

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
        """A regular expression; or two, the first one for texts in ASCII; None where there is none."""
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
    """What a reference within the schema names (RFC 6901); None where there is no such thing."""
    start, _, path = pointer.partition("#")
    found = None if start else schema
    for part in path.split("/")[1:]:
        name = part.replace("~1", "/").replace("~0", "~")
        found = found.get(name) if isinstance(found, dict) else None
    return found
