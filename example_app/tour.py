"""A short tour of what a mounted resource does: each request, and its answer."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import aiohttp

__all__ = ["tour"]

_SHOWN = ("ETag", "Location", "Allow")


class _Guide:
    """Sends requests and prints them with their answers."""

    def __init__(self, url: str, session: aiohttp.ClientSession) -> None:
        self._url = url
        self._session = session

    async def ask(self, title: str, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, str, Any]:
        """Send and print one request; return its status, entity tag and body."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        print(f"\n# {title}\n> {method} {path}" + "".join(f"\n> {name}: {value}" for name, value in named.items()))
        if body is not None:
            print(f"> {json.dumps(body)}")
        status, fields, found = await self.send(method, path, body, named)
        print(f"< {status}" + "".join(f"\n< {name}: {fields[name]}" for name in _SHOWN if name in fields))
        if found is not None:
            print(f"< {json.dumps(found, ensure_ascii=False)}")
        return status, fields.get("ETag", ""), found

    async def send(self, method: str, path: str, body: Any, headers: dict[str, str]) -> tuple[int, Any, Any]:
        """Send a request without printing it."""
        async with self._session.request(method, self._url + path, json=body, headers=headers) as reply:
            text = await reply.text()
            return reply.status, reply.headers, json.loads(text) if text else None


async def tour(url: str) -> None:
    """Run the tour.

    Raises:
        RuntimeError: an answer was not the one that the tour expects.
    """
    async with aiohttp.ClientSession() as session:
        guide = _Guide(url, session)
        path, tag = await _create_and_read(guide)
        await _refuse_a_lost_update(guide, path, tag)
        await _retry_conflicts(guide, path)
        status, _, _ = await guide.ask("Delete it.", "DELETE", path)
        _expect(status, 204)


async def _create_and_read(guide: _Guide) -> tuple[str, str]:
    status, tag, fruit = await guide.ask("Create a fruit.", "POST", "/v1.0/fruits", {"color": "green"})
    _expect(status, 201)
    path = f"/v1.0/fruits/{fruit['fruit_id']}"
    status, read_tag, _ = await guide.ask("Read it: the entity tag is the revision.", "GET", path)
    _expect((status, read_tag), (200, tag))
    status, _, _ = await guide.ask("Read it only if it has changed.", "GET", path, If_None_Match=tag)
    _expect(status, 304)
    status, _, _ = await guide.ask("Send invalid data: all errors at once.", "POST", "/v1.0/fruits", {"colour": 1})
    _expect(status, 422)
    return path, tag


async def _refuse_a_lost_update(guide: _Guide, path: str, tag: str) -> None:
    title = "Change it, if it has not changed since it was read."
    status, _, _ = await guide.ask(title, "PUT", path, {"color": "yellow"}, If_Match=tag)
    _expect(status, 200)
    title = "A writer who read the older revision is refused: no update is lost."
    status, _, _ = await guide.ask(title, "PUT", path, {"color": "red"}, If_Match=tag)
    _expect(status, 412)


async def _retry_conflicts(guide: _Guide, path: str) -> None:
    writers = 5
    print(f"\n# {writers} writers at once, without If-Match: conflicts are retried, and all succeed.")
    bodies = [{"color": f"shade {number}"} for number in range(writers)]
    replies = await asyncio.gather(*(guide.send("PUT", path, body, {}) for body in bodies))
    for body, (status, fields, _) in zip(bodies, replies, strict=True):
        print(f"> PUT {path} {json.dumps(body)}\n< {status} ETag: {fields['ETag']}")
        _expect(status, 200)


def _expect(found: object, wanted: object) -> None:
    if found != wanted:
        raise RuntimeError(f"the tour expected {wanted} but got {found}")
