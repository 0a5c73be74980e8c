"""Reads design documents and seed documents from folders.

fruit_by_color.js           a map function; the view and the design document are called fruit_by_color
fruit_by_color.reduce.js    its reduce function, or the name of a built-in one such as _count
fruit_by_size.json          {"map": "…", "reduce": "…"}, which becomes a view in the same way
fruit_checks.json           a whole design document: {"views": {…}, "filters": {…}, …}

Each file `*.json` of seeds contains a document or an array of them. A document whose `type` is that of a model goes
through the store: it is validated, protected and signed, gets its time stamps, and is identified by its natural key.
Any other document is stored as it is, signed if there is a signer, and is identified by its `_id`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from .. import _json
from ..couch import Database
from ..couch.sizes import each_of
from ..errors import Conflict, DocumentExists, DocumentNotFound, InstallError, ModelError, NotFound, SecurityError
from ..models import DocumentType, Model, from_document, model_info, partition_of, validated
from ..store import Store
from ..store.protection.properties import in_partition
from ..store.protection.signatures import Guard
from .plan import Step

__all__ = ["Seeds", "read_design_folder", "read_json", "read_seeds"]

_VIEW = frozenset({"map", "reduce", "options"})
# Members that distinguish a design document from other JSON; https://docs.couchdb.org/en/stable/ddocs/ddocs.html
_DESIGN = frozenset({"views", "validate_doc_update", "filters", "updates", "shows", "lists", "rewrites"})
_REDUCE = ".reduce"
_OURS = "tornado_couch"


def read_design_folder(folder: Path) -> list[dict[str, Any]]:
    """Read the design documents of a folder, ordered by name; files other than `.json` and `.js` are ignored.

    It reads files: call it in a thread.

    Raises:
        InstallError: the folder does not exist, or a file in it cannot be part of a design document.
    """
    found: dict[str, dict[str, Any]] = {}
    reduces: dict[str, tuple[Path, str]] = {}
    for path in _files(folder):
        name = path.stem
        if path.suffix == ".js" and name.endswith(_REDUCE):
            reduces[name.removesuffix(_REDUCE)] = (path, _source(path))
            continue
        if name in found:
            raise InstallError(f"{path}: another file already defines the design document {name!r}")
        if name.startswith(_OURS):
            raise InstallError(f"{path}: names that begin with {_OURS!r} are reserved for the installer")
        found[name] = _script(path) if path.suffix == ".js" else _document(path)
    for name, (path, source) in reduces.items():
        view = found.get(name, {}).get("views", {}).get(name)
        if view is None or "reduce" in view:
            raise InstallError(f"{path}: its map function {name}.js is missing, or there are two reduce functions")
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
        raise InstallError(f"{path}: the file is empty")
    return source


def _script(path: Path) -> dict[str, Any]:
    return _with_view(path.stem, {"map": _source(path)})


def _document(path: Path) -> dict[str, Any]:
    value = read_json(path)
    if not isinstance(value, dict):
        raise InstallError(f"{path}: a design document must be a JSON object")
    if "map" in value and value.keys() <= _VIEW:
        return _with_view(path.stem, value)
    wanted = f"_design/{path.stem}"
    if value.get("_id", wanted) != wanted:
        raise InstallError(f"{path}: its _id is {value['_id']!r}, but the file's name stands for {wanted!r}")
    if not _DESIGN & value.keys():
        raise InstallError(f"{path}: it is neither a view, with 'map', nor a design document, with 'views' or the like")
    # A document that was read from a database still has the revision that it had there.
    return {"_id": wanted, "language": "javascript", **{name: part for name, part in value.items() if name != "_rev"}}


def _with_view(name: str, view: dict[str, Any]) -> dict[str, Any]:
    return {"_id": f"_design/{name}", "language": "javascript", "views": {name: view}}


def read_json(path: Path) -> Any:
    """Read the JSON value in a file.

    Raises:
        InstallError: the file cannot be read, or does not contain JSON.
    """
    try:
        return _json.loads(_text(path))
    except (ValueError, RecursionError) as error:
        raise InstallError(f"{path}: {error}") from None


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except OSError as error:
        raise InstallError(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise InstallError(f"{path}: it is not UTF-8") from None


Document = dict[str, Any]
_BATCH = 500


@dataclass(frozen=True)
class Seeds:
    """The seed documents of a folder.

    Attributes:
        models: the models to store, by class.
        others: the documents that belong to no model, with their ids.
    """

    models: dict[type[Model], list[Model]] = field(default_factory=dict)
    others: list[Document] = field(default_factory=list)

    async def steps(self, store: Store, guard: Guard, *, fresh: bool) -> list[Step]:
        """The steps that store the missing documents.

        Args:
            store: writes models.
            guard: signs the documents that belong to no model.
            fresh: whether the database does not exist yet, so that all of them are missing.
        """
        found = []
        for cls, wanted in self.models.items():
            missing = wanted if fresh else await _missing(store, cls, wanted)
            if missing:
                detail = f"{len(missing)} of {len(wanted)}"
                work = partial(_create, store, cls, missing)
                found.append(Step("create", "seed documents", str(model_info(cls).type), detail, work=work))
        others = self.others if fresh else await _absent(store.database, self.others)
        if others:
            detail = f"{len(others)} of {len(self.others)}"
            work = partial(_put, store.database, guard, others)
            found.append(Step("create", "seed documents", "without a model", detail, work=work))
        return found


def read_seeds(folder: Path, models: Iterable[type[Model]]) -> Seeds:
    """Read the seed documents of a folder.

    It reads files: call it in a thread.

    Raises:
        InstallError: the folder does not exist, or a document in it cannot be stored, or would be stored twice.
    """
    by_name = {model_info(cls).type.name: cls for cls in models}
    seeds, known = Seeds(), set()
    for where, document in _documents(folder):
        parsed = DocumentType.parse(document.get("type"))
        cls = by_name.get(parsed.name) if parsed else None
        if cls is None:
            seeds.others.append(_other(where, document))
        else:
            seeds.models.setdefault(cls, []).append(_model(where, cls, document))
        identity = (
            cls,
            seeds.others[-1]["_id"] if cls is None else model_info(cls).key_text(seeds.models[cls][-1]._key),
        )
        if identity in known:
            raise InstallError(f"{where}: another seed document has the same key, {identity[1]!r}")
        known.add(identity)
    return seeds


def _documents(folder: Path) -> list[tuple[str, Document]]:
    try:
        paths = sorted(folder.glob("*.json")) if folder.is_dir() else None
    except OSError as error:
        raise InstallError(f"{folder}: {error.strerror}") from None
    if paths is None:
        raise InstallError(f"{folder}: this folder does not exist")
    found = []
    for path in paths:
        value = read_json(path)
        for place, document in enumerate(value if isinstance(value, list) else [value]):
            where = f"{path}, document {place + 1}" if isinstance(value, list) else str(path)
            if not isinstance(document, dict):
                raise InstallError(f"{where}: a document must be a JSON object")
            if "_rev" in document or "_deleted" in document:
                raise InstallError(f"{where}: a seed document must be new, without _rev and _deleted")
            found.append((where, document))
    return found


def _other(where: str, document: Document) -> Document:
    document_id = document.get("_id")
    if not isinstance(document_id, str) or not document_id:
        kind = f"there is no model of type {document['type']!r}" if "type" in document else "it has no type"
        raise InstallError(f"{where}: {kind}, so it needs an _id; otherwise each run would store it again")
    if document_id.startswith("_"):
        raise InstallError(f"{where}: {document_id!r} is not an id for seeds; design documents have their own folder")
    return document


def _model(where: str, cls: type[Model], document: Document) -> Model:
    """The model, with an id by which it is stored only once."""
    info = model_info(cls)
    given = document.get("_id")
    values = {name: value for name, value in document.items() if name != "_id"}
    if info.key is None and given is None:
        raise InstallError(f"{where}: {info.type} has no key property, so each seed document needs an _id")
    if info.key is not None and info.key.name not in values:
        raise InstallError(f"{where}: it has no {info.key.name!r}; without a key each run would store it again")
    try:
        model = _read(cls, values)
        model._id = given or _natural_id(model)
        if info.partition is not None:
            value = getattr(model, info.partition.attribute)
            partition_of(info.partition.name, info.stored_value(info.partition.name, value), model._id)
    except ModelError as error:
        raise InstallError(f"{where}: {error}") from None
    return model


def _natural_id(model: Model) -> str:
    """An id that follows from the key: two installers that create the same document must choose the same id."""
    info = model_info(type(model))
    key = info.key_text(model._key)
    return key if info.key and info.key.generated else in_partition(model, f"{info.type.name}:{key}")


def _read(cls: type[Model], values: Mapping[str, Any]) -> Model:
    """Make a model of a document's values; one of an older version is read as the store does."""
    if values["type"] == str(model_info(cls).type):
        return validated(cls, {name: value for name, value in values.items() if name != "type"})
    return from_document(cls, dict(values))


async def _missing(store: Store, cls: type[Model], wanted: Sequence[Model]) -> list[Model]:
    async def is_there(model: Model) -> bool:
        try:
            await store.get(cls, model._key)
        except (DocumentNotFound, NotFound):  # NotFound: the view that would find it does not exist yet
            return False
        except (ModelError, SecurityError):
            pass  # a document with this key exists, even if it cannot be read
        return True

    there = await each_of(wanted, is_there)
    return [model for model, found in zip(wanted, there, strict=True) if not found]


async def _create(store: Store, cls: type[Model], wanted: Sequence[Model]) -> str | None:
    created = 0
    for start in range(0, len(wanted), _BATCH):
        missing = await _missing(store, cls, wanted[start : start + _BATCH])
        for outcome in await store.create_many(cls, missing):
            if isinstance(outcome, Exception) and not isinstance(outcome, DocumentExists):
                raise outcome
            created += not isinstance(outcome, Exception)
    return f"stored {created} seed documents of {model_info(cls).type}" if created else None


async def _absent(database: Database, wanted: Sequence[Document]) -> list[Document]:
    rows = (await database.all_docs(keys=[each["_id"] for each in wanted])).rows if wanted else []
    there = {row.id for row in rows if row.error is None and not (row.value or {}).get("deleted")}
    return [each for each in wanted if each["_id"] not in there]


async def _put(database: Database, guard: Guard, wanted: Sequence[Document]) -> str | None:
    parents = await guard.tombstones([each["_id"] for each in wanted])
    stored = 0
    for document in wanted:
        gone = parents.get(document["_id"])  # whoever deleted it: the operator wants it back
        try:
            await database.put(guard.signed(document, gone and gone.revision))
        except Conflict:
            continue  # another installer stored it first
        stored += 1
    return f"stored {stored} other seed documents" if stored else None
