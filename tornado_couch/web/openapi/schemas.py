"""Makes the schemas of a model's representations and request bodies, as components of an API document."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ...models import Action, AttachmentProperty, Model, Property, body_schema, model_info
from .components import Components, Schema, nullable, renamed
from .headers import ENTITY_TAG

__all__ = ["ModelSchemas", "addressable", "property_schema", "value_schema"]

_HREF: Schema = {"type": "string", "format": "uri-reference", "description": "The document's address."}
_ETAG: Schema = {"type": "string", "description": "The document's entity tag, for If-Match.", "examples": [ENTITY_TAG]}
_NO_CONTROL = r"^[^\u0000-\u001f\u007f-\u009f]*$"
_IGNORED: Schema = {"readOnly": True, "description": "Ignored, so that a document can be sent back as it was read."}


_FILE: Schema = {
    "type": "object",
    "description": "A file. In the body of a request, it keeps the file that is there.",
    "required": ["content_type", "length", "digest", "_href", "_etag"],
    "properties": {
        "content_type": {"type": "string", "description": "Its media type."},
        "length": {"type": "integer", "minimum": 0, "description": "Its length in bytes."},
        "digest": {"type": "string", "description": "Its SHA-256 in base64 after `sha256-`, where that is known."},
        "_href": {"type": "string", "format": "uri-reference", "description": "The address of its bytes."},
        "_etag": {"type": "string", "description": "Its entity tag, for If-Match."},
    },
}


class ModelSchemas:
    """References to the schemas of one model; each schema is made when it is first used.

    Args:
        components: keeps the schemas.
        model: the model.
        filled: the properties that a body can leave out, since the address has their values.
    """

    def __init__(self, components: Components, model: type[Model], filled: tuple[str, ...] = ()) -> None:
        self._components = components
        self._model = model
        self._filled = filled
        self._info = model_info(model)
        self.name = components.name("schemas", model.__name__, model)

    def shown(self) -> Schema:
        """The schema of a document as a client sees it."""
        return self._made("", self._shown)

    def part(self) -> Schema:
        """The schema of a document for a client that asks for some of the properties."""
        return self._made("Part", lambda: _without_required(self._shown()))

    def item(self) -> Schema:
        """The schema of an item of a collection."""
        return self._made("Item", lambda: _as_item(self._shown()))

    def item_part(self) -> Schema:
        """The schema of an item of a collection with some of the properties."""
        return self._made("ItemPart", lambda: _as_item(_without_required(self._shown())))

    def page(self) -> Schema:
        """The schema of a page of a collection."""
        return self._made("Page", self._page)

    def create(self) -> Schema:
        """The schema of the body that creates a document."""
        return self._made("Create", lambda: self._body("create"), self._filled)

    def replace(self) -> Schema:
        """The schema of the body that replaces a document."""
        return self._made("Replace", lambda: self._body("replace"), self._filled)

    def merge_patch(self) -> Schema:
        """The schema of a merge patch (RFC 7396) of a document."""
        return self._made("MergePatch", self._merge_patch, self._filled)

    def file(self) -> Schema:
        """The schema of a file as a client sees it."""
        return self._components.put("schemas", "StoredFile", _FILE)

    def other(self, suffix: str, make: Callable[[], Schema]) -> Schema:
        """A schema that another function makes, under the model's name with a suffix."""
        return self._made(suffix, make, self._filled)

    def embed(self, members: Mapping[str, Schema], *schemas: Schema) -> None:
        """Add optional members to schemas of documents that this object has made."""
        for each in schemas:
            found = self._components.get("schemas", each["$ref"].rpartition("/")[2])
            found["properties"] = {**members, **found["properties"]}

    def _made(self, suffix: str, make: Callable[[], Schema], filled: tuple[str, ...] = ()) -> Schema:
        # Two models with the same name are two owners, and so get two names.
        owner = (self._model, suffix, filled) if suffix else self._model
        name = self._components.name("schemas", f"{self.name}{suffix}", owner)
        if not self._components.has("schemas", name):
            self._components.put("schemas", name, make())
        return {"$ref": f"#/components/schemas/{name}"}

    def _shown(self) -> Schema:
        schema = self._model.model_json_schema(by_alias=True, mode="serialization")
        typed = self._model.model_json_schema(by_alias=True, mode="validation")["properties"]
        found: dict[str, Schema] = {}
        for name, each in self._info.visible.items():
            # What is computed is never read, so that its type has to be asked by itself.
            of = self._info.adapters[name].json_schema(mode="validation") if each.computed else typed[name]
            found[name] = _shown_property(each, schema["properties"][name], of)
        # None where that is the default is not stored, and so not shown; a key is what a document is named by.
        needed = [name for name, each in self._info.visible.items() if name == self._key_name() or not each.optional]
        found |= {name: self._files(each) for name, each in self._info.attachments.items() if not each.write_only}
        # Properties may be added by a hook, or by a handler's `show`.
        return self._root({**schema, "properties": found, "required": needed}, "Output", closed=False)

    def _files(self, declared: AttachmentProperty) -> Schema:
        found = self.file()
        return {"type": "object", "additionalProperties": found} if declared.many else found

    def _key_name(self) -> str | None:
        return self._info.key.name if self._info.key else None

    def _page(self) -> Schema:
        address = {"type": "string", "format": "uri-reference"}
        return {
            "type": "object",
            "description": "A part of the collection, in a stable order.",
            "required": ["items"],
            "properties": {
                "items": {"type": "array", "items": {"anyOf": [self.item(), self.item_part()]}},
                "total": {"type": "integer", "minimum": 0, "description": "With `count=true`: the total number."},
                "withheld": {"type": "integer", "minimum": 1, "description": "Documents that could not be verified."},
                "next": {**address, "description": "The page after this one, if there is one."},
                "prev": {**address, "description": "The page before this one, if there is one."},
            },
        }

    def _body(self, action: Action) -> Schema:
        schema = body_schema(self._model, action)
        found = {name: _stripped(name, each) for name, each in schema["properties"].items()}
        found |= {name: dict(_IGNORED) for name in ("_href", "_etag")}
        if action == "create" and self._info.key and self._info.key.name in found:
            found[self._info.key.name] = addressable(found[self._info.key.name])
        if action == "replace" and self._info.key:  # it may be sent back, but not changed
            found[self._info.key.name] = {**found[self._info.key.name], "readOnly": True}
        for name in found.keys() & self._filled:
            found[name] = {**found[name], "readOnly": True, "description": "Taken from the address; may be left out."}
        needed = [name for name in schema.get("required", []) if name not in self._filled]
        return self._root({**schema, "properties": found, "required": needed}, "Input", closed=True)

    def _merge_patch(self) -> Schema:
        schema = body_schema(self._model, "replace")
        names = self._keep_definitions(schema.get("$defs", {}), "MergePatch", _as_patch)
        found = renamed(_as_patch({**schema, "required": [*schema.get("required", []), *self._unremovable()]}), names)
        for name in ("_href", "_etag"):
            found["properties"][name] = dict(_IGNORED)
        for name in found["properties"].keys() & self._filled:
            found["properties"][name] = {**found["properties"][name], "readOnly": True}
        return {**_top(found, self._model), "properties": {n: _stripped(n, s) for n, s in found["properties"].items()}}

    def _unremovable(self) -> Iterable[str]:
        info = self._info
        fixed = [each.name for each in info.properties.values() if each.read_only or each == info.key]
        return [*fixed, *info.shown]

    def _root(self, schema: Schema, suffix: str, *, closed: bool) -> Schema:
        names = self._keep_definitions(schema.get("$defs", {}), suffix, lambda each: _definition(each, closed=closed))
        found: Schema = renamed(_definition(schema, closed=closed), names)
        return _top(found, self._model)

    def _keep_definitions(
        self, defs: dict[str, Schema], suffix: str, change: Callable[[Schema], Schema]
    ) -> dict[str, str]:
        """Keep the definitions of a schema as components of their own, and return their names there."""
        taken = {
            name: self._components.name(
                "schemas", name if suffix == "Output" else f"{name}{suffix}", (name, suffix, repr(schema))
            )
            for name, schema in defs.items()
        }
        for name, schema in defs.items():
            self._components.put("schemas", taken[name], renamed(change(schema), taken))
        return taken


def addressable(schema: Schema, taken: Iterable[str] = ()) -> Schema:
    """The schema of a key that can stand in an address, as far as the author of the model has not said it better.

    Args:
        schema: the schema of the key's values.
        taken: the names that have addresses of their own.
    """
    if schema.get("type") != "string" or "enum" in schema:
        return schema
    said = {"pattern", "format"} & schema.keys()
    return {
        "minLength": 1,
        **({} if said else {"pattern": _NO_CONTROL}),
        **schema,
        "not": {"enum": [".", "..", *taken]},
    }


def value_schema(components: Components, wanted: str, schema: Schema) -> Schema:
    """The schema of a value that is no document, with its definitions as components of their own.

    Args:
        components: keeps the schemas.
        wanted: the name of the schema, if it has no title.
        schema: the JSON Schema.
    """
    defs = schema.get("$defs", {})
    names = {each: components.name("schemas", each, (each, "Own", repr(inner))) for each, inner in defs.items()}
    for each, inner in defs.items():
        components.put("schemas", names[each], renamed(_definition(inner, closed=True), names))
    found = renamed({name: each for name, each in schema.items() if name not in ("$defs", "$schema")}, names)
    if "properties" not in found:
        return found  # type: ignore[no-any-return]
    name = components.name("schemas", found.pop("title", wanted), ("Own", repr(schema)))
    return components.put("schemas", name, _definition(found, closed=True))


def property_schema(components: Components, model: type[Model], name: str) -> Schema:
    """The schema of a property's value as a text in a query string or a path, without null."""
    schema = model_info(model).adapters[name].json_schema(mode="validation")
    names = {
        each: components.name("schemas", each, (each, "Value", repr(inner)))
        for each, inner in schema.get("$defs", {}).items()
    }
    for each, inner in schema.pop("$defs", {}).items():
        components.put("schemas", names[each], renamed(inner, names))
    found = renamed(_stripped(name, schema), names)
    branches = [each for each in found.get("anyOf", []) if each != {"type": "null"}]
    kept = {key: value for key, value in found.items() if key not in ("anyOf", "default")}
    if len(branches) > 1:
        return {**kept, "anyOf": branches}
    found = {**kept, **(branches[0] if branches else {})}
    if "enum" not in found:
        return found
    # As a component it becomes one type in generated clients, not one for each parameter.
    words = "".join(word[:1].upper() + word[1:] for word in name.split("_"))
    return components.put("schemas", components.name("schemas", f"{model.__name__}{words}", (model, name)), found)


def _top(schema: Schema, model: type[Model]) -> Schema:
    found = {name: value for name, value in schema.items() if name not in ("$defs", "$schema", "title")}
    # A model without a docstring inherits that of `Model` or of its base in Python; pydantic leaves it out.
    return {
        "type": "object",
        **({"description": model.__doc__.strip()} if "description" in found and model.__doc__ else {}),
        **found,
    }


def _shown_property(declared: Property, schema: Schema, typed: Schema) -> Schema:
    found = _stripped(declared.name, schema)
    found.pop("default", None)  # the value that is shown is the stored one, never a default
    # The serializer writes text, and pydantic cannot know of what kind; the schema for input says it.
    if '"date-time"' in repr(typed).replace("'", '"'):
        found = _dated(found)
    if declared.read_only:
        found["readOnly"] = True
    return found


def _dated(schema: Schema) -> Schema:
    """A copy of the schema of a time stamp as it is written, which pydantic only knows as a text."""
    if schema.get("type") == "string":
        return {**schema, "format": "date-time"}
    return {**schema, "anyOf": [_dated(each) for each in schema["anyOf"]]} if "anyOf" in schema else schema


def _stripped(name: str, schema: Schema) -> Schema:
    """A copy without the title that pydantic derives from the name."""
    made = {name.replace("_", " ").title(), name.title()}
    return {key: value for key, value in schema.items() if not (key == "title" and value in made)}


def _definition(schema: Schema, *, closed: bool) -> Schema:
    found = dict(schema)
    if "properties" in found:
        found["properties"] = {name: _stripped(name, each) for name, each in found["properties"].items()}
    if not closed:
        found.pop("additionalProperties", None) if found.get("additionalProperties") is False else None
    return found


def _without_required(schema: Schema) -> Schema:
    return {name: value for name, value in schema.items() if name != "required"}


def _as_item(schema: Schema) -> Schema:
    return {
        **schema,
        "required": ["_href", "_etag", *schema.get("required", [])],
        "properties": {"_href": dict(_HREF), "_etag": dict(_ETAG), **schema["properties"]},
    }


def _as_patch(schema: Any) -> Any:
    """A schema of merge patches: every property may be left out, and an optional one may be null."""
    if not isinstance(schema, dict):
        return schema
    found = {name: value for name, value in schema.items() if name not in ("required", "default", "minProperties")}
    needed = schema.get("required", [])
    if "properties" in schema:
        found["properties"] = {
            name: _as_patch(each) if name in needed else nullable(_as_patch(each))
            for name, each in schema["properties"].items()
        }
    if isinstance(schema.get("additionalProperties"), dict):
        found["additionalProperties"] = nullable(_as_patch(schema["additionalProperties"]))
    for keyword in ("anyOf", "oneOf", "allOf"):
        if keyword in schema:
            found[keyword] = [_as_patch(each) for each in schema[keyword]]
    if "oneOf" in found:  # a patch need not have the tag, and without it may fit several branches
        found.pop("discriminator", None)
        found["anyOf"] = found.pop("oneOf")
    return found
