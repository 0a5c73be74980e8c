"""The upper limit: Tornado answers with JSON of the same size, without a database."""

from __future__ import annotations

import json
import uuid

from tornado.web import Application, RequestHandler

__all__ = ["application"]

TIME = "2026-02-01T10:00:00.123456+00:00"


def _fruit(key: str, color: str = "red") -> dict[str, object]:
    return {"fruit_id": key, "color": color, "notes": "n" * 100, "weight": 7, "created_on": TIME, "updated_on": TIME}


class Fruits(RequestHandler):
    """A page and POST."""

    def get(self) -> None:
        """Answer with fifty documents."""
        items = [{"_href": f"/fruits/{n}", "_etag": f'"1-{n:032}"', **_fruit(f"{n:032}")} for n in range(50)]
        self.write({"items": items, "next": "/fruits?cursor=x"})

    def post(self) -> None:
        """Answer with a new document."""
        key = uuid.uuid4().hex
        self.set_status(201)
        self.set_header("Location", f"/fruits/{key}")
        self.write(_fruit(key, json.loads(self.request.body)["color"]))


class Fruit(RequestHandler):
    """A document."""

    def get(self, key: str) -> None:
        """Answer with the document; Tornado computes its entity tag, and sends 304 if the client knows it."""
        self.write(_fruit(key))

    def put(self, key: str) -> None:
        """Answer with the document, changed."""
        self.write(_fruit(key, json.loads(self.request.body)["color"]))


def application() -> Application:
    """Make the service."""
    return Application([(r"/(?:fruits|places)", Fruits), (r"/(?:fruits|places)/([^/]+)", Fruit)])
