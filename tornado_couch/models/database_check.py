"""The check that CouchDB itself makes of each write: `validate_doc_update`, compiled from the models; pure.

So what is replicated or written past the service is checked as well. CouchDB's page:
https://docs.couchdb.org/en/stable/ddocs/ddocs.html#validate-document-update-functions
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from ..errors import ModelDefinitionError
from .merge import Merge
from .model import Model, ModelInfo, model_info
from .properties import Property
from .schema_at_rest import schema_at_rest
from .schema_rules import compile_schema

__all__ = ["VALIDATION_DOCUMENT", "DatabaseCheck", "check_source", "database_check"]

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
        ModelDefinitionError: there is a number in it that is none in JSON.
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
    return files(__package__).joinpath("database_check.js").read_text("utf-8").rstrip()


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
