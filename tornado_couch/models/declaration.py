"""Checks of a class statement: declarations and merge rules that cannot work are refused; pure."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Annotated, Any, Literal, get_args

from pydantic import (
    BaseModel,
    GetCoreSchemaHandler,
    PydanticSchemaGenerationError,
    PydanticUndefinedAnnotation,
    PydanticUserError,
    TypeAdapter,
)
from pydantic.fields import FieldInfo
from pydantic_core import CoreSchema, PydanticUndefined, SchemaError, core_schema

from ..errors import ModelDefinitionError
from ..security import RESERVED_PROPERTIES
from .classification import Classification, Hashed, Public, StoredHash
from .forms import Held, asks_clock, authors_functions, own_validator, schema_nodes
from .merging.rules import Merge, MergeRule
from .properties import LEFT_PROPERTY, WRITE_PROPERTY, Property, WriteOnly

__all__ = [
    "annotated",
    "check_classifications",
    "check_merge_rules",
    "check_names",
    "check_private",
    "complete",
    "hashed_attributes",
    "schema_of",
    "with_stored_hashes",
    "without_secrets",
]


def check_names(cls: type[BaseModel]) -> None:
    """Refuse a property that would stand in the place of a method.

    Raises:
        ModelDefinitionError: naming it, with what to write instead.
    """
    for name in cls.__annotations__:
        if name == "verify" or (name.startswith("model_") and name != "model_config" and hasattr(BaseModel, name)):
            raise ModelDefinitionError(
                f"{cls.__name__}: `{name}` is a method of every model; give the property another name, and this one"
                f' in JSON by Field(alias="{name}")'
            )


def check_private(cls: type[BaseModel], own: Mapping[str, object]) -> None:
    """Refuse an attribute in the place of one that every model has, such as the document's id.

    Args:
        cls: the class that is being made.
        own: the private attributes that every model has.

    Raises:
        ModelDefinitionError: naming it.
    """
    for name, private in own.items():
        if name in vars(cls) or cls.__private_attributes__[name] is not private:
            raise ModelDefinitionError(f"{cls.__name__}: every model has a `{name}` of its own; choose another name")


def schema_of(cls: type[BaseModel], source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
    """The core schema that pydantic makes of a model.

    Raises:
        ModelDefinitionError: it cannot, with the property's name and what to write instead.
    """
    try:
        return _checked(cls, handler(source))
    except (
        ModelDefinitionError,
        PydanticUndefinedAnnotation,
        Warning,
    ):  # a name may be defined later, and pydantic tries again
        raise
    except Exception as error:
        advice = "make its annotation and its Field(…) agree"
        if isinstance(error, PydanticSchemaGenerationError):
            advice = "declare a model, a dataclass, or a type that JSON has"
        elif isinstance(error, SchemaError):
            advice = 'write the pattern in Rust\'s syntax, or set regex_engine="python-re" in model_config'
        reason = str(error).partition(". ")[0].splitlines()[-1].strip(" .")
        raise ModelDefinitionError(
            f"{cls.__name__}: {_culprit(cls, handler)} cannot have this type: {reason}; {advice}"
        ) from error


def complete(cls: type[BaseModel]) -> None:
    """Let the models in a model know it, if they have waited for its name.

    Raises:
        ModelDefinitionError: one of its properties refers to a name that is not defined yet.
    """
    if not cls.__pydantic_complete__:
        try:
            cls.model_rebuild()
        except PydanticUndefinedAnnotation as error:
            texts = {name: str(text) for name, text in cls.__annotations__.items()}
            names = [name for name, text in texts.items() if str(error.name) in text] or list(texts)
            raise ModelDefinitionError(
                f"{cls.__name__}: property {names[0]!r} refers to `{error.name}`, which is not defined yet; define that"
                " class first, or write its name as text in a model that both refer to"
            ) from None
    for each in schema_nodes(cls.__pydantic_core_schema__):
        inner = each["cls"] if each["type"] == "model" else cls
        if not inner.__pydantic_complete__:
            inner.model_rebuild(_types_namespace={cls.__name__: cls})


def _checked(cls: type[BaseModel], schema: CoreSchema) -> CoreSchema:
    """A core schema, once all its patterns have been compiled."""
    for node in schema_nodes(schema):
        if node["type"] == "str" and "pattern" in node:
            own_validator(node, {"regex_engine": cls.model_config.get("regex_engine", "rust-regex")})
    return schema


def _culprit(cls: type[BaseModel], handler: GetCoreSchemaHandler) -> str:
    """The property that makes a class impossible."""
    for attribute, field in cls.model_fields.items():
        try:
            _checked(cls, handler.generate_schema(annotated(field)))
        except Exception:  # noqa: BLE001 - whatever the author's own type raises
            return f"property {field.alias or attribute!r}"
    tagged = [field.alias or name for name, field in cls.model_fields.items() if field.discriminator is not None]
    computed = [
        name
        for name, each in cls.__pydantic_decorators__.computed_fields.items()
        if each.info.return_type is PydanticUndefined
    ]
    return f"property {(tagged + computed)[0]!r}" if tagged + computed else "a property"


def annotated(field: FieldInfo) -> Any:
    """The annotation of a field, with its metadata."""
    parts: Any = (field.annotation, *field.metadata)
    form: Any = Annotated  # for a type checker its parts must be written out
    return form[parts] if field.metadata else field.annotation


def check_classifications(
    cls_name: str,
    properties: Mapping[str, Property],
    fields: Mapping[str, FieldInfo],
    adapters: Mapping[str, TypeAdapter[Any]],
    *,
    key: Property | None,
    grouped: Iterable[Iterable[str]],
    demanded: bool,
) -> None:
    """Refuse what could not be protected as declared.

    Args:
        cls_name: for the messages.
        properties: the model's.
        fields: pydantic's, by attribute.
        adapters: by the name in JSON.
        key: the key property.
        grouped: the properties of each index of several, and of each reduction.
        demanded: every property has to be classified.

    Raises:
        ModelDefinitionError: saying what is wrong.
    """
    used = {name for names in grouped for name in names}
    for name, each in properties.items():
        field = fields[each.attribute]
        fault = (
            _fault(each, field, adapters[name], each == key, name in used)
            or _misplaced(field, each.classification)
            or _taken(name, properties)
            or (demanded and _unjudged(each))
        )
        if fault:
            raise ModelDefinitionError(f"{cls_name}: property {name!r} {fault}")


def _taken(name: str, properties: Mapping[str, Property]) -> str:
    if name in RESERVED_PROPERTIES:
        return "has a name that signatures are stored under; give it another name or alias"
    if name == WRITE_PROPERTY:
        return "has the name that a write's token is stored under; give it another name or alias"
    if name == LEFT_PROPERTY:
        return "has the name that the scopes which a document has left are stored under; give it another name or alias"
    if any(each.blind and each.index_member == name for each in properties.values()):
        return "has the name of another property's blind index; give it another name or alias"
    return ""


def _unjudged(each: Property) -> str:
    # Time stamps and generated keys hold nothing of anybody's.
    if each.classification is not None or each.stamp is not None or each.generated:
        return ""
    return "is not classified; say Public() if anybody may know it"


def _fault(each: Property, field: FieldInfo, adapter: TypeAdapter[Any], is_key: bool, grouped: bool) -> str:
    found = each.classification
    if found is None or isinstance(found, Public):
        return ""
    if is_key or each.generated:
        return "is the key, which stands in URLs; only Public() can be said of it"
    if each.stamp is not None:
        return "is a time stamp of the store; only Public() can be said of it"
    if grouped:
        return "is protected, so it can be in no index of several properties and in no reduction"
    if each.indexed and found.lookups is None:
        return "is protected so that no index could be of use; there is Encrypted(searchable=True)"
    if field.default is not PydanticUndefined and field.default is not None:
        return "is protected, so its default can only be None: another would stand in the views"
    return _unfit(found, adapter)


def _unfit(found: Classification, adapter: TypeAdapter[Any]) -> str:
    try:
        schema = adapter.json_schema(mode="serialization")
    except PydanticUserError:  # a type that JSON Schema has no words for
        return "has a type that cannot be protected" if found.text_only else ""
    if '"format": "password"' in json.dumps(schema):
        return "is written as asterisks by its type; declare it as str, the class hides it"
    kinds = {branch.get("type") for branch in schema.get("anyOf", [schema])}
    if found.text_only and not (kinds <= {"string", "null"} and "string" in kinds):
        return "can only be hashed as text; declare it as str"
    return ""


def _misplaced(field: FieldInfo, found: Classification | None) -> str:
    if sum(isinstance(each, Classification) for each in field.metadata) > 1:
        return "has two classes"
    if any(each is not found for each in _inner(field.annotation, set())):
        return "has a class inside its type, where nothing would be protected; say it of the whole property"
    return ""


def _inner(annotation: Any, seen: set[Any]) -> Iterator[Classification]:
    """The classes that stand anywhere inside a type."""
    is_class = isinstance(annotation, type)
    if is_class and issubclass(annotation, BaseModel) and annotation not in seen:
        seen.add(annotation)
        for field in annotation.model_fields.values():
            yield from (each for each in field.metadata if isinstance(each, Classification))
            yield from _inner(field.annotation, seen)
    yield from (each for each in getattr(annotation, "__metadata__", ()) if isinstance(each, Classification))
    for part in get_args(annotation):
        yield from _inner(part, seen)


def with_stored_hashes(schema: Any, cls: type[BaseModel], hashed: Collection[str]) -> Any:
    """A model's core schema in which a `StoredHash` is taken for a value of these attributes, unvalidated.

    A hash has another form than the value: no pattern or length of the property holds for it. A `Held` value is taken
    for one of every attribute that has a validator.
    """
    if not isinstance(schema, dict):
        return schema
    if schema.get("type") == "model" and schema.get("cls") is cls:
        return {**schema, "schema": _with_fields(schema["schema"], hashed)}
    return {**schema, **{part: with_stored_hashes(schema[part], cls, hashed) for part in ("schema",) if part in schema}}


def _with_fields(schema: Any, hashed: Collection[str]) -> Any:
    if schema.get("type") != "model-fields":  # a validator of the model around them
        return {**schema, "schema": _with_fields(schema["schema"], hashed)}
    fields = {
        name: {**field, "schema": _lenient(field["schema"])} if name in hashed or _may_be_judged(field) else field
        for name, field in schema["fields"].items()
    }
    return {**schema, "fields": fields}


def _may_be_judged(field: Any) -> bool:
    # What is behind a reference is not known yet.
    return (
        bool(authors_functions(field))
        or asks_clock(field)
        or any(each["type"] == "definition-ref" for each in schema_nodes(field))
    )


def _lenient(schema: Any) -> Any:
    if schema["type"] == "default":  # has to stay outermost, or the property would be required
        return {**schema, "schema": _lenient(schema["schema"])}
    return core_schema.no_info_wrap_validator_function(_or_stored_hash, schema)


def _or_stored_hash(value: Any, validate: Any) -> Any:
    if isinstance(value, Held):
        return value.value
    return value if isinstance(value, StoredHash) else validate(value)


def hashed_attributes(fields: Mapping[str, FieldInfo]) -> set[str]:
    """The attributes whose values are hashed."""
    return {name for name, field in fields.items() if any(isinstance(each, Hashed) for each in field.metadata)}


class _Hidden:
    """Stands for a value that is not shown."""

    def __repr__(self) -> str:
        return "…"


def without_secrets(
    shown: Iterable[tuple[str | None, Any]], fields: Mapping[str, FieldInfo]
) -> Iterator[tuple[str | None, Any]]:
    """What a model's `repr` shows, without the values of write-only properties and of those that are protected."""
    for name, value in shown:
        field = fields.get(name or "")
        secret = field is not None and value is not None and any(map(_is_secret, field.metadata))
        yield name, _Hidden() if secret else value


def _is_secret(marker: object) -> bool:
    return isinstance(marker, WriteOnly) or (isinstance(marker, Classification) and not isinstance(marker, Public))


_SORTED_FORMATS = {"date", "date-time"}  # as text they sort as what they stand for


def check_merge_rules(
    cls_name: str,
    properties: Mapping[str, Property],
    fields: Mapping[str, FieldInfo],
    adapters: Mapping[str, TypeAdapter[Any]],
    key: Property | None,
) -> None:
    """Refuse rules that could not do what they say.

    Args:
        cls_name: for the messages.
        properties: the model's.
        fields: pydantic's, by attribute.
        adapters: by the name in JSON.
        key: the key property.

    Raises:
        ModelDefinitionError: saying what is wrong.
    """
    for name, each in properties.items():
        rules = [marker for marker in fields[each.attribute].metadata if isinstance(marker, MergeRule)]
        fault = _rule_fault(each, rules, adapters, key) if rules else ""
        if fault:
            raise ModelDefinitionError(f"{cls_name}: property {name!r} {fault}")


def _rule_fault(
    declared: Property, rules: list[MergeRule], adapters: Mapping[str, TypeAdapter[Any]], key: Property | None
) -> str:
    rule = rules[0]
    if len(rules) > 1:
        return "has two merge rules"
    if declared == key and rule is not Merge.immutable:
        return "is the key, which cannot change; there is only Merge.immutable for it"
    if declared.protected and not rule.opaque:
        return (
            f"is protected, and {rule!r} would have to protect the merged value anew, differently at each place that"
            " merges; there are Merge.latest(), Merge.immutable and Merge.manual"
        )
    if rule is Merge.text and not Merge.text_is_installed():
        return "needs a package to merge text: pip install 'tornado-couch[text]'"
    if rule.by is not None:
        return _unfit_order(rule.by, adapters)
    if rule.kinds is not None and not _kinds(adapters[declared.name]) <= rule.kinds | {"null"}:
        return f"is not of type {' or '.join(sorted(rule.kinds))} in JSON, so {rule!r} cannot merge it"
    return ""


def _unfit_order(by: str, adapters: Mapping[str, TypeAdapter[Any]]) -> str:
    if by not in adapters:
        return f"is merged by {by!r}, and there is no such property in JSON"
    # The schema of what is taken: a time stamp's own serializer says no more than that it is text.
    branches = [each for each in _branches(adapters[by], "validation") if each.get("type") != "null"]
    if all(each.get("type") in ("integer", "number") or each.get("format") in _SORTED_FORMATS for each in branches):
        return ""
    return f"is merged by {by!r}, which is neither a time stamp, a date nor a number"


def _kinds(adapter: TypeAdapter[Any]) -> set[str]:
    return {str(each.get("type")) for each in _branches(adapter, "serialization")}


def _branches(adapter: TypeAdapter[Any], mode: Literal["serialization", "validation"]) -> list[dict[str, Any]]:
    """The alternatives of a property's JSON Schema; a single one without a type if the schema names none."""
    try:
        schema = adapter.json_schema(mode=mode)
    except PydanticUserError:  # a type that JSON Schema has no words for
        return [{}]
    definitions = schema.get("$defs", {})
    found, todo = [], [schema]
    while todo:
        each = todo.pop()
        if "$ref" in each:
            todo.append(definitions[each["$ref"].rpartition("/")[2]])
        elif "anyOf" in each or "oneOf" in each:
            todo += each.get("anyOf") or each["oneOf"]
        else:
            found.append(each)
    return found
