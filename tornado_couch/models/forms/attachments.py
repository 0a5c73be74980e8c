"""Files beside documents, as properties of a model: what is declared of them, and what a model has of each; pure.

    invoice: Annotated[Attachment | None, MediaTypes("application/pdf"), MaxBytes(10_000_000)] = None
    photos: Annotated[Attachments, MediaTypes("image/*"), MaxBytes(5_000_000), MaxItems(20)] = assigned()

CouchDB stores the bytes in `_attachments`: those of `invoice` under that name, those of a photo under `photos/NAME`.
What CouchDB does not say of a file, its SHA-256 above all, stands in a member of the document beside them:

    "tornado_couch_attachments": {"invoice": {"digest": "md5-…", "length": 4711, "sha256": "…"}}

An entry counts as long as CouchDB's digest of the file is the one that it names.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from types import UnionType
from typing import Annotated, Any, NamedTuple, Union, get_args, get_origin

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.fields import FieldInfo
from pydantic_core import CoreSchema, PydanticCustomError, PydanticUndefined, core_schema

from ...errors import AttachmentTooLarge, MediaTypeRefused, ModelDefinitionError, TooManyAttachments
from ..classification import Classification, Encrypted, Public
from ..merging.rules import Merge, MergeRule
from ..properties import ReadOnly, WriteOnly

__all__ = [
    "ATTACHMENTS_PROPERTY",
    "FILES_PROPERTY",
    "Attachment",
    "AttachmentPlace",
    "AttachmentProperty",
    "Attachments",
    "MaxBytes",
    "MaxItems",
    "MediaTypes",
    "attachment_property",
    "with_attachments_empty",
]

ATTACHMENTS_PROPERTY = "tornado_couch_attachments"
"""The member of a stored document that says of its files what CouchDB does not; no model's property."""

FILES_PROPERTY = "tornado_couch_files"
"""The member of a version that names its files. It is not a property of a model, so it is never shown."""

_MOST_BYTES = 10_000_000  # of a file, where the model does not say
_MOST_ITEMS = 100  # files of one property, likewise
_LONGEST_NAME = 200  # characters; proxies and file systems take no longer ones
_NAME = re.compile(r"[^_/\\\x00-\x1f\x7f][^/\\\x00-\x1f\x7f]*")
_TYPE = re.compile(r"[a-z0-9][a-z0-9!#$&^_.+-]*/[a-z0-9][a-z0-9!#$&^_.+-]*")


@dataclass(frozen=True)
class MediaTypes:
    """The media types that a file may have, such as `application/pdf` or `image/*`; by default, any.

    Raises:
        ValueError: one of them is not a media type.
    """

    patterns: tuple[str, ...]

    def __init__(self, *patterns: str) -> None:
        for each in patterns:
            if not _TYPE.fullmatch(each.lower().removesuffix("*") + "x" * each.endswith("/*")):
                raise ValueError(f"{each!r} is not a media type: MediaTypes(\"image/*\", \"application/pdf\")")
        object.__setattr__(self, "patterns", tuple(each.lower() for each in patterns))


@dataclass(frozen=True)
class MaxBytes:
    """The greatest length of a file in bytes; 10,000,000 unless a property says otherwise."""

    number: int


@dataclass(frozen=True)
class MaxItems:
    """How many files a property of many may have; 100 unless it says otherwise."""

    number: int


@dataclass(frozen=True)
class Attachment:
    """What a model has of a file; `store.open_attachment` reads its bytes.

    Attributes:
        content_type: its media type.
        length: in bytes.
        digest: `sha256-` and the SHA-256 of its bytes in base64, where this package has stored it; otherwise CouchDB's
            own digest, `md5-…`, of the bytes as they are stored.
    """

    content_type: str
    length: int
    digest: str

    @property
    def sha256(self) -> bytes | None:
        """The SHA-256 of the bytes; None where another program has stored the file."""
        kind, _, text = self.digest.partition("-")
        return base64.b64decode(text) if kind == "sha256" else None

    @property
    def etag(self) -> str:
        """The file's strong entity tag, without quotation marks."""
        return self.digest

    def shown(self) -> dict[str, Any]:
        """What clients see of it, without its address."""
        return {"content_type": self.content_type, "length": self.length, "digest": self.digest}

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        instance = core_schema.is_instance_schema(cls, serialization=_SHOWN)
        known = core_schema.custom_error_schema(instance, "attachment", custom_error_message=_NOT_IN_JSON)
        # A file is attached to a document, and not given to the model's constructor.
        return core_schema.with_default_schema(known, default=None)

    @classmethod
    def __get_pydantic_json_schema__(cls, _: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return _json_schema()


_NOT_IN_JSON = "Files are not sent in JSON; send each to an address of its own."


def _shown(value: Any) -> Any:
    if isinstance(value, Attachment):
        return value.shown()
    return {name: _shown(each) for name, each in value.items()} if isinstance(value, dict) else value


_SHOWN = core_schema.plain_serializer_function_ser_schema(_shown)


def _json_schema() -> dict[str, Any]:
    members = {"content_type": {"type": "string"}, "length": {"type": "integer", "minimum": 0}}
    return {
        "type": "object",
        "properties": {**members, "digest": {"type": "string"}},
        "required": ["content_type", "length", "digest"],
    }


class Attachments(dict[str, Attachment]):
    """The files of a property of many, by the names that clients have given them."""

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        known = core_schema.no_info_plain_validator_function(cls._validated, serialization=_SHOWN)
        return core_schema.with_default_schema(known, default_factory=cls)

    @classmethod
    def __get_pydantic_json_schema__(cls, _: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {"type": "object", "additionalProperties": _json_schema()}

    @classmethod
    def _validated(cls, value: Any) -> Attachments:
        if not isinstance(value, dict) or not all(isinstance(each, Attachment) for each in value.values()):
            raise PydanticCustomError("attachment", _NOT_IN_JSON)
        return value if isinstance(value, Attachments) else cls(value)


@dataclass(frozen=True)
class AttachmentProperty:
    """A property of files, as its annotation declares it.

    Attributes:
        attribute: the name in Python.
        name: the name in JSON.
        many: it has many files, under names of the client's.
        required: a document is created together with this file, and never without it.
        media_types: what a file may be, in lower case; `image/*` stands for all pictures. Empty for anything.
        max_bytes: the greatest length of a file.
        max_items: how many files it may have.
        read_only: clients cannot change it.
        write_only: clients never see it.
        latest: where two leaves of a document changed a file, only the later one stays; otherwise both do.
        classification: `Public()` or `Encrypted()`; None where nobody said.
    """

    attribute: str
    name: str
    many: bool
    required: bool
    media_types: tuple[str, ...]
    max_bytes: int
    max_items: int
    read_only: bool
    write_only: bool
    latest: bool = False
    classification: Classification | None = None

    @property
    def encrypted(self) -> bool:
        """The files are stored encrypted."""
        return isinstance(self.classification, Encrypted)

    def place(self, item: str | None = None) -> AttachmentPlace:
        """The place of one file.

        Args:
            item: the client's name for it, in a property of many.

        Raises:
            ValueError: a file cannot have this name; the message says what is wrong.
        """
        if not self.many:
            if item is not None:
                raise ValueError(f"{self.name!r} has one file, which has no name of its own")
            return AttachmentPlace(self, None)
        if item is None:
            raise ValueError(f"{self.name!r} has many files: say which, as in {self.name + '/NAME'!r}")
        if item in (".", "..") or len(item) > _LONGEST_NAME or not _NAME.fullmatch(item) or not _is_text(item):
            raise ValueError(
                "the name of a file has 1 to 200 characters, none of them a slash, a backslash or a control character,"
                " and does not begin with an underscore"
            )
        return AttachmentPlace(self, item)

    def holds(self, stored_name: str) -> bool:
        """Whether the file that CouchDB has under this name is one of this property."""
        return stored_name.startswith(f"{self.name}/") if self.many else stored_name == self.name

    def accepts(self, content_type: str) -> bool:
        """Whether a file may have this media type; parameters of it are ignored."""
        kind = content_type.partition(";")[0].strip().lower()
        # It becomes a header field, here and where other programs read it.
        if not _TYPE.fullmatch(kind) or not content_type.isascii() or not content_type.isprintable():
            return False
        return not self.media_types or any(
            kind == each or (each.endswith("/*") and kind.startswith(each[:-1])) or each == "*/*"
            for each in self.media_types
        )

    def check(self, content_type: str, length: int) -> None:
        """Refuse a file that is not of a declared type, or too large.

        Raises:
            MediaTypeRefused: see `media_types` of the error.
            AttachmentTooLarge: see its `limit`.
        """
        if not self.accepts(content_type):
            raise MediaTypeRefused(f"{self.name!r} takes no file of type {content_type!r}", self.media_types)
        if length > self.max_bytes:
            raise AttachmentTooLarge(f"a file of {self.name!r} may have {self.max_bytes} bytes", self.max_bytes)

    def check_count(self, count: int) -> None:
        """Refuse more files than the property may have.

        Raises:
            TooManyAttachments: see its `limit`.
        """
        if self.many and count > self.max_items:
            raise TooManyAttachments(f"{self.name!r} may have {self.max_items} files", self.max_items)

    def body_schema(self, *, create: bool) -> dict[str, Any]:
        """The JSON Schema of the property in a body, which can keep or drop what is there, and bring nothing.

        Args:
            create: the body creates the document, so that there is nothing yet.
        """
        nothing = {"type": "null"}
        if create:
            return {"anyOf": [{"type": "object", "maxProperties": 0}, nothing]} if self.many else nothing
        shown = _json_schema()
        if self.many:
            shown = {"type": "object", "additionalProperties": {"anyOf": [shown, nothing]}}
        return {"anyOf": [shown, nothing]} | ({"readOnly": True} if self.read_only else {})

    def value(self, files: Mapping[str, Attachment]) -> Attachment | Attachments | None:
        """The property's value in a model, of a document's files by the names that CouchDB has for them."""
        if not self.many:
            return files.get(self.name)
        skipped = len(self.name) + 1
        return Attachments({name[skipped:]: each for name, each in files.items() if self.holds(name)})


class AttachmentPlace(NamedTuple):
    """Where one file of a document is.

    Attributes:
        declared: the property.
        item: the client's name for the file, in a property of many.
    """

    declared: AttachmentProperty
    item: str | None

    @property
    def name(self) -> str:
        """The name that CouchDB has for it: `invoice` or `photos/NAME`."""
        return self.declared.name if self.item is None else f"{self.declared.name}/{self.item}"

    def of(self, model: Any) -> Attachment | None:
        """What a model has there; None where there is no file."""
        held: Any = model.__dict__.get(self.declared.attribute)
        found: Attachment | None = held.get(self.item) if self.declared.many and held is not None else held
        return found


def _is_text(name: str) -> bool:
    try:
        return bool(name.encode())
    except UnicodeEncodeError:
        return False


def attachment_property(
    cls_name: str, attribute: str, field: FieldInfo, *, demanded: bool
) -> AttachmentProperty | None:
    """The property of files that a pydantic field declares; None if it is another property.

    Args:
        cls_name: of the model, for messages.
        attribute: the name in Python.
        field: the field.
        demanded: every property of the model has to be classified.

    Raises:
        ModelDefinitionError: what is declared cannot be.
    """
    kinds = set(_types(field.annotation))
    name = field.alias or attribute
    if not kinds & {Attachment, Attachments}:
        return None
    if not (kinds in ({Attachment}, {Attachments}) or kinds == {Attachment, type(None)}):
        raise ModelDefinitionError(f"{cls_name}: {name!r} is `Attachment`, `Attachment | None` or `Attachments`")
    markers = {type(each): each for each in field.metadata}
    classes = [each for each in field.metadata if isinstance(each, Classification)]
    fault = _fault(field, classes, markers, demanded=demanded)
    if fault:
        raise ModelDefinitionError(f"{cls_name}: {name!r} {fault}")
    rule = next((each for each in field.metadata if isinstance(each, MergeRule)), None)
    many = Attachments in kinds
    return AttachmentProperty(
        attribute,
        name,
        many,
        required=not many and type(None) not in kinds,
        media_types=markers[MediaTypes].patterns if MediaTypes in markers else (),
        max_bytes=markers[MaxBytes].number if MaxBytes in markers else _MOST_BYTES,
        max_items=markers[MaxItems].number if MaxItems in markers else _MOST_ITEMS,
        read_only=ReadOnly in markers,
        write_only=WriteOnly in markers,
        latest=rule is not None,
        classification=classes[0] if classes else None,
    )


def with_attachments_empty(fields: Mapping[str, FieldInfo]) -> None:
    """Have properties of many files begin empty, and not as None, which `assigned()` gives other properties."""
    for each in fields.values():
        if each.annotation is Attachments and each.default is None:
            each.default, each.default_factory = PydanticUndefined, Attachments


def _types(annotation: Any) -> Iterator[Any]:
    parts, origin = get_args(annotation), get_origin(annotation)
    if origin not in (None, Annotated, Union, UnionType):
        yield origin
    if isinstance(annotation, type) and not parts:
        yield annotation
    for each in parts:
        yield from _types(each)


_TAKEN = (MediaTypes, MaxBytes, MaxItems, ReadOnly, WriteOnly, Classification, MergeRule)


def _fault(
    field: FieldInfo, classes: Collection[Classification], markers: Mapping[type, Any], *, demanded: bool
) -> str:
    if field.default is not PydanticUndefined and field.default:
        return "is a file, so its default can only be None"
    others = [each for each in field.metadata if not isinstance(each, _TAKEN)]
    if others:
        return f"is a file, of which nothing can be said by {others[0]!r}"
    if any(not isinstance(each, Public | Encrypted) or each.lookups for each in classes) or len(classes) > 1:
        return "is a file: it can be Public() or Encrypted(), and cannot be searched"
    if demanded and not classes:
        return "is not classified; say Public() if anybody may know it"
    rules = [each for each in field.metadata if isinstance(each, MergeRule)]
    if any(not _is_latest(each) for each in rules) or len(rules) > 1:
        return "is a file: both stay where two places changed it, or, with Merge.latest(), the later one"
    numbers = [markers[kind].number for kind in (MaxBytes, MaxItems) if kind in markers]
    return "has a limit that is less than 1" if any(number < 1 for number in numbers) else ""


def _is_latest(rule: MergeRule) -> bool:
    return type(rule) is type(Merge.latest()) and rule.by is None
