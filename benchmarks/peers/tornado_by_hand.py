"""The same resource, as a user would write it with Tornado and aiocouch."""

from __future__ import annotations

import json
import uuid
from datetime import UTC, datetime
from typing import Any

import aiocouch
from tornado.web import Application, HTTPError, RequestHandler

__all__ = ["application"]

HIDDEN = ("_id", "_rev", "type")


def _shown(document: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in document.items() if name not in HIDDEN}


class Base(RequestHandler):
    """The common part of the handlers."""

    def initialize(self, database: aiocouch.database.Database) -> None:
        """Store the database."""
        self.database = database
        self.tag: str | None = None

    def compute_etag(self) -> str | None:
        """The entity tag, which is the revision."""
        return self.tag

    def body(self) -> dict[str, Any]:
        """Parse and validate the request's body."""
        try:
            body = json.loads(self.request.body)
        except ValueError:
            raise HTTPError(400) from None
        if not isinstance(body, dict) or not isinstance(body.get("color"), str) or not body["color"]:
            raise HTTPError(422)
        if not isinstance(body.get("notes", ""), str) or not isinstance(body.get("weight", 0), int):
            raise HTTPError(422)
        return body

    def answer(self, document: dict[str, Any], status: int = 200) -> None:
        """Answer with a document."""
        self.tag = f'"{document["_rev"]}"'
        self.set_status(status)
        if self.request.method not in ("GET", "HEAD"):
            self.set_etag_header()  # Tornado itself does this only for GET
        self.write(_shown(document))


class Fruits(Base):
    """The collection."""

    async def get(self) -> None:
        """Answer with a page of fifty documents."""
        view = self.database.view("fruit_by_fruit_id", "fruit_by_fruit_id")
        items = []
        async for found in view.docs(limit=51, reduce="false"):
            document = found.data
            items.append({"_href": f"/fruits/{found.id}", "_etag": f'"{document["_rev"]}"', **_shown(document)})
        self.write({"items": items[:50], "next": f"/fruits?start={items[-1]['fruit_id']}"})

    async def post(self) -> None:
        """Create a document."""
        body, key, now = self.body(), uuid.uuid4().hex, datetime.now(UTC).isoformat(timespec="microseconds")
        values = {"type": "fruit_v1.0", "fruit_id": key, "notes": "", "weight": 0, **body}
        try:
            document = await self.database.create(key, data={**values, "created_on": now, "updated_on": now})
            await document.save()
        except aiocouch.ConflictError:
            raise HTTPError(409) from None
        self.set_header("Location", f"/fruits/{key}")
        self.answer(document.data, 201)


class Fruit(Base):
    """A document."""

    async def get(self, key: str) -> None:
        """Answer with the document."""
        try:
            self.answer((await self.database.get(key)).data)
        except aiocouch.NotFoundError:
            raise HTTPError(404) from None

    async def put(self, key: str) -> None:
        """Change the document."""
        body = self.body()
        try:
            document = await self.database.get(key)
            if self.request.headers.get("If-Match", "*") not in ("*", f'"{document["_rev"]}"'):
                raise HTTPError(412)
            document.update(body)
            document["updated_on"] = datetime.now(UTC).isoformat(timespec="microseconds")
            await document.save()
        except aiocouch.NotFoundError:
            raise HTTPError(404) from None
        except aiocouch.ConflictError:
            raise HTTPError(412) from None
        self.answer(document.data)


class Place(Base):
    """A document that is found by a property."""

    async def get(self, code: str) -> None:
        """Answer with the document."""
        view = self.database.view("place_by_code", "place_by_code")
        async for found in view.docs(ids=[code], limit=1, reduce="false"):
            self.answer(found.data)
            return
        raise HTTPError(404)


def application(database: aiocouch.database.Database) -> Application:
    """Make the service."""
    given = {"database": database}
    return Application(
        [(r"/fruits", Fruits, given), (r"/fruits/([^/]+)", Fruit, given), (r"/places/([^/]+)", Place, given)]
    )
