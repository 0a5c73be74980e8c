"""Merging the files that other programs attached to the leaves of a document; pure.

A file is merged by its name, as a property that the model does not know: what one side alone has changed is taken from
there. Where both have changed it, the later one keeps the name, and the other one gets a name beside it, since nobody
could read it any more otherwise; unless the model says `Merge.latest()` of the property.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from ...models import Merging, Model, beside_file, model_info
from ...models.merging.ancestry import Plan

__all__ = ["File", "files_of", "merged_files"]

Document = Mapping[str, Any]

_PREFIX = "/"  # no property's name can be taken for a file's


class File(NamedTuple):
    """What a file is: two with the same values have the same bytes.

    Attributes:
        content_type: its media type.
        digest: CouchDB's digest of what it stores.
    """

    content_type: str
    digest: str


def files_of(document: Document) -> dict[str, File]:
    """The files of a document, by their names."""
    entries = document.get("_attachments", {})
    return {name: File(each["content_type"], each["digest"]) for name, each in entries.items()}


def merged_files(
    cls: type[Model], plan: Plan, heads: Sequence[Document], ancestors: Mapping[str, Document]
) -> dict[str, File]:
    """The files that a merged document has, by their names, in the order of these.

    Args:
        cls: the model.
        plan: how the leaves are merged.
        heads: the leaves to merge, the winning one first.
        ancestors: the documents that they descend from, as far as they can be read, by revision.
    """
    bodies = {revision: files_of(each) for revision, each in ancestors.items()}
    before = {(name, file) for files in bodies.values() for name, file in files.items()}
    bodies |= {each["_rev"]: files_of(each) for each in heads}
    if not any(bodies.values()):
        return {}
    named = {revision: {_PREFIX + name: file for name, file in files.items()} for revision, files in bodies.items()}
    merged: dict[str, File] = {name[1:]: file for name, file in Merging(cls, named).merged(plan).items()}
    latest = [each for each in model_info(cls).attachments.values() if each.latest]
    for each in heads:
        for name, file in bodies[each["_rev"]].items():
            if file in merged.values() or (name, file) in before:
                continue
            if name not in merged or not any(declared.holds(name) for declared in latest):
                merged[beside_file(name, file.digest) if name in merged else name] = file
    return dict(sorted(merged.items()))

