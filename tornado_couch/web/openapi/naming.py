"""What operations and groups of them are called: ids that are good for the functions of generated clients; pure."""

from __future__ import annotations

import re
from collections.abc import Iterable

from .operation import ApiOperation
from .paths import Route

__all__ = ["name_operations", "tag_of"]

_VERSION = re.compile(r"v\d+(\.\d+)*")
_VERBS = {"conflicts": "list", "destroy": "delete", "retrieve": "get", "reduce": "get"}
_OF_ONE = {"create", "retrieve", "replace", "patch", "destroy"}

# English plurals; a word of another language stays as it is, or loses an "s".
_PLURALS = ((re.compile(r"ies$"), "y"), (re.compile(r"(ss|sh|ch|x|z)es$"), r"\1"), (re.compile(r"(?<=[^su])s$"), ""))


def tag_of(route: Route) -> str:
    """What a resource is called: the words of its path without a version."""
    words = _words(getattr(route.target.get("resource"), "path", route.path))
    return "/".join(words).replace("_", " ").strip() or "/"


def name_operations(operations: Iterable[ApiOperation]) -> None:
    """Give each operation an id that is its own."""
    operations = list(operations)
    taken: set[str | None] = {each.id for each in operations if each.id}
    for each in operations:
        if each.id is None:
            each.id = _free(each, taken)
            taken.add(each.id)


def _free(operation: ApiOperation, taken: set[str | None]) -> str:
    asking = operation.method in ("HEAD", "OPTIONS")  # HEAD has the action of GET
    verb = operation.method.lower() if asking else _VERBS.get(operation.action, operation.action)
    words = _words(operation.path)
    if words and (operation.path.endswith("}") if asking else operation.action in _OF_ONE):
        words[-1] = _singular(words[-1])
    # A version is left out of the name, until another version wants the same one.
    short, whole = _identifier("_".join([verb, *words])), _identifier(f"{verb}_{operation.path}")
    candidates = [short, whole, *(f"{whole}_{number}" for number in range(2, len(taken) + 3))]
    return next(each for each in candidates if each not in taken)


def _words(path: str) -> list[str]:
    return [each for each in path.split("/") if each and not each.startswith("{") and not _VERSION.fullmatch(each)]


def _singular(word: str) -> str:
    for plural, ending in _PLURALS:
        if plural.search(word):
            return plural.sub(ending, word)
    return word


def _identifier(text: str) -> str:
    return re.sub(r"\W+", "_", text.replace("/_", "/"), flags=re.ASCII).strip("_").replace("__", "_")
