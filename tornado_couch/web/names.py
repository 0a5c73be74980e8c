"""The table of names below a resource: what `{path}/{name}` and `{path}/{key}/{name}` stand for.

A name of the package's own is one line here. Names of the collection begin with an underscore; only the reduced views
of a model have names without one. A document whose key is such a name keeps an address: its first character
percent-encoded, as in `/fruits/%5Fbulk`.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable

from .action_table import ACTIONS, QUESTIONS

__all__ = ["OF_COLLECTION", "OF_DOCUMENT", "check_names", "taken_names"]

OF_COLLECTION = {
    "_bulk": "bulk requests",
    "_changes": "the changes of the collection",
}
"""What the package has, or will have, at `{path}/{name}`."""

OF_DOCUMENT = {
    "conflicts": "the conflicting leaves of a document",
    "versions": "the versions of a document",
}
"""What the package has at `{path}/{key}/{name}`."""

_NAME = re.compile(r"_?[A-Za-z][A-Za-z0-9-]*(?:_[A-Za-z0-9-]+)*")


def taken_names(reductions: Collection[str], actions: Iterable[str]) -> frozenset[str]:
    """Return the names below a collection, which are no document's key.

    Args:
        reductions: the names of the model's reduced views.
        actions: the names of the service's own actions.
    """
    return frozenset({*OF_COLLECTION, *reductions, *(each for each in actions if each.startswith("_"))})


def check_names(
    path: str, reductions: Collection[str], actions: Collection[str], files: Iterable[str] = ()
) -> None:
    """Refuse names of the service that are no names, or are those of something else.

    Args:
        path: the path of the collection.
        reductions: the names of the model's reduced views.
        actions: the names of the service's own actions.
        files: the names of the model's properties of files.

    Raises:
        ValueError: two things would have one address; the message says which.
    """
    for name in reductions:
        if name in OF_COLLECTION:
            raise _taken(f"{path}/{name}", OF_COLLECTION[name], "the reduced view")
    for name in files:
        if name in OF_DOCUMENT or name in actions:
            where = f"{path}/{{key}}/{name}"
            raise _taken(where, OF_DOCUMENT.get(name, "an action of the service"), "the property of files")
    for name in actions:
        below, known = ("", OF_COLLECTION) if name.startswith("_") else ("/{key}", OF_DOCUMENT)
        where = f"{path}{below}/{name}"
        if _NAME.fullmatch(name) is None:
            raise ValueError(f"{where}: the name of an action has letters, digits, hyphens and underscores")
        if name in known:
            raise _taken(where, known[name], "the action")
        if name in reductions and not below:
            raise _taken(where, "a reduced view of the model", "the action")
        if name in ACTIONS or name in QUESTIONS:
            raise ValueError(f"{where}: policies know {name!r} as something else; give the action another name")


def _taken(where: str, owner: str, who: str) -> ValueError:
    return ValueError(f"{where} is the address of {owner}; give {who} another name")
