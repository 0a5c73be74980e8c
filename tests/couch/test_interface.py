"""What `tornado_couch.couch` shows, and how its modules hang together."""

from __future__ import annotations

import ast
import importlib
from pathlib import Path

import pytest

import tornado_couch.couch

FOLDER = Path(tornado_couch.couch.__file__).parent
MODULES = sorted(path.stem for path in FOLDER.glob("*.py") if path.stem != "__init__")


def imported_siblings(module: str) -> set[str]:
    """The modules of the package that one imports."""
    found = set()
    for node in ast.walk(ast.parse((FOLDER / f"{module}.py").read_text())):
        if isinstance(node, ast.ImportFrom) and node.level == 1:
            found |= {node.module} if node.module else {alias.name for alias in node.names}
    return found


def imported_modules(module: str) -> set[str]:
    """All modules that one imports."""
    found = set()
    for node in ast.walk(ast.parse((FOLDER / f"{module}.py").read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            found.add(node.module.partition(".")[0])
    return found


def test_imports_go_one_way() -> None:
    """There is an order of the modules in which each imports only earlier ones."""
    waiting = {module: imported_siblings(module) for module in MODULES}
    while waiting:
        ready = {module for module, needs in waiting.items() if not needs & waiting.keys()}
        assert ready, f"in a cycle: {sorted(waiting)}"
        waiting = {module: needs for module, needs in waiting.items() if module not in ready}


def test_only_the_transport_knows_the_http_library() -> None:
    """aiohttp and what belongs to it are imported in one module."""
    library = {"aiohttp", "multidict", "yarl", "async_timeout"}
    assert [module for module in MODULES if imported_modules(module) & library] == ["transport"]


@pytest.mark.parametrize("module", ["", *MODULES])
def test_what_is_public_is_listed_and_there(module: str) -> None:
    """Every module has a sorted `__all__` of names that exist (constants first, then the rest)."""
    loaded = importlib.import_module(f"tornado_couch.couch.{module}".rstrip("."))
    listed = loaded.__all__
    assert len(set(listed)) == len(listed)
    assert all(hasattr(loaded, name) for name in listed)
    assert listed == sorted(listed, key=lambda name: (not name.isupper(), not name[0].isupper(), name))
