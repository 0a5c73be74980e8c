"""The house rules that a program can check."""

from __future__ import annotations

import ast
import functools
import importlib
import re
from collections import Counter
from pathlib import Path

import pytest

import tornado_couch

PACKAGE = Path(tornado_couch.__file__).parent
TESTS = Path(__file__).parent

# The parts of each folder, from the lowest floor to the highest. A module imports only from lower floors, never from
# its own floor's other parts and never from a higher one.
FLOORS: dict[str, list[str]] = {
    "tornado_couch": [
        "errors revision _version _json",
        "couch security embedded",
        "models",
        "store",
        "web installation",
        "service telemetry maintain classic",
        "cli __init__",
        "__main__",
    ],
    "tornado_couch.couch.transport": [
        "base",
        "bodies failover pool",
        "connection default",
        "httptools",
    ],
    "tornado_couch.couch": [
        "names observer sizes trouble",
        "scheduler transport",
        "auth",
        "exchange",
        "endpoint server",
        "bulk changes mango views",
        "database",
        "client grouping",
    ],
    "tornado_couch.security": [
        "encoding keyczar keys",
        "encryption hashing key_file keyczar_keys streams tink_keys",
        "key_ring",
        "signing",
    ],
    "tornado_couch.models": [
        "classification merging pointers timestamps",
        "properties upgrades versions",
        "forms",
        "samples",
        "declaration round_trip views",
        "loose",
        "reading",
        "model",
        "design_document documents merger schema",
    ],
    "tornado_couch.store": [
        "operations pace query readiness scopes uploads",
        "attachments",
        "protection references",
        "reading writing",
        "bulk conflicts",
        "lifecycle live",
        "store",
        "consumers reconciler upgrade",
    ],
    "tornado_couch.web": [
        "action_table proxies unread",
        "names problems",
        "access http",
        "admission resources",
        "bodiless body query relations",
        "answers",
        "application handler page",
        "openapi",
        "actions live pages",
        "attachments",
        "routes",
    ],
    "tornado_couch.embedded": [
        "collation_table problems spool",
        "collation",
        "javascript jsontext selectors",
        "messages storage",
        "exchange replication users views",
        "couch mango",
        "user_documents",
        "edits",
        "handlers",
        "routes",
        "server",
        "pytest_plugin",
    ],
}

# `embedded` is developed beside the package: it imports nothing of it but these.
EMBEDDED_IMPORTS = {"errors", "revision", "_version"}


@functools.cache
def modules() -> dict[str, Path]:
    return {
        ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__"): path
        for path in PACKAGE.rglob("*.py")
    }


@functools.cache
def imported(name: str, path: Path) -> set[str]:
    """The modules of the package that a module imports, function bodies included.

    A name that a sub-package hands on counts for the module that defines it. Imports for type checkers alone do not
    count: nothing runs for their sake.
    """
    known, found = modules(), set()
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    tree = ast.parse(path.read_text())
    for_types = {
        inner
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if node in for_types:
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            module = ".".join([*base, *(node.module or "").split(".")]).strip(".")
            found |= {definer(module, alias.name) for alias in node.names}
    return {each for each in found if each in known} - {name}


@functools.cache
def handed_on(package: str) -> dict[str, str]:
    """The names that a package's `__init__` imports, and from where."""
    path, names = modules()[package], {}
    for node in ast.parse(path.read_text()).body if path.name == "__init__.py" else ():
        if isinstance(node, ast.ImportFrom) and node.module:
            base = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            names |= {alias.asname or alias.name: ".".join([*base, node.module]) for alias in node.names}
    return names


def definer(module: str, name: str) -> str:
    """The module that defines what `from module import name` brings."""
    if f"{module}.{name}" in modules():
        return f"{module}.{name}"
    home = handed_on(module).get(name) if module in modules() else None
    return module if home is None else definer(home, name)


def part(folder: str, module: str) -> str | None:
    """The part of a folder that a module lies in; None for a module elsewhere."""
    if module == folder:
        return "__init__"
    return module.removeprefix(f"{folder}.").partition(".")[0] if module.startswith(f"{folder}.") else None


@pytest.mark.parametrize("folder", FLOORS)
def test_every_part_has_its_floor(folder: str) -> None:
    """A new module or sub-package is given a floor, and what is gone leaves none behind."""
    there = {part(folder, name) for name in modules()} - {None}
    assert sorted(" ".join(FLOORS[folder]).split() + ["__init__"] * (folder != "tornado_couch")) == sorted(there)  # type: ignore[type-var]


def test_contributing_shows_the_same_floors() -> None:
    """The table there is this module's plan, with the highest floor first."""
    text = (TESTS.parent / "CONTRIBUTING.md").read_text()
    rows = re.findall(r"^\| (\d) \| ((?:`\w+`(?:, )?)+) \|", text, re.MULTILINE)
    shown = {name: int(floor) for floor, names in rows for name in re.findall(r"\w+", names)}
    plan = {name: number for number, names in enumerate(FLOORS["tornado_couch"]) for name in names.split()}
    private = {name for name in plan if name.startswith("_")} | {"embedded"}
    assert {name: plan[name] for name in shown} == shown
    assert set(plan) - set(shown) == private


@pytest.mark.parametrize("folder", FLOORS)
def test_imports_go_only_downward(folder: str) -> None:
    """No module imports from its own floor's other parts or from a floor above, in the package and in its folders."""
    floor = {name: number for number, names in enumerate(FLOORS[folder]) for name in names.split()}
    upward = [
        f"{name} imports {other}"
        for name, path in modules().items()
        if (own := part(folder, name)) in floor
        for other in imported(name, path)
        if (its := part(folder, other)) in floor and its != own and floor[its] >= floor[own]  # type: ignore[index]
    ]
    assert upward == []


def test_the_embedded_server_stands_alone() -> None:
    """It is held to CouchDB's replies, not to what the rest of the package believes."""
    others = {
        part("tornado_couch", other)
        for name, path in modules().items()
        if part("tornado_couch", name) == "embedded"
        for other in imported(name, path)
    }
    assert others <= {"embedded", *EMBEDDED_IMPORTS}


def test_a_folder_holds_at_most_fifteen_modules() -> None:
    """More is a corridor in which nobody finds anything."""
    counts = Counter(path.parent for path in modules().values() if path.name != "__init__.py")
    assert {folder.name: count for folder, count in counts.items() if count > 15} == {}


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


SCRIPTS = ("_version", "__main__", "javascript.worker")  # nobody imports names from these


@pytest.mark.parametrize("name", [name for name in sorted(modules()) if not name.endswith(SCRIPTS)])
def test_each_module_says_what_is_public(name: str) -> None:
    """`__all__` is there and every name in it exists; that it is sorted is the linter's rule RUF022."""
    module = importlib.import_module(name)
    assert [each for each in module.__all__ if not hasattr(module, each)] == []


def test_each_test_has_a_short_name_and_says_what_it_shows() -> None:
    """A test's name has fewer than 80 characters; its docstring carries the sentence."""
    tests = [
        (f"{path.relative_to(TESTS).as_posix()}::{node.name}", node)
        for path in TESTS.rglob("test_*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_")
    ]
    assert len(tests) > 1000
    assert [name for name, node in tests if len(node.name) >= 80] == []
    assert [name for name, node in tests if not ast.get_docstring(node)] == []


def test_no_wait_swallows_a_cancellation() -> None:
    """Before Python 3.12 `asyncio.wait_for` can end well although its task was cancelled; `asyncio.timeout` cannot."""
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
    assert {user for user in users if not user.startswith("embedded/")} == {"couch/transport/default.py"}
