"""What the installer's tests install."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

from annotated_types import MinLen

from tornado_couch import Count, CreatedOn, Database, Encrypted, Hashed, Indexed, Key, Model, UpdatedOn

__all__ = ["Fruit", "Place", "Stand", "design_ids", "folder_of", "write"]


class Fruit(Model, type="fruit_v1.0", key="fruit_id", indexes=[("color", "created_on")]):
    fruit_id: Key
    color: Annotated[str, MinLen(1), Indexed()]
    created_on: CreatedOn
    updated_on: UpdatedOn


class Place(Model, type="place_v1.2", key="name", reductions={"by_size": Count("size")}):
    name: str
    size: int = 0
    pin: Annotated[str | None, Hashed("sha3-512")] = None
    owner: Annotated[str | None, Encrypted(searchable=True)] = None


class Stand(Model, type="stand_v1.0", key="code", unique=True, history=True):
    code: str
    price: int = 0


def write(folder: Path, **files: Any) -> Path:
    """A folder with files; a dot in a name is written as two underscores, and what is no text becomes JSON."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        text = content if isinstance(content, str) else json.dumps(content)
        (folder / name.replace("__", ".")).write_text(text, "utf-8")
    return folder


def folder_of(path: Path, map_function: str) -> Path:
    """A folder of one view, called `by_length`."""
    return write(path, by_length__js=map_function, by_length__reduce__js="_count\n")


async def design_ids(database: Database) -> list[str]:
    """The names of the design documents that there are."""
    rows = (await database.all_docs(startkey="_design/", endkey="_design0")).rows
    return [str(row.id).removeprefix("_design/") for row in rows]
