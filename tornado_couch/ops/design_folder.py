"""Design documents from a folder: one file, one design document, and one view in it unless the file says otherwise.

fruit_by_color.js           a map function; the view and the design document are called fruit_by_color
fruit_by_color.reduce.js    its reduce function, or a built-in's name such as _count
fruit_by_size.json          {"map": "…", "reduce": "…"}, a view likewise
fruit_checks.json           a whole design document: {"views": {…}, "filters": {…}, …}
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .. import json_text
from ..errors import InstallError

__all__ = ["read_design_folder", "read_json"]

_VIEW = frozenset({"map", "reduce", "options"})
# What tells a design document from any other JSON; https://docs.couchdb.org/en/stable/ddocs/ddocs.html
_DESIGN = frozenset({"views", "validate_doc_update", "filters", "updates", "shows", "lists", "rewrites"})
_REDUCE = ".reduce"
_OURS = "tornado_couch"


def read_design_folder(folder: Path) -> list[dict[str, Any]]:
    """The design documents of a folder, by name; files that are neither `.json` nor `.js` are no part of it.

    It reads files: call it in a thread.

    Raises:
        InstallError: there is no such folder, or a file in it is none of a design document.
    """
    found: dict[str, dict[str, Any]] = {}
    reduces: dict[str, tuple[Path, str]] = {}
    for path in _files(folder):
        name = path.stem
        if path.suffix == ".js" and name.endswith(_REDUCE):
            reduces[name.removesuffix(_REDUCE)] = (path, _source(path))
            continue
        if name in found:
            raise InstallError(f"{path}: there is another file for the design document {name!r}")
        if name.startswith(_OURS):
            raise InstallError(f"{path}: names that begin with {_OURS!r} are the installer's own")
        found[name] = _script(path) if path.suffix == ".js" else _document(path)
    for name, (path, source) in reduces.items():
        view = found.get(name, {}).get("views", {}).get(name)
        if view is None or "reduce" in view:
            raise InstallError(f"{path}: there is no map function for it in {name}.js, or a reduce function already")
        view["reduce"] = source
    return [found[name] for name in sorted(found)]


def _files(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if path.suffix in (".js", ".json") and path.stem)
    except OSError as error:
        raise InstallError(f"{folder}: {error.strerror}") from None


def _source(path: Path) -> str:
    source = _text(path).strip()
    if not source:
        raise InstallError(f"{path}: there is nothing in it")
    return source


def _script(path: Path) -> dict[str, Any]:
    return _with_view(path.stem, {"map": _source(path)})


def _document(path: Path) -> dict[str, Any]:
    value = read_json(path)
    if not isinstance(value, dict):
        raise InstallError(f"{path}: a design document is a JSON object")
    if "map" in value and value.keys() <= _VIEW:
        return _with_view(path.stem, value)
    wanted = f"_design/{path.stem}"
    if value.get("_id", wanted) != wanted:
        raise InstallError(f"{path}: its _id is {value['_id']!r}, where the file's name says {wanted!r}")
    if not _DESIGN & value.keys():
        raise InstallError(f"{path}: neither a view, which has 'map', nor a design document, which has 'views' or such")
    # A document that was read from a database has the revision that it had there.
    return {"_id": wanted, "language": "javascript", **{name: part for name, part in value.items() if name != "_rev"}}


def _with_view(name: str, view: dict[str, Any]) -> dict[str, Any]:
    return {"_id": f"_design/{name}", "language": "javascript", "views": {name: view}}


def read_json(path: Path) -> Any:
    """The JSON value in a file.

    Raises:
        InstallError: it cannot be read, or is none.
    """
    try:
        return json_text.loads(_text(path))
    except (ValueError, RecursionError) as error:
        raise InstallError(f"{path}: {error}") from None


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except OSError as error:
        raise InstallError(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise InstallError(f"{path}: it is not UTF-8") from None
