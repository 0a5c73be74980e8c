"""`Model`: declare a document's properties once; routes, schemas and views follow from it."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from dataclasses import field as with_default
from datetime import datetime
from enum import Enum
from functools import cached_property
from typing import Any, ClassVar, NamedTuple, cast, dataclass_transform

from pydantic import BaseModel, ConfigDict, Field, GetCoreSchemaHandler, PrivateAttr, TypeAdapter
from pydantic.fields import FieldInfo
from pydantic_core import CoreSchema, PydanticUndefined

from ..errors import ModelDefinitionError
from .classification import verify_held
from .declaration import (
    annotated,
    check_classifications,
    check_merge_rules,
    check_names,
    check_private,
    complete,
    hashed_attributes,
    schema_of,
    with_stored_hashes,
    without_secrets,
)
from .forms import (
    AttachmentProperty,
    Fields,
    Write,
    attachment_property,
    computed_properties,
    fields_of,
    schema_nodes,
    shower,
    with_attachments_empty,
    writer,
)
from .forms.references import Relation, find_relations, register
from .loose import Loose, loose
from .properties import Property, assigned
from .reading import Reading, check_whole, reading
from .round_trip import check_defaults, check_described, check_options, check_order, check_round_trip
from .timestamps import format_timestamp, is_timestamp, with_sortable_datetimes
from .upgrades import DocumentType, Upgrade, collect_upgrades, is_hidden
from .views.derived import Derived, derived_keys
from .views.indexes import Index, make_indexes
from .views.partitions import check_partition
from .views.reductions import Reduction, check_reductions
from .views.sort_keys import SortKey, as_javascript, sort_key_of

__all__ = ["DocumentType", "Model", "ModelInfo", "model_info"]

_SCALAR = re.compile(r"true|false|-?(0|[1-9][0-9]{0,30})(\.[0-9]{1,30})?", re.ASCII)

_JSON_TYPES = {str, int, float, bool, type(None), list, dict}


@dataclass(frozen=True)
class ModelInfo:
    """What a model's class statement declares.

    Attributes:
        type: the `type` its documents are written with.
        properties: those that documents hold, by the name in JSON, in the order of declaration; computed ones last.
        key: the property that names a document in a URL; None where the document id does.
        unique: the document id is a function of the key, so that no two documents share one.
        adapters: read and write single properties, by the name in JSON.
        defaults: what a document without the property has there, as it would be stored.
        indexes: by which the documents can be found; the one of all documents is the first.
        reductions: the reduced views, by the name in the URL.
        upgrades: from older versions of the type, by the version that each begins with.
        history: each version of a document is a document of its own, and none is ever rewritten.
        soft_delete: a deletion only marks a document.
        partition: the property whose value every document's id begins with.
        sort_keys: what stands in the views for values that do not sort as they are stored.
        derived: what indexes have of properties that is not their whole value, by the name in queries.
        shown: computed properties that clients see and documents do not hold, by the name in JSON.
        relations: the references to documents of other models, by the names that `include` has for them.
        attachments: the properties of files, by the name in JSON; they are not among `properties`.
        reading: makes a model of stored values.
        write: turns a model into the values that are stored, by the name in JSON.
        show: turns a model into the values that it has in Python, those that are computed included.
    """

    type: DocumentType
    properties: dict[str, Property]
    key: Property | None
    unique: bool
    adapters: dict[str, TypeAdapter[Any]]
    reading: Reading
    write: Write
    show: Write
    defaults: dict[str, Any] = with_default(default_factory=dict)
    indexes: tuple[Index, ...] = ()
    reductions: dict[str, Reduction] = with_default(default_factory=dict)
    upgrades: dict[DocumentType, Upgrade] = with_default(default_factory=dict)
    history: bool = False
    soft_delete: bool = False
    partition: Property | None = None
    sort_keys: dict[str, SortKey] = with_default(default_factory=dict)
    shown: dict[str, Property] = with_default(default_factory=dict)
    derived: dict[str, Derived] = with_default(default_factory=dict)
    relations: dict[str, Relation] = with_default(default_factory=dict)
    attachments: dict[str, AttachmentProperty] = with_default(default_factory=dict)

    @cached_property
    def indexed(self) -> frozenset[str]:
        """The names in JSON of all properties that stand in views as they are; looked at for each write."""
        grouped = [name for each in self.reductions.values() for name in (*each.by, each.of) if name]
        used = {*grouped, *(name for index in self.indexes for name in index.properties)}
        return frozenset(name for name in used if name in self.properties and not self.properties[name].protected)

    @cached_property
    def scopes(self) -> frozenset[str]:
        """The names in JSON of the properties that policies may limit lists by; looked at for each write."""
        return frozenset(name for name, each in self.properties.items() if each.scope and each is not self.key)

    @cached_property
    def _texts(self) -> frozenset[str]:
        """The properties that are text and are stored as they are, by the name in JSON."""
        schemas = {name: each.core_schema for name, each in self.adapters.items()}
        return frozenset(name for name, at in schemas.items() if at["type"] == "str" and "serialization" not in at)

    @cached_property
    def loose(self) -> Mapping[str, Loose]:
        """The properties whose types take more than documents hold, by the name in JSON; looked at for each write."""
        read = self.reading.fields
        return loose({name: read[each.attribute] for name, each in self.given.items() if not each.protected})

    @cached_property
    def computed_inside(self) -> frozenset[str]:
        """The names in JSON of all that nested models compute."""
        fields = [each for at in self.adapters.values() for each in schema_nodes(at.core_schema)]
        return frozenset(
            each.get("alias") or each["property_name"] for each in fields if each["type"] == "computed-field"
        )

    @cached_property
    def type_text(self) -> str:
        """The `type` that documents are written with, as it stands in them."""
        return str(self.type)

    @cached_property
    def given(self) -> dict[str, Property]:
        """The properties that are read from documents and bodies, by the name in JSON: those that are not computed."""
        return {name: each for name, each in self.properties.items() if not each.computed}

    @cached_property
    def visible(self) -> dict[str, Property]:
        """The properties that clients see, by the name in JSON."""
        return {**{name: each for name, each in self.properties.items() if not each.write_only}, **self.shown}

    @property
    def restorable(self) -> bool:
        """What was deleted can come back."""
        return self.history or self.soft_delete

    def document_id(self, key: Any) -> str | None:
        """The document id that a key decides; None where a view must be asked."""
        if self.key is None:
            return str(key)
        return f"{self.type.name}:{self.key_text(key)}" if self.unique else None

    def owns(self, document_id: str) -> bool:
        """Whether an id belongs to this type alone: it is made of the key, or a client has chosen it."""
        return (self.key is None or self.unique or self.history) and document_id.startswith(f"{self.type.name}:")

    def key_text(self, key: Any) -> str:
        """A key as it stands in a URL, before quoting."""
        return str(self.key_value(key))

    def key_value(self, key: Any) -> Any:
        """A key as it stands in the stored document."""
        return key if self.key is None else self.stored_value(self.key.name, key)

    def stored_value(self, name: str, value: Any) -> Any:
        """A property's value as it stands in the stored document.

        Args:
            name: the property's, in JSON.
            value: of the property's own type, or as it is stored.
        """
        if type(value) is str and name in self._texts:
            return value  # as nearly all keys are; asked for each item of a list
        if isinstance(value, datetime):
            return format_timestamp(value)  # whatever the annotation: times must sort as strings
        adapter = self.adapters[name]
        if type(value) not in _JSON_TYPES:
            return adapter.dump_python(value, mode="json", warnings=False)
        try:
            if isinstance(value, str) and is_timestamp(value):
                moment = adapter.validate_python(value)
                return format_timestamp(moment) if isinstance(moment, datetime) else value
            if adapter.dump_python(value, mode="json", warnings=False) == value:
                return value
            # With a serializer of the author's it may be of the property's type, or stored: reading leaves the first
            # as it is. Elsewhere no validator may judge again what is stored.
            return adapter.dump_python(adapter.validate_python(value), mode="json", warnings=False)
        except (ValueError, TypeError, AttributeError):
            return value  # no value of the type, so that no document has it

    def view_value(self, name: str, stored: Any) -> Any:
        """A property's stored value as it stands in JavaScript views, where it sorts as the values do."""
        if name in self.sort_keys and stored is not None:
            return self.sort_keys[name].encode(stored)
        return as_javascript(stored)

    def value_in_view(self, name: str, key: Any) -> Any:
        """The stored value that a key of a JavaScript view stands for."""
        if name not in self.sort_keys or not isinstance(key, str):
            return key
        try:
            value = self.sort_keys[name].decode(key)
        except ValueError:
            return key  # of a document that does not fit the model
        return self.adapters[name].dump_python(value, mode="json", warnings=False)

    def view_key(self, key: Any) -> Any:
        """A key as it stands in the views of documents by their keys."""
        return key if self.key is None else self.view_value(self.key.name, self.key_value(key))

    def parse_value(self, name: str, text: str) -> Any:
        """A property's value from text, as in a query string.

        Raises:
            ValueError: the text is not a valid value of this property.
        """
        try:
            return self.adapters[name].validate_strings(text)
        except ValueError:
            attribute = self.given[name].attribute if name in self.given else ""
            if attribute in self.reading.judged:  # documents may have what would not be taken any more
                return self.reading.fields[attribute].validate_strings(text)
            # Pydantic reads no number from text where it is a member of an enum or a literal.
            if not _SCALAR.fullmatch(text):
                raise
            scalar = json.loads(text)
            value = self.adapters[name].validate_python(scalar)
            plain = value.value if isinstance(value, Enum) else value
            if type(plain) is not type(scalar) or plain != scalar:
                raise
            return value

    def parse_key(self, text: str) -> Any:
        """The key that stands in a URL; None when the text cannot be a key of this model."""
        if self.key is None:
            return text
        try:
            key = self.parse_value(self.key.name, text)
        except ValueError:
            return None
        # "007" must not be a second name of 7.
        return key if self.key_text(key) == text else None


@dataclass_transform(kw_only_default=True, field_specifiers=(Field, PrivateAttr, assigned))
class Model(BaseModel):
    """The base of a user's models.

        class Fruit(Model, type="fruit_v1.0", key="fruit_id"):
            fruit_id: Key = assigned()
            color: Annotated[str, MinLen(1), Indexed()]
            created_on: CreatedOn = assigned()
            updated_on: UpdatedOn = assigned()

    Class arguments:
        type: NAME_vMAJOR.MINOR. A class without one is a base for others and cannot be stored.
        key: the name (in JSON) of the property that names a document in its URL; without it the
            document id does.
        unique: the document id is made from the key (`NAME:KEY`), which is the only way to have
            CouchDB refuse a second document with one key.
        indexes: tuples of properties (names in JSON) that are filtered and sorted by together, each a
            JSON index of Mango: `indexes=[("color", "created_on")]`.
        reductions: reduced views by the name that they have in the URL: `{"by_color": Count("color")}`.
        upgrades: functions marked by `upgrade`, besides those in the class body and in its bases.
        history: every version is kept, as a document of its own that is never rewritten.
        soft_delete: a deletion hides a document, which can be restored.
        partition: the property (its name in JSON) whose value each document's id begins with, in a partitioned
            database; queries for one value of it ask one shard. It cannot be changed.
        classified: every property has to be classified, as `Public()`, `Encrypted()`, `Hashed()` or by a class of
            one's own, except time stamps and generated keys. Inherited.

    A document's id and revision are `fruit._id` and `fruit._rev`, out of the way of the names of
    properties, which cannot begin with an underscore; both are None until it is stored. The one other name that
    is taken is `verify`.

    Raises:
        ModelDefinitionError: when the class is defined, saying what is wrong with it.
    """

    # The values in pydantic's messages would stand in logs, protected ones too.
    model_config = ConfigDict(extra="forbid", validate_assignment=True, hide_input_in_errors=True, allow_inf_nan=False)

    __couch__: ClassVar[ModelInfo | None] = None
    __classified__: ClassVar[bool] = False

    _id: str | None = PrivateAttr(default=None)
    _rev: str | None = PrivateAttr(default=None)
    # The stored document this was read from: what the model does not know is written back from it.
    _stored: dict[str, Any] = PrivateAttr(default_factory=dict)
    # Set while some of what is stored does not fit; see `forms.partial`.
    _unfit: Any = PrivateAttr(default=None)
    # The files that the next write stores with the document, by the names that CouchDB has for them.
    _uploads: dict[str, Any] = PrivateAttr(default_factory=dict)

    def __init_subclass__(cls, **kwargs: Any) -> None:
        # Pydantic hands the class arguments to both hooks; only the later one sees the fields.
        check_names(cls)
        super().__init_subclass__()

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        with_attachments_empty(cls.model_fields)
        # Every date and time of a model, not just `Timestamp`, must sort as a string.
        schema = with_sortable_datetimes(schema_of(cls, source, handler))
        return cast("CoreSchema", with_stored_hashes(schema, cls, hashed_attributes(cls.model_fields)))

    @classmethod
    def __pydantic_init_subclass__(
        cls,
        type: str | None = None,  # noqa: A002 - the document's own member
        key: str | None = None,
        unique: bool = False,
        indexes: Iterable[Iterable[str]] = (),
        reductions: Mapping[str, Reduction] | None = None,
        upgrades: Iterable[object] = (),
        history: bool = False,
        soft_delete: bool = False,
        partition: str | None = None,
        classified: bool | None = None,
        **kwargs: Any,
    ) -> None:
        check_options(cls.__name__, kwargs.keys() - ConfigDict.__annotations__.keys(), _OPTIONS)
        super().__pydantic_init_subclass__()
        check_private(cls, Model.__private_attributes__)
        if getattr(cls.model_post_init, "__wrapped__", None) is _begin and not _own_private(cls):
            cls.model_post_init = _begin  # type: ignore[method-assign]
        if classified is not None:
            cls.__classified__ = classified
        declared = _Declared(key, unique, indexes, reductions or {}, upgrades, history, soft_delete, partition)
        if type is None:
            if any(declared):
                names = ", ".join(f"`{name}`" for name in _Declared._fields)
                raise ModelDefinitionError(f"{cls.__name__}: {names} need a `type`")
            cls.__couch__ = None
            return
        cls.__couch__ = _describe(cls, type, declared)
        if cls.__couch__.relations:
            register(cls)

    @property
    def _key(self) -> Any:
        """The value that names this document: its key property or its id."""
        key = model_info(type(self)).key
        return self._id if key is None else getattr(self, key.attribute)

    async def verify(self, name: str, value: str) -> bool:
        """Whether a value is the one that was hashed for a property; bcrypt runs in a thread.

        Args:
            name: the property's, in JSON.
            value: such as the password that somebody gave.

        Returns:
            False also where the property is None.

        Raises:
            KeyError: there is no such property.
            SecurityError: the property is not hashed, or what is stored is not a hash.
        """
        declared = model_info(type(self)).properties[name]
        return await verify_held(declared.classification, name, getattr(self, declared.attribute), value)

    def __repr_args__(self) -> Iterable[tuple[str | None, Any]]:
        # What is protected at rest is not to lie about in logs and tracebacks either.
        return without_secrets(super().__repr_args__(), type(self).model_fields)


def _begin(self: BaseModel, _context: Any, /) -> None:
    """Give a new model its private attributes.

    Pydantic does so twice for a class with a base of ours, which is a quarter of the time that reading a model takes.
    """
    if getattr(self, "__pydantic_private__", None) is None:
        private: dict[str, Any] = {"_id": None, "_rev": None, "_stored": {}, "_unfit": None, "_uploads": {}}
        object.__setattr__(self, "__pydantic_private__", private)


def _own_private(cls: type[Model]) -> bool:
    return cls.__private_attributes__.keys() != Model.__private_attributes__.keys()


Model.model_post_init = _begin  # type: ignore[method-assign]


def _private(name: str) -> property:
    # Pydantic looks for a private attribute only where all else has failed, which takes some twenty times as long,
    # and these are read a dozen times for each request.
    return property(lambda model: model.__pydantic_private__[name])


for _name in ("_id", "_rev", "_stored", "_unfit", "_uploads"):
    setattr(Model, _name, _private(_name))


def model_info(cls: type[Model]) -> ModelInfo:
    """What the class statement declares; a function, so that `info` stays free for a property.

    Raises:
        ModelDefinitionError: the class has no `type`.
    """
    if cls.__couch__ is None:
        raise ModelDefinitionError(f'{cls.__name__} has no type; write class {cls.__name__}(Model, type="name_v1.0")')
    return cls.__couch__


class _Declared(NamedTuple):
    """The class arguments, beside the type."""

    key: str | None
    unique: bool
    indexes: Iterable[Iterable[str]]
    reductions: Mapping[str, Reduction]
    upgrades: Iterable[object]
    history: bool
    soft_delete: bool
    partition: str | None


_OPTIONS = ("type", *_Declared._fields, "classified")


def _describe(cls: type[Model], type_text: str, declared: _Declared) -> ModelInfo:
    document_type = _document_type(cls, type_text)
    complete(cls)
    fields, reductions = fields_of(cls), declared.reductions
    attachments = _attachments(cls)
    properties, shown = _properties(cls, fields, attachments)
    named = _key_property(cls, properties, declared.key, declared.unique)
    _check_keeping(cls, declared)
    adapters = {name: TypeAdapter(annotated(fields[each.attribute])) for name, each in (properties | shown).items()}
    composites = [columns if isinstance(columns, str) else tuple(columns) for columns in declared.indexes]
    grouped = [*composites, *((*each.by, each.of or "") for each in reductions.values())]
    demanded = cls.__classified__
    check_classifications(cls.__name__, properties, fields, adapters, key=named, grouped=grouped, demanded=demanded)
    _check_names(cls, [*properties, *shown])
    write = writer(cls, [each.attribute for each in properties.values() if each.computed])
    read = _reading(cls, properties, fields, adapters, write)
    sort_keys = _sort_keys(properties, adapters)
    identifying = {declared.partition, named.name if named else None}
    _check_order(cls, properties, adapters, identifying, grouped, sort_keys)
    check_reductions(cls.__name__, reductions, properties, adapters)
    check_merge_rules(cls.__name__, properties, fields, adapters, named)
    derived = derived_keys(cls.__name__, properties, fields)
    unique = declared.unique or (declared.history and named is not None and not named.generated)
    _check_name_space(cls, document_type, own=unique or declared.history or named is None)
    return ModelInfo(
        document_type,
        properties,
        named,
        unique,
        adapters | {name: each.adapter for name, each in derived.items()},
        read,
        write,
        shower(cls),
        _defaults(fields, properties, adapters),
        make_indexes(cls.__name__, document_type.name, properties, named, composites, sort_keys, derived),
        dict(reductions),
        collect_upgrades(cls, document_type, declared.upgrades),
        declared.history,
        declared.soft_delete,
        check_partition(cls.__name__, declared.partition, properties, unique=declared.unique, history=declared.history),
        sort_keys,
        shown,
        derived,
        find_relations(cls, properties, fields),
        attachments,
    )


def _attachments(cls: type[Model]) -> dict[str, AttachmentProperty]:
    """The properties of files, by the name in JSON."""
    found = (
        attachment_property(cls.__name__, attribute, field, demanded=cls.__classified__)
        for attribute, field in cls.model_fields.items()
    )
    return {each.name: each for each in found if each is not None}


def _sort_keys(properties: Mapping[str, Property], adapters: Mapping[str, TypeAdapter[Any]]) -> dict[str, SortKey]:
    """The sort keys of those properties whose stored values do not sort as the values themselves do."""
    found = {name: sort_key_of(adapters[name]) for name, each in properties.items() if not each.protected}
    return {name: each for name, each in found.items() if each is not None}


def _document_type(cls: type[Model], text: str) -> DocumentType:
    found = DocumentType.parse(text)
    if found is None:
        raise ModelDefinitionError(f'{cls.__name__}: type {text!r} is not NAME_vMAJOR.MINOR, such as "fruit_v1.0"')
    return found


def _check_name_space(cls: type[Model], document_type: DocumentType, *, own: bool) -> None:
    """Refuse a name that would let another type have the same ids: `a` with the key `b:c`, and `a:b` with `c`."""
    if own and ":" in document_type.name:
        raise ModelDefinitionError(
            f"{cls.__name__}: the ids of its documents begin with the name of the type and a colon, so the name"
            f" {document_type.name!r} must not contain a colon; another type could have the same ids"
        )


def _check_names(cls: type[Model], names: Iterable[str]) -> None:
    hidden = [name for name in names if is_hidden(name)]
    if hidden:
        raise ModelDefinitionError(
            f"{cls.__name__}: a property cannot be called {hidden[0]!r} in JSON: names that begin so are this"
            " package's own. Give it another name or alias."
        )


def _reading(
    cls: type[Model],
    properties: Mapping[str, Property],
    fields: Mapping[str, FieldInfo],
    adapters: Mapping[str, TypeAdapter[Any]],
    write: Write,
) -> Reading:
    """How a model is read, once it is certain that it reads back as it was stored."""
    given = {name: each for name, each in properties.items() if not each.computed}
    own = Fields(cls, cls.__pydantic_core_schema__, write)
    if own.written_whole:
        raise ModelDefinitionError(
            f"{cls.__name__}: with a model_serializer documents would not hold what the properties say; write a"
            " computed_field for what is to be shown besides, and override the handler's show() for another form"
        )
    singly = {name: own[each.attribute] for name, each in given.items()}
    check_round_trip(cls.__name__, properties, fields, adapters, singly, cls.model_config)
    check_described(cls, given, singly)
    found = reading(cls, given, write)
    if found.judged_whole:
        check_whole(cls, given, found, write)
    check_defaults(cls.__name__, given, fields, found.fields)
    return found


def _check_order(
    cls: type[Model],
    properties: Mapping[str, Property],
    adapters: Mapping[str, TypeAdapter[Any]],
    identifying: Collection[str | None],
    grouped: Iterable[Iterable[str]],
    sort_keys: Collection[str],
) -> None:
    """Refuse to find documents by values that have neither an order in CouchDB nor a sort key."""
    composed = {name for names in grouped for name in names}
    used = [each for each in properties.values() if each.indexed or each.name in composed or each.name in identifying]
    plain = [each.name for each in used if not each.protected and each.name not in sort_keys]
    check_order(cls.__name__, adapters, plain)
    ided = [each.name for each in used if each.name in identifying and each.name in sort_keys]
    check_order(cls.__name__, adapters, ided, use="cannot be the key or partition")
    protected = [each.name for each in used if each.protected]
    check_order(cls.__name__, adapters, protected, use="cannot be searched by", equality_only=True)


def _check_keeping(cls: type[Model], declared: _Declared) -> None:
    """Refuse what cannot go together with `history`."""
    if not declared.history:
        return
    if declared.soft_delete:
        raise ModelDefinitionError(f"{cls.__name__}: with `history` what is deleted is kept anyway; drop `soft_delete`")
    if declared.key is None:
        raise ModelDefinitionError(
            f"{cls.__name__}: `history` needs a `key`, which all versions of a document share; `fruit_id: Key` is one"
        )
    if declared.reductions:
        raise ModelDefinitionError(
            f"{cls.__name__}: with `history` a reduced view would count every version; it can have no `reductions`"
        )


def _defaults(
    fields: Mapping[str, FieldInfo], properties: Mapping[str, Property], adapters: Mapping[str, TypeAdapter[Any]]
) -> dict[str, Any]:
    """The defaults that are the same for every document, without those that are made anew each time."""
    values = {name: fields[each.attribute].default for name, each in properties.items()}
    return {
        name: adapters[name].dump_python(value, mode="json", warnings=False)
        for name, value in values.items()
        if value is not None and value is not PydanticUndefined
    }


def _properties(
    cls: type[Model], fields: Mapping[str, FieldInfo], attachments: Mapping[str, AttachmentProperty]
) -> tuple[dict[str, Property], dict[str, Property]]:
    """The properties that documents hold, and those that are only shown, by the name in JSON."""
    declared = [
        Property.declared(attribute, field.alias, field.metadata, field.default)
        for attribute, field in cls.model_fields.items()
        if (field.alias or attribute) not in attachments
    ]
    stored: dict[str, Property] = {}
    shown: dict[str, Property] = {}
    for each in (*declared, *computed_properties(cls, fields)):
        if each.name == "type" or each.name.startswith("_"):
            raise ModelDefinitionError(
                f"{cls.__name__}: a property cannot be called {each.name!r} in JSON: `type` holds the document's"
                " type, and names with a leading underscore are CouchDB's. Give it another name or alias."
            )
        if each.name in stored or each.name in shown:
            raise ModelDefinitionError(f"{cls.__name__}: two properties are called {each.name!r} in JSON")
        (stored if each.stored else shown)[each.name] = each
    return stored, shown


def _key_property(cls: type[Model], properties: dict[str, Property], key: str | None, unique: bool) -> Property | None:
    generated = [each.name for each in properties.values() if each.generated and each.name != key]
    if generated:
        raise ModelDefinitionError(f"{cls.__name__}: {generated[0]!r} is a Key; say key={generated[0]!r} in the class")
    if key is None:
        if unique:
            raise ModelDefinitionError(f"{cls.__name__}: `unique` needs a `key`; a document id is unique by itself")
        return None
    if key not in properties:
        raise ModelDefinitionError(f"{cls.__name__}: there is no property called {key!r} to be the key")
    if unique and properties[key].generated:
        raise ModelDefinitionError(f"{cls.__name__}: a key that CouchDB gives is unique already; drop `unique`")
    if properties[key].computed:
        raise ModelDefinitionError(
            f"{cls.__name__}: the key {key!r} names a document for good, so it cannot be computed"
        )
    return properties[key]
