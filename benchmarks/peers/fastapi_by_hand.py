"""The same resource, as a user would write it with FastAPI and aiocouch."""

import uuid
from datetime import UTC, datetime
from typing import Annotated, Any

import aiocouch
from fastapi import FastAPI, Header, HTTPException, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field

__all__ = ["application"]

HIDDEN = ("_id", "_rev", "type")


class Body(BaseModel):
    """The body of a request."""

    color: Annotated[str, Field(min_length=1, max_length=40)]
    notes: Annotated[str, Field(max_length=2_000_000)] = ""
    weight: int = 0


def _shown(document: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in document.items() if name not in HIDDEN}


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="microseconds")


def _answer(document: dict[str, Any], status: int = 200, **headers: str) -> Response:
    return JSONResponse(_shown(document), status, {"ETag": f'"{document["_rev"]}"', **headers})


def _answer_read(document: dict[str, Any], known: str | None) -> Response:
    tag = f'"{document["_rev"]}"'
    return Response(status_code=304, headers={"ETag": tag}) if known == tag else _answer(document)


def application(database: aiocouch.database.Database) -> FastAPI:  # noqa: C901 - its handlers are within it
    """Make the service."""
    app = FastAPI()
    known = Header(alias="If-None-Match")

    @app.get("/fruits")
    async def page() -> Response:
        items = []
        async for found in database.view("fruit_by_fruit_id", "fruit_by_fruit_id").docs(limit=51, reduce="false"):
            tag = f'"{found.data["_rev"]}"'
            items.append({"_href": f"/fruits/{found.id}", "_etag": tag, **_shown(found.data)})
        return JSONResponse({"items": items[:50], "next": f"/fruits?start={items[-1]['fruit_id']}"})

    @app.get("/fruits/{key}")
    async def fruit(key: str, if_none_match: Annotated[str | None, known] = None) -> Response:
        try:
            return _answer_read((await database.get(key)).data, if_none_match)
        except aiocouch.NotFoundError:
            raise HTTPException(404) from None

    @app.get("/places/{code}")
    async def place(code: str, if_none_match: Annotated[str | None, known] = None) -> Response:
        async for found in database.view("place_by_code", "place_by_code").docs(ids=[code], limit=1, reduce="false"):
            return _answer_read(found.data, if_none_match)
        raise HTTPException(404)

    @app.post("/fruits")
    async def create(body: Body) -> Response:
        key, now = uuid.uuid4().hex, _now()
        values = {"type": "fruit_v1.0", "fruit_id": key, **body.model_dump(), "created_on": now, "updated_on": now}
        try:
            document = await database.create(key, data=values)
            await document.save()
        except aiocouch.ConflictError:
            raise HTTPException(409) from None
        return _answer(document.data, 201, Location=f"/fruits/{key}")

    @app.put("/fruits/{key}")
    async def replace(key: str, body: Body, if_match: Annotated[str, Header(alias="If-Match")] = "*") -> Response:
        try:
            document = await database.get(key)
            if if_match not in ("*", f'"{document["_rev"]}"'):
                raise HTTPException(412)
            document.update({**body.model_dump(), "updated_on": _now()})
            await document.save()
        except aiocouch.NotFoundError:
            raise HTTPException(404) from None
        except aiocouch.ConflictError:
            raise HTTPException(412) from None
        return _answer(document.data)

    return app
