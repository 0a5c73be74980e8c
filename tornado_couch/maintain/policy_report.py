"""The policy report: every property of every model with its classification, protection and keys."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass

from .. import _json
from ..models import AttachmentProperty, Model, Property, Public, model_info

__all__ = ["UNCLASSIFIED", "PolicyRow", "policy_json", "policy_report", "policy_table"]

UNCLASSIFIED = "unclassified"
"""The classification of a property that declares none."""

_GENERATED = "generated"


@dataclass(frozen=True)
class PolicyRow:
    """The protection of one property.

    Attributes:
        type: the type of the documents, such as "fruit_v1.0".
        property: its name in JSON.
        classification: the name of its class, such as "Encrypted"; "generated" for time stamps and keys that the
            service generates; "unclassified" if the model does not declare any.
        algorithm: how it is protected; "none" if it is not.
        key_set: the keys that it uses, as `Store` names them, or "pepper"; empty if it needs none.
        clients: what clients may do: "read and write", "read", "write" or "nothing".
    """

    type: str
    property: str
    classification: str
    algorithm: str
    key_set: str
    clients: str


def policy_report(models: Iterable[type[Model]]) -> list[PolicyRow]:
    """Make the report, in the order of the models and of their declarations.

    Args:
        models: the models, each of which must have a type.

    Raises:
        ModelDefinitionError: a class has no type.
    """
    found = []
    for info in map(model_info, models):
        declared: list[Property | AttachmentProperty] = [*info.properties.values(), *info.attachments.values()]
        found += [_row(str(info.type), each) for each in declared]
    return found


def policy_table(rows: Sequence[PolicyRow]) -> str:
    """The report as text: a heading, then one line for each property, in columns."""
    names = ("TYPE", "PROPERTY", "CLASS", "ALGORITHM", "KEY SET", "CLIENTS")
    lines = [names, *(tuple(asdict(each).values()) for each in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(names))]
    return "".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() + "\n" for line in lines
    )


def policy_json(rows: Sequence[PolicyRow]) -> bytes:
    """The report as JSON: an array of objects with the attributes of `PolicyRow`."""
    return _json.dumps([asdict(each) for each in rows])


def _row(type_text: str, declared: Property | AttachmentProperty) -> PolicyRow:
    found = declared.classification or Public()
    made = isinstance(declared, Property) and (declared.stamp or declared.generated)
    unsaid = _GENERATED if made else UNCLASSIFIED
    name = type(found).__name__ if declared.classification else unsaid
    return PolicyRow(type_text, declared.name, name, found.algorithm, found.key_set, _clients(declared))


def _clients(declared: Property | AttachmentProperty) -> str:
    if declared.write_only:
        return "nothing" if declared.read_only else "write"
    return "read" if declared.read_only else "read and write"
