"""The house rules that a program can check."""

from __future__ import annotations

import ast
import importlib
from pathlib import Path

import pytest

import tornado_couch

PACKAGE = Path(tornado_couch.__file__).parent

# What each part may import of the package; everything else is upward or sideways.
FLOORS: dict[str, set[str]] = {
    "errors": set(),
    "_version": set(),
    "json_text": set(),
    "embedded": {"errors", "_version"},
    "couch": {"errors", "json_text", "_version"},
    "security": {"errors", "json_text"},
    "models": {"errors", "json_text", "security"},
    "store": {"errors", "json_text", "couch", "security", "models"},
    "web": {"errors", "json_text", "couch", "security", "models", "store"},
    "ops": {"errors", "json_text", "couch", "security", "models", "store"},
    # The classic API: modules at the top, as they were called in tor-async-couchdb.
    "classic": {"errors", "json_text", "couch", "security", "models", "store"},
    "async_model_actions": {"errors", "couch", "store", "classic", "tamper"},
    "installer": {"errors", "couch", "security", "models", "store", "ops", "classic", "tamper"},
    "model": set(),
    "retry_strategy": set(),
    "tamper": {"errors", "security"},
    "commands": {"errors", "json_text", "couch", "security", "models", "store", "web", "ops", "_version"},
    "cli": {"errors", "json_text", "couch", "security", "models", "store", "web", "ops", "embedded", "_version"},
    "__init__": {"errors", "json_text", "couch", "security", "models", "store", "web", "ops", "_version"},
    "__main__": {"cli"},
}


def modules() -> dict[str, Path]:
    return {
        ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__"): path
        for path in PACKAGE.rglob("*.py")
    }


def imported(name: str, path: Path) -> set[str]:
    """Every module of the package that a module imports, function bodies included."""
    known, found = modules(), set()
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            module = ".".join([*base, *(node.module or "").split(".")]).strip(".")
            found |= {inner if (inner := f"{module}.{alias.name}") in known else module for alias in node.names}
    return {each for each in found if each in known} - {name}


def part(module: str) -> str:
    return ([*module.split("."), "__init__"])[1]


@pytest.mark.parametrize("name", sorted(modules()))
def test_imports_go_only_downward(name: str) -> None:
    """No module imports from its own floor's siblings or from a floor above."""
    own = part(name)
    others = {part(each) for each in imported(name, modules()[name])} - {own}
    assert others <= FLOORS[own]


def test_no_module_is_part_of_an_import_cycle() -> None:
    """Following imports never leads back to where it began."""
    graph = {name: imported(name, path) for name, path in modules().items()}
    for start in graph:
        seen: set[str] = set()
        todo = list(graph[start])
        while todo:
            name = todo.pop()
            assert name != start, f"{start} imports itself by way of other modules"
            if name not in seen:
                seen.add(name)
                todo += graph[name]


SCRIPTS = ("_version", "__main__", "js_worker")  # nobody imports names from these


@pytest.mark.parametrize("name", [name for name in sorted(modules()) if not name.endswith(SCRIPTS)])
def test_each_module_says_what_is_public(name: str) -> None:
    """`__all__` is there and every name in it exists; that it is sorted is the linter's rule RUF022."""
    module = importlib.import_module(name)
    assert [each for each in module.__all__ if not hasattr(module, each)] == []


def test_no_wait_swallows_a_cancellation() -> None:
    """Before Python 3.12 `asyncio.wait_for` can end well although its task was cancelled; `deadline` cannot."""
    users = {
        path.relative_to(PACKAGE).as_posix()
        for path in PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute) and node.attr == "wait_for" and ast.unparse(node.value) == "asyncio"
    }
    assert users == set()


def test_only_transport_knows_the_http_library() -> None:
    """aiohttp can be replaced by changing one module."""
    users = {
        path.relative_to(PACKAGE).as_posix()
        for path in PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Import | ast.ImportFrom)
        and "aiohttp"
        in {(getattr(node, "module", None) or "").split(".")[0], *(a.name.split(".")[0] for a in node.names)}
    }
    assert {user for user in users if not user.startswith("embedded/")} == {"couch/transport.py"}
