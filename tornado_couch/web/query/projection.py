"""`fields=a,b`: selects a part of a representation, which has an entity tag of its own."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ...models import Model, model_info
from ..http import Preconditions
from ..problems import Problem
from .decoding import decode_parameter

__all__ = ["Projection", "of_variants", "parse_fields"]


@dataclass(frozen=True)
class Projection:
    """The properties that a client wants to see.

    Attributes:
        names: the names of the properties in JSON.
    """

    names: frozenset[str]

    @property
    def variant(self) -> str:
        """The suffix after the revision in the entity tag; the order of the names makes no difference."""
        digest = hashlib.sha256(",".join(sorted(self.names)).encode()).hexdigest()
        return f"fields={digest[:12]}"

    def apply(self, shown: Mapping[str, Any]) -> dict[str, Any]:
        """Reduce a representation to these properties."""
        return {name: value for name, value in shown.items() if name in self.names}

    def apply_to_item(self, item: Mapping[str, Any]) -> dict[str, Any]:
        """Reduce an item of a collection; its metadata stays, and its entity tag is that of the part."""
        tag = f'{item["_etag"].removesuffix(chr(34))};{self.variant}"'
        kept = {name: value for name, value in item.items() if name.startswith("_")}
        return {**kept, "_etag": tag, **self.apply(item)}


def parse_fields(cls: type[Model], values: Sequence[bytes] | None) -> Projection | None:
    """Read the parameter `fields` of a request; None if it is missing.

    Args:
        cls: the model.
        values: the parameter's values, as they were sent.

    Raises:
        Problem: 400, it is given twice, is empty, or names an unknown property.
    """
    if not values:
        return None
    names = decode_parameter("fields", values).split(",")
    allowed = list(model_info(cls).visible)
    unknown = [name for name in names if name not in allowed]
    if unknown:
        detail = "`fields` takes property names separated by commas; see `allowed`."
        raise Problem.of("bad-parameter", detail, parameter="fields", allowed=allowed)
    return Projection(frozenset(names))


def of_variants(preconditions: Preconditions, variants: Sequence[str]) -> Preconditions:
    """The preconditions of a GET without the entity tags of other parts of the document, or of what others are shown.

    Those tags name its revision, but a client that has another part does not have this one.

    Args:
        preconditions: those of the request.
        variants: what the tag of this representation has after the revision, except for the content coding.
    """
    tags = preconditions.if_none_match
    if not isinstance(tags, tuple):
        return preconditions
    wanted = list(variants)
    kept = tuple(tag for tag in tags if [each for each in tag.own.split(";")[1:] if "=" in each] == wanted)
    return preconditions if len(kept) == len(tags) else replace(preconditions, if_none_match=kept)
