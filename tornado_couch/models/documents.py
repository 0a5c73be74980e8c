"""Between models and documents as CouchDB stores them; pure."""

from __future__ import annotations

import copy
import functools
from collections.abc import Iterator
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import PydanticSerializationError

from ..errors import InvalidDocument, UnsupportedVersion, ValidationFailed
from .classification import Classification, StoredHash
from .forms import (
    AttachmentPlace,
    Held,
    Unfit,
    attachments_of,
    files_kept,
    files_shown,
    partial_model,
    with_files_dropped,
)
from .model import DocumentType, Model, ModelInfo, model_info
from .pointers import faults, json_pointer, path_within
from .properties import Property, blind_index_member
from .round_trip import same
from .timestamps import utc_now
from .upgrades import Upgrade, apply_upgrades, classes_before, upgrades_between
from .views.sort_keys import EXACT

__all__ = [
    "PLAIN_FILES",
    "attachment_place",
    "classes_of",
    "computed_values",
    "from_document",
    "is_of",
    "is_outdated",
    "replaced",
    "representation",
    "stamped",
    "to_document",
    "upgraded",
    "validated",
]

M = TypeVar("M", bound=Model)

PLAIN_FILES = "_plain_files"
"""The member of a document in the clear that says what its encrypted files are; never stored."""

_JSON_SCALARS = frozenset((str, int, float, bool, type(None)))
_HOLDERS = (dict, list)  # in JSON
_MAY_HOLD = (BaseModel, dict, list, tuple)
_MOST_COMPARED = 40_000  # pairs of items in one list
Document = dict[str, Any]


def is_of(cls: type[Model], document: Document) -> bool:
    """Whether a document's `type` says that it is of this model, in whatever version."""
    parsed = DocumentType.parse(document.get("type"))
    return parsed is not None and parsed.name == model_info(cls).type.name


def from_document(cls: type[M], document: Document) -> M:
    """The model that a stored document, with its values in the clear, holds; an older version is upgraded.

    What the model does not know is kept, and written back by `to_document`.

    Raises:
        UnsupportedVersion: the document is of a newer major version, or of an older one that no upgrade leads from.
        InvalidDocument: it is of another type, its properties do not fit the model, or an upgrade failed.
    """
    info = model_info(cls)
    current = document if document.get("type") == info.type_text else upgraded(cls, document)
    known = {name: current[name] for name in info.given if name in current}
    try:
        model: M = info.reading.read(known)
    except ValidationError as error:
        # No `from error`: its text holds the document's values.
        raise _invalid(cls, error, document, current) from None
    return _identified(model, document)


def _identified(model: M, document: Document) -> M:
    # Not by assignment, for which pydantic looks up what kind of attribute each is.
    info = model_info(type(model))
    if info.attachments:
        files = attachments_of(document, document.get(PLAIN_FILES))
        model.__dict__.update({each.attribute: each.value(files) for each in info.attachments.values()})
    model.__pydantic_private__.update(_id=document.get("_id"), _rev=document.get("_rev"), _stored=document)  # type: ignore[union-attr]
    return model


def attachment_place(cls: type[Model], name: str) -> AttachmentPlace:
    """The place of a file by its name: `invoice`, or `photos/NAME`.

    Raises:
        ValueError: the model has no such property of files, or a file cannot have this name.
    """
    stem, slash, item = name.partition("/")
    declared = model_info(cls).attachments.get(stem)
    if declared is None:
        raise ValueError(f"{cls.__name__} has no property of files that is called {stem!r}")
    return declared.place(item if slash else None)


def _invalid(cls: type[Model], error: ValidationError, document: Document, current: Document) -> InvalidDocument:
    """The error for a document that does not fit, with what can be read of it all the same."""
    info, problems = model_info(cls), faults(error, current)
    places = " and ".join(sorted({each["pointer"] or "the whole of it" for each in problems}))
    invalid = InvalidDocument(
        f"a stored document does not fit {cls.__name__}: {places}", document.get("_id", ""), problems
    )
    values = {name: current[name] for name in info.properties if name in current}
    faulty = {each["loc"][0] for each in error.errors(include_url=False, include_input=False) if each["loc"]}
    model, wrong = partial_model(cls, info.given, info.reading.fields, values, faulty)
    model._unfit = Unfit(invalid, values, wrong)
    invalid.partial = _identified(model, document)
    return invalid


def upgraded(cls: type[Model], document: Document) -> Document:
    """A document, with its values in the clear, as the model's own version has it; the same one if it needs nothing.

    A document of a newer minor version is left as it is: what it has beyond the model is unknown, and kept.

    Raises:
        UnsupportedVersion, InvalidDocument: as `from_document` does.
    """
    info = model_info(cls)
    path = _path(info, document)
    if not path:
        return document
    dropped = [blind_index_member(name) for name, each in classes_of(cls, document).items() if each.blind_index]
    try:
        found = apply_upgrades(path, document, info.type, dropped)
    except InvalidDocument as error:
        error.document_id = document.get("_id", "")
        raise
    name = info.key.name if info.key else ""
    if name in document and found.get(name) != document[name]:
        raise InvalidDocument(f"the upgrade to {path[-1].target} changed the key", document.get("_id", ""))
    return found


def classes_of(cls: type[Model], document: Document) -> dict[str, Classification]:
    """How the properties of a stored document are classified, by their names: as its version says.

    Raises:
        UnsupportedVersion, InvalidDocument: as `from_document` does.
    """
    info = model_info(cls)
    classes = {name: each.classification for name, each in info.properties.items() if each.classification}
    path = _path(info, document) if info.upgrades else []
    return classes_before(path, classes) if path else classes


def is_outdated(cls: type[Model], document: Document) -> bool:
    """Whether a document is of the model, in an older version than the model's own."""
    found, own = DocumentType.parse(document.get("type")), model_info(cls).type
    return found is not None and found.name == own.name and found < own


def _path(info: ModelInfo, document: Document) -> list[Upgrade]:
    found = DocumentType.parse(document.get("type"))
    if found is None or found.name != info.type.name:
        what = f"a document of type {document.get('type')!r} is not one of type {info.type}"
        raise InvalidDocument(what, document.get("_id", ""))
    try:
        return upgrades_between(info.upgrades, found, info.type)
    except UnsupportedVersion as error:
        error.document_id = document.get("_id", "")
        raise


def to_document(model: Model, stored: Document | None = None) -> Document:
    """The document to store: `_id`, `_rev`, `type`, the model's properties, then what it does not know.

    A property that is None by default and None now is left out.

    Raises:
        ValidationFailed: an indexed property has an integer that views cannot hold, or a property has a value that
            its type takes and that would not be read back, such as a set in an `Any`, or one of another type, which
            Python code can append to a list.

    Args:
        model: the model.
        stored: the document that it was read from, in the clear; without it, as it was stored.
    """
    info = model_info(type(model))
    stored = model._stored if stored is None else stored
    kind = stored.get("type", info.type_text)
    if kind != info.type_text:
        stored = upgraded(type(model), stored)
    document: Document = {}
    if model._id is not None:
        document["_id"] = model._id
    if model._rev is not None:
        document["_rev"] = model._rev
    document["type"] = kind if kind == info.type_text else _written_type(info, stored)
    if model._unfit is None:
        _check_loose(model, info)
    document.update(_properties(model, info))
    _check_exact(info, document)
    if model._unfit is None:  # otherwise the properties are as they are stored
        _carry_unknown(model, document, stored)
    if info.attachments and model._unfit is None:
        stored = with_files_dropped(stored, info.attachments, model.__dict__, model._uploads)
    for name, value in stored.items():
        # Of CouchDB's own members only the attachments are part of what is written.
        if name in info.properties or name in info.shown or name == "type":
            continue
        if not name.startswith("_") or name == "_attachments":
            document[name] = value
    return document


def _check_loose(model: Model, info: ModelInfo) -> None:
    for name, each in info.loose.items():
        detail = each.fault(model.__dict__.get(info.properties[name].attribute))
        if detail:
            raise ValidationFailed([{"pointer": json_pointer([name]), "keyword": "type", "detail": detail}])


def _check_exact(info: ModelInfo, document: Document) -> None:
    """Refuse integers that a view would round: JavaScript, and so CouchDB's views, would never find them again.

    Raises:
        ValidationFailed: an indexed property has an integer beyond 2^53.
    """
    for name in info.indexed:
        found = document.get(name)
        for value in () if isinstance(found, str) else _numbers(found):
            _check_integer([name], value)
    for key_of in info.derived.values():
        for value in _numbers(key_of.keys(document.get(key_of.declared.name))):
            _check_integer([key_of.declared.name, *key_of.path], value)
    for name, each in info.sort_keys.items():
        if name in info.indexed and document.get(name) is not None and not each.fits(document[name]):
            detail = "Is too large, or too close to zero, for an indexed property."
            raise ValidationFailed([{"pointer": json_pointer([name]), "keyword": "maximum", "detail": detail}])


def _check_integer(path: list[str], value: int) -> None:
    if abs(value) > EXACT:
        detail = f"Must lie between -{EXACT} and {EXACT}, since documents are found by it."
        keyword = "maximum" if value > 0 else "minimum"
        raise ValidationFailed([{"pointer": json_pointer(path), "keyword": keyword, "detail": detail}])


def _numbers(value: Any) -> Iterator[int]:
    """The integers of a value, within containers as well."""
    if isinstance(value, int):
        yield value
    elif isinstance(value, list | dict):
        for each in value.values() if isinstance(value, dict) else value:
            yield from _numbers(each)


def _written_type(info: ModelInfo, stored: Document) -> str:
    """A document of a later minor version keeps its type: its unknown properties are kept too."""
    found = DocumentType.parse(stored.get("type"))
    return str(found if found and found > info.type else info.type)


def _properties(model: Model, info: ModelInfo) -> Document:
    if model._unfit is not None:
        return dict(model._unfit.values)
    try:
        return _present(info.write(model, warnings="error"), info.properties)
    except PydanticSerializationError:
        wrong = [name for name, each in info.properties.items() if not _is_writable(model, info, each)]
        if not wrong:
            raise
    detail = "Holds a value of another type, which would not be read again."
    raise ValidationFailed([{"pointer": json_pointer([name]), "keyword": "type", "detail": detail} for name in wrong])


def _is_writable(model: Model, info: ModelInfo, declared: Property) -> bool:
    try:
        info.write(model, include={declared.attribute}, warnings="error")
    except PydanticSerializationError:
        return False
    return True


def _present(values: Document, properties: dict[str, Property]) -> Document:
    """The values of some properties, without what is None by default."""
    return {name: values[name] for name, each in properties.items() if not (each.optional and values[name] is None)}


def computed_values(model: Model) -> Document:
    """The values of the computed properties that are stored, by their names in JSON."""
    info = model_info(type(model))
    computed = {name: each for name, each in info.properties.items() if each.computed}
    return _present(info.write(model), computed) if computed else {}


def _carry_unknown(model: BaseModel, written: Document, stored: Document) -> None:
    """Keep the members that nested models do not declare, as at the top; within lists and dictionaries as well."""
    held = [name for name, after in written.items() if isinstance(after, _HOLDERS) and name in stored]
    if not held:
        return  # only there can be models
    attributes = _attributes(type(model))
    for name in held:
        if name in attributes and _may_hold_models(value := getattr(model, attributes[name])):
            _carry_within(value, written[name], stored[name])


def _may_hold_models(value: Any) -> bool:
    """Whether a value is more than JSON; nothing is to be carried over within that, however large it is."""
    todo = [value]
    while todo:
        each = todo.pop()
        kind = type(each)
        if kind is dict:
            todo += each.values()
        elif kind is list:
            todo += each
        elif kind not in _JSON_SCALARS:
            return True
    return False


@functools.cache
def _attributes(cls: type[BaseModel]) -> dict[str, str]:
    """The attributes of a model by their names in JSON."""
    return {field.alias or attribute: attribute for attribute, field in cls.model_fields.items()}


def _carry_within(inner: Any, after: Any, before: Any) -> None:
    """Give what is written back to a value's nested models from what is stored of them."""
    if isinstance(inner, BaseModel):
        if isinstance(before, dict) and isinstance(after, dict):
            _carry_unknown(inner, after, before)
            known = {each.alias or name for name, each in type(inner).model_fields.items()}
            known |= {each.alias or name for name, each in type(inner).model_computed_fields.items()}
            after.update({name: value for name, value in before.items() if name not in known})
    elif isinstance(inner, dict) and isinstance(before, dict) and isinstance(after, dict):
        for value, name in zip(inner.values(), after, strict=False):  # a dictionary is written in its own order
            if name in before:
                _carry_within(value, after[name], before[name])
    elif isinstance(inner, list | tuple) and isinstance(before, list) and isinstance(after, list):
        if not any(isinstance(each, _MAY_HOLD) for each in inner):
            return  # nothing in it can hold a model
        for value, new, old in zip(inner, after, _matched(after, before), strict=False):
            _carry_within(value, new, old)


def _matched(after: list[Any], before: list[Any]) -> list[Any]:
    """For each item that is written, the stored item that it comes from.

    That is the first one left with the same members as far as both have them; otherwise, where no item was added or
    removed, the one in the same place. Items of a long list are looked for in their own places alone, since every item
    would be compared with every other.
    """
    long = len(after) * len(before) > _MOST_COMPARED
    free = dict(enumerate(before))
    found: dict[int, Any] = {}
    for place, item in enumerate(after):
        candidates = [place][: place in free] if long else [*[place][: place in free], *free]
        match = next((number for number in candidates if _agree(item, free[number])), None)
        if match is not None:
            found[place] = free.pop(match)
    if len(after) == len(before):
        found |= {place: free[place] for place in range(len(after)) if place not in found and place in free}
    return [found.get(place) for place in range(len(after))]


def _agree(item: Any, other: Any) -> bool:
    """Whether an item that is written is a stored one, of which it may lack members."""
    if isinstance(item, dict) and isinstance(other, dict):
        return all(name in other and _agree(value, other[name]) for name, value in item.items())
    if isinstance(item, list) and isinstance(other, list):
        return len(item) == len(other) and all(map(_agree, item, other))
    return bool(item == other)


def representation(model: Model) -> Document:
    """What a client may see: the model's properties, computed ones included, without the write-only ones."""
    info = model_info(type(model))
    if model._unfit is not None:
        return {name: value for name, value in model._unfit.values.items() if name in info.visible}
    return {**_present(info.show(model), info.visible), **files_shown(info.attachments, model.__dict__)}


def validated(cls: type[M], values: Document) -> M:
    """A new model with these values (names as in JSON).

    Raises:
        ValidationFailed: with every fault that pydantic finds.
    """
    info = model_info(cls)
    if sent := values.keys() & info.attachments:
        files_kept(info.attachments, {}, {name: values[name] for name in sent})
        values = {name: value for name, value in values.items() if name not in sent}
    try:
        return cls.model_validate(values)
    except ValidationError as error:
        less = _without_computed(cls, values, error)
        if less is None:
            raise ValidationFailed(faults(error, values)) from None
    return validated(cls, less)


def _without_computed(cls: type[Model], values: Document, error: ValidationError) -> Document | None:
    """The values without what nested models compute, where these allow no other members; None if there is none of it.

    It was shown, so it is sent back.
    """
    names = model_info(cls).computed_inside
    less = None
    for each in error.errors(include_url=False, include_context=False) if names else ():
        if each["type"] == "extra_forbidden" and each["loc"][-1] in names:
            less = copy.deepcopy(values) if less is None else less
            *path, name = path_within(values, each["loc"], each["input"], missing=False)
            holder: Any = less
            for step in path:
                holder = holder[step]
            del holder[name]
    return less


def replaced(current: M, body: Document) -> M:
    """The model that `body` makes of `current`, as PUT does.

    What is omitted is gone; kept are the identity, the key, read-only properties, and write-only
    ones that the body leaves out: who sends back what was read cannot have seen them. Where a model keeps its
    history, what was read may be an earlier version: its time stamps are ignored. So are computed properties, whose
    values follow from the others.

    Raises:
        ValidationFailed: a read-only property has another value than now, or values do not fit.
    """
    info, unfit = model_info(type(current)), current._unfit
    now = _properties(current, info)
    read_only = [name for name, each in info.given.items() if each.read_only and name in body]
    changed = [name for name in read_only if body[name] != now.get(name) and not _is_earlier(info, name)]
    if changed:
        raise ValidationFailed([_read_only(name) for name in changed])
    values = {name: body[name] for name in info.given if name in body}
    for name, each in info.given.items():
        if unfit is not None and each.attribute in unfit.wrong and each != info.key:
            if each.read_only:
                values.pop(name, None)  # nobody could send another value
            continue
        if name in now and (each.read_only or each == info.key or (each.write_only and name not in body)):
            held = getattr(current, each.attribute, None)
            values[name] = held if isinstance(held, StoredHash) else now[name]
    unchanged = [name for name in values if name in now and same(values[name], now[name])]
    files = files_kept(info.attachments, current.__dict__, body)
    unchanged = [name for name in unchanged if all(current.__dict__.get(each) == files[each] for each in files)]
    if info.reading.judged_whole and unfit is None and len(unchanged) == len(values) == len(now.keys() & info.given):
        return current.model_copy(deep=True)
    # Validators judge what comes in, and this was judged when it came.
    for name in unchanged:
        attribute = info.given[name].attribute
        if attribute in info.reading.judged and attribute in current.__dict__:
            values[name] = Held(copy.deepcopy(current.__dict__[attribute]))
    new = validated(type(current), values)
    new._id, new._rev, new._stored = current._id, current._rev, current._stored
    new.__dict__.update(files)
    return new


def _is_earlier(info: ModelInfo, name: str) -> bool:
    """Whether another value can be that of an earlier version, which is sent back to restore it."""
    return info.history and info.properties[name].stamp is not None


def _read_only(name: str) -> dict[str, str]:
    detail = "This property is read-only and has another value."
    return {"pointer": json_pointer([name]), "keyword": "readOnly", "detail": detail}


def stamped(model: M, *, new: bool, now: Any = utc_now) -> M:
    """The model with its time stamps set, in place.

    Args:
        model: what is about to be written.
        new: whether it is being created.
        now: the clock.
    """
    moment = now()
    for each in model_info(type(model)).properties.values():
        if each.stamp and (new or not each.stamp.once):
            # Not by `setattr`, which would run the model's validators on what is there already.
            model.__dict__[each.attribute] = moment
            model.__pydantic_fields_set__.add(each.attribute)
    return model
